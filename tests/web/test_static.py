import gzip

import pytest

from panel.static_app import StaticApp

HASHED = "js/app.0123456789ab.js"


async def request(application, path, method="GET", headers=(), body=()):
    """(status, headers, content)"""
    sent: list[dict] = []
    parts = [{"type": "http.request", "body": part, "more_body": True} for part in body] + [{"type": "http.request", "body": b""}]

    async def receive():
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await application({"type": "http", "path": path, "method": method, "headers": list(headers)}, receive, send)
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), content


async def inner(scope, receive, send):
    """Stands in for Django: echoes the body."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def application(tmp_path):
    content = b"let a;" * 500
    (tmp_path / "js").mkdir()
    (tmp_path / HASHED).write_bytes(content)
    (tmp_path / (HASHED + ".gz")).write_bytes(gzip.compress(content))
    (tmp_path / "js/app.js").write_bytes(content)
    (tmp_path.parent / "secret").write_text("secret")
    return StaticApp(inner, tmp_path)


async def test_a_hashed_file_is_cached_for_ever_and_comes_gzipped(application):
    status, headers, content = await request(application, f"/static/{HASHED}", headers=[(b"accept-encoding", b"gzip, br")])
    assert status == 200 and gzip.decompress(content).startswith(b"let a;")
    assert headers[b"cache-control"] == b"public, max-age=31536000, immutable"
    assert headers[b"content-type"] == b"text/javascript; charset=utf-8"
    assert (headers[b"content-encoding"], headers[b"vary"]) == (b"gzip", b"accept-encoding")


async def test_without_gzip_it_comes_as_it_is(application):
    status, headers, content = await request(application, f"/static/{HASHED}")
    assert (status, len(content)) == (200, 3000) and b"content-encoding" not in headers


async def test_a_plain_name_is_asked_for_again_and_then_not_sent(application):
    _, headers, _ = await request(application, "/static/js/app.js")
    assert headers[b"cache-control"] == b"no-cache"
    status, _, content = await request(application, "/static/js/app.js", headers=[(b"if-none-match", headers[b"etag"])])
    assert (status, content) == (304, b"")


@pytest.mark.parametrize(
    "name", ["", "nothing", "../secret", "js", "js/", "/etc/passwd", "js/../../secret", HASHED + ".gz", "\x00"]
)
async def test_nothing_else_is_served(application, name):
    assert (await request(application, f"/static/{name}"))[0] == 404


async def test_files_are_only_read(application):
    status, headers, _ = await request(application, "/static/js/app.js", method="POST")
    assert (status, headers[b"allow"]) == (405, b"GET, HEAD")
    assert (await request(application, "/static/js/app.js", method="HEAD"))[2] == b""


async def test_other_paths_go_on(application):
    assert (await request(application, "/containers/"))[0] == 299


async def test_collected_files_get_hashed_names_and_gzip_twins(tmp_path, settings):
    from django.core.files.base import ContentFile

    from panel.static_storage import CompressedManifestStorage

    settings.DEBUG = False
    storage = CompressedManifestStorage(location=tmp_path, base_url="/static/")
    storage.save("js/part.js", ContentFile(b"export const a = 1;\n" * 100))
    storage.save("js/app.js", ContentFile(b'import { a } from "./part.js";\n' + b"a;\n" * 400))
    list(storage.post_process({name: (storage, name) for name in ("js/part.js", "js/app.js")}))
    app = tmp_path / storage.stored_name("js/app.js")
    assert storage.stored_name("js/part.js").removeprefix("js/").encode() in app.read_bytes()
    assert gzip.decompress(app.with_name(app.name + ".gz").read_bytes()) == app.read_bytes()
