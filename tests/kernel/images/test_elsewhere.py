"""Where a registry sends us: a token server beside a real registry, and hosts that change their minds about their address."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from containers_app.errors import PolicyRefused
from containers_app.kernel.images import elsewhere, get_image
from containers_app.kernel.images.task import Done, Registries
from containers_app.spec import RegistrySource

from .certificates import Authority
from .importing import run
from .test_registry import CONFIG, LAYERS, Registry

SERVICE, ISSUER = "tests", "the tests' own"


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Answers(http.server.BaseHTTPRequestHandler):
    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir(mode=0o700)
    return tmp_path / "images"


class Pushing(Registry):
    """Its own client shows a token that lets it push."""

    token = ""

    def send(self, method: str, url: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return httpx.request(method, url, headers=headers, **options)


def test_a_token_is_fetched_from_the_server_that_the_registry_names(images: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "tokens.example")
    asked: list[dict[str, list[str]]] = []

    class Tokens(Answers):
        def do_GET(self) -> None:
            words = parse_qs(urlsplit(self.path).query)
            asked.append(words)
            self.answer(200, json.dumps({"token": authority.token(ISSUER, words["service"][0], words["scope"][0])}).encode())

    with serving(Tokens) as tokens, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        more = (
            f"auth: {{token: {{realm: 'http://127.0.0.1:{tokens}/token', service: {SERVICE}, issuer: \"{ISSUER}\", "
            f"rootcertbundle: '{authority.certificate_file}'}}}}\n"
        )
        (tmp_path / "registry").mkdir()
        registry = Pushing(tmp_path / "registry", port, more)
        try:
            registry.token = authority.token(ISSUER, SERVICE, "repository:team/app:pull,push")
            registry.push("team/app", LAYERS, CONFIG)
            source = RegistrySource(f"{registry.host}/team/app")
            # a token server on loopback is not asked, unless root has named it too
            assert run(images, "no", source, registries=Registries(insecure=(registry.host,))).code == "policy"
            assert asked == []
            named = Registries(insecure=(registry.host, f"127.0.0.1:{tokens}"))
            outcome = run(images, "app", source, registries=named)
        finally:
            registry.process.terminate()
            registry.process.wait()
    assert isinstance(outcome.last, Done), outcome.last
    assert get_image(str(images), "app").command == ("/b", "-c")
    assert asked == [{"service": [SERVICE], "scope": ["repository:team/app:pull"]}]


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:1/x", "https://127.0.0.1:1/x", "https://localhost:1/x", "file:///etc/passwd"]
)
def test_a_registry_that_sends_us_inside_is_not_followed(images: Path, where: str) -> None:
    class Sends(Answers):
        def do_GET(self) -> None:
            self.answer(307, b"", Location=where)

    with serving(Sends) as port:
        host = f"127.0.0.1:{port}"
        assert run(images, "x", RegistrySource(f"{host}/a"), registries=Registries(insecure=(host,))).code == "policy"


@pytest.mark.parametrize("body", [b"no JSON", b"[]", b'{"layers": 5, "config": {}}', b'{"layers": [{}], "config": []}', b"\xff"])
def test_a_registry_that_answers_nonsense_is_told_so(images: Path, body: bytes) -> None:
    class Nonsense(Answers):
        def do_GET(self) -> None:
            self.answer(200, body)

    with serving(Nonsense) as port:
        host = f"127.0.0.1:{port}"
        outcome = run(images, "x", RegistrySource(f"{host}/a"), registries=Registries(insecure=(host,)))
    assert outcome.code in ("invalid_layout", "invalid_input")


def test_what_is_connected_to_is_the_address_that_was_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that says another thing the second time is not asked twice; name and certificate are still checked."""
    authority = Authority(tmp_path, "blobs.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate_file, authority.key_file)
    answers: list[list[str]] = [["1.2.3.4"], ["127.0.0.1"]]
    connected: list[tuple[str, int]] = []

    class Blobs(Answers):
        def do_GET(self) -> None:
            self.answer(200, self.headers["Host"].encode())

    def resolve(host: str, port: int, *_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in answers.pop(0)]

    def connects(address: tuple[str, int], **options: object) -> socket.socket:
        connected.append(address)
        made = socket.socket()
        made.connect(("127.0.0.1", address[1]))
        return made

    with serving(Blobs, context) as port:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        monkeypatch.setattr(socket, "create_connection", connects)
        with elsewhere.session() as session:
            session.verify = str(authority.certificate_file)
            answer = session.get(f"https://blobs.example:{port}/x", timeout=5)
            assert answer.text == f"blobs.example:{port}" and connected == [("1.2.3.4", port)]
        with elsewhere.session() as session, pytest.raises(PolicyRefused):
            session.get(f"https://blobs.example:{port}/x", timeout=5)
        assert len(connected) == 1
