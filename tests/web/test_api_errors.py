import pytest

from containers_app.api.border import read_cursor, write_cursor

JSON = "application/json"


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (b"{", JSON, 400, "invalid_json"),
        (b"\xff\xfe", JSON, 400, "invalid_json"),
        (b'{"name": "\\ud800"}', JSON, 400, "invalid_json"),
        (b'{"name": NaN}', JSON, 400, "invalid_json"),
        (b"[" * 100_000, JSON, 400, "invalid_json"),
        (b"[]", JSON, 400, "invalid_input"),
        (b"null", JSON, 400, "invalid_input"),
        (b"7", JSON, 400, "invalid_input"),
        (b"", JSON, 400, "invalid_input"),
        (b'{"name":"x"}', "text/plain", 415, "invalid_content_type"),
        (b"name=x", "application/x-www-form-urlencoded", 415, "invalid_content_type"),
        (b"--x--", "multipart/form-data; boundary=x", 415, "invalid_content_type"),
        (b'{"name":"x"}', "", 415, "invalid_content_type"),
        (b" " * ((1 << 20) + 1), JSON, 413, "too_large"),
    ],
)
async def test_a_body_that_cannot_be_meant_is_a_4xx(as_staff, worker, data, content_type, status, code):
    answer = await as_staff.send("POST", "/containers", data, content_type)
    assert (answer.status, answer.code) == (status, code)


async def test_json_with_a_charset_is_json(as_staff, worker):
    assert (await as_staff.send("POST", "/preview", b'{"name":"x"}', "application/json; charset=utf-8")).status == 200


async def test_an_unknown_path_is_a_404_as_json(as_staff, worker):
    for path in ("", "/", "/nowhere", "/containers/", "/containers/x/nowhere", "/containers/x/start/", "/hosts", "/../host"):
        answer = await as_staff.get(path)
        assert (answer.status, answer.code) == (404, "not_found"), path


async def test_a_wrong_method_is_a_405_that_names_the_right_ones(as_staff, worker):
    for method, path, allowed in (
        ("PUT", "/containers", "GET, POST"),
        ("GET", "/containers/x/start", "POST"),
        ("OPTIONS", "/me", "GET"),
        ("BREW", "/containers/x", "DELETE, GET, PATCH"),
    ):
        answer = await as_staff.send(method, path)
        assert (answer.status, answer.code, answer.headers["Allow"]) == (405, "method_not_allowed", allowed)


async def test_head_is_answered_like_get(as_staff, worker):
    assert (await as_staff.send("HEAD", "/me")).status == 200


async def test_a_workers_mistake_shows_nothing_of_its_inside(as_staff, worker):
    container = worker.engine.add("web-1")
    await as_staff.get("/containers")
    worker.engine.crash = True
    answer = await as_staff.get(f"/containers/{container.id}")
    worker.engine.crash = False
    assert (answer.status, answer.code) == (500, "internal")
    assert "secret" not in str(answer.body)


async def test_big_answers_are_gzipped_and_small_ones_not(as_staff, worker):
    for number in range(20):
        worker.engine.add(f"web-{number}")
    headers = {**as_staff._headers, "accept-encoding": "gzip"}
    big = await as_staff._client.get("/api/v1/containers", headers=headers)
    small = await as_staff._client.get("/api/v1/me", headers=headers)
    assert big.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in small.headers


def test_a_cursor_comes_back_as_it_went():
    for place in ((0.0, "abcd"), (1795409014.8214278, "4f11c906f545"), (1.5, "a" * 64)):
        time, container_id = read_cursor(write_cursor(place))
        assert (round(time, 6), container_id) == (round(place[0], 6), place[1])
