"""A panel in the test's own process: Django's handler, a real worker server, containers that are plain processes.

The cast: ``staff`` may do everything, ``olga`` owns sandboxes, ``otto`` is an outsider.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.core.cache import cache
from django.db import connections
from django.test import AsyncClient

from containers_app import audits, mirror, visitors
from containers_app.engines.policy import Peers, Policy
from containers_app.models import ApiToken, User
from containers_app.routing import websockets
from containers_app.worker import terminals
from tests.worker.conftest import ProcessEngine, Site

PASSWORD = "a quiet green pond"
HOST = "testserver"  # what Django's test client says
ORIGIN = f"http://{HOST}"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A database file, as in production: several connections to one in memory lock each other out."""
    connections["default"].settings_dict["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")


@pytest.fixture(autouse=True)
def fresh(settings: Any, transactional_db: None) -> Iterator[None]:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # as quick as a test needs
    settings.ALLOWED_HOSTS = [HOST]
    cache.clear()
    visitors.forget()
    yield
    audits.write_rest()
    cache.clear()
    visitors.forget()


@pytest.fixture
async def worker(tmp_path: Path, settings: Any) -> AsyncIterator[Site]:
    """A worker that answers; its engine is ``worker.engine``."""
    site = Site(tmp_path, ProcessEngine(), Policy(peers=Peers((0,))))
    await site.open()
    settings.TERRARIUM_WORKER_SOCKET = site.path
    yield site
    terminals.table().close_all()
    mirror.current().close()
    mirror.current().client.close()
    await site.close()


@pytest.fixture
async def no_worker(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    settings.TERRARIUM_WORKER_SOCKET = tmp_path / "nobody.sock"
    monkeypatch.setattr("containers_app.worker.client.READ_PATIENCE", 0.05)
    yield
    mirror.current().close()
    mirror.current().client.close()


def make_user(username: str, **fields: Any) -> User:
    user = User(username=username, **fields)
    user.set_password(PASSWORD)
    user.must_change_password = fields.get("must_change_password", False)
    user.save()
    return user


@pytest.fixture
def staff() -> User:
    return make_user("staff", is_staff=True, is_superuser=True)


@pytest.fixture
def olga() -> User:
    return make_user("olga")


@pytest.fixture
def otto() -> User:
    return make_user("otto")


@dataclass
class Answer:
    status: int
    body: Any
    headers: Any

    @property
    def code(self) -> str:
        """The error's; every error has a sentence too."""
        error = self.body["error"]
        assert set(error) == {"code", "message", "hint"}
        assert error["message"].endswith((".", "?", "!")), error
        return str(error["code"])


class Api:
    """The REST API as one user, by token."""

    def __init__(self, token: str = "") -> None:
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._client = AsyncClient()

    async def send(
        self, method: str, path: str, data: bytes = b"", content_type: str = "application/json", **headers: str
    ) -> Answer:
        response = await self._client.generic(method, f"/api/v1{path}", data, content_type, headers={**self._headers, **headers})
        content = response.content
        return Answer(response.status_code, json.loads(content) if content else None, response.headers)

    async def get(self, path: str) -> Answer:
        return await self.send("GET", path)

    async def post(self, path: str, body: Any = None) -> Answer:
        return await self.send("POST", path, b"" if body is None else json.dumps(body).encode())

    async def patch(self, path: str, body: Any) -> Answer:
        return await self.send("PATCH", path, json.dumps(body).encode())

    async def delete(self, path: str) -> Answer:
        return await self.send("DELETE", path)


def api_of(user: User) -> Api:
    return Api(ApiToken.issue(user, "test")[1])


@pytest.fixture
def as_staff(staff: User) -> Api:
    return api_of(staff)


@pytest.fixture
def as_olga(olga: User) -> Api:
    return api_of(olga)


@pytest.fixture
def as_otto(otto: User) -> Api:
    return api_of(otto)


class Browser:
    """A browser with cookies. CSRF is enforced as for a real one."""

    def __init__(self) -> None:
        self.client = AsyncClient(enforce_csrf_checks=True)

    @property
    def session(self) -> str:
        from django.conf import settings

        morsel = self.client.cookies.get(settings.SESSION_COOKIE_NAME)
        return morsel.value if morsel else ""

    @property
    def csrf(self) -> str:
        from django.conf import settings

        return self.client.cookies[settings.CSRF_COOKIE_NAME].value

    @property
    def cookie(self) -> str:
        from django.conf import settings

        return f"{settings.SESSION_COOKIE_NAME}={self.session}"

    async def get(self, path: str, **headers: str) -> Any:
        return await self.client.get(path, headers=headers)

    async def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> Any:
        if not self.client.cookies:
            await self.get("/login/")
        return await self.client.post(path, {"csrfmiddlewaretoken": self.csrf, **(fields or {})}, headers=headers)

    async def log_in(self, username: str, password: str = PASSWORD, **fields: str) -> Any:
        return await self.post("/login/", {"username": username, "password": password, **fields})


@pytest.fixture
def browser() -> Browser:
    return Browser()


class Websocket(WebsocketCommunicator):
    """As patient as a busy machine needs it: Channels' own waits a second for each answer."""

    async def connect(self, timeout: float = 30) -> Any:
        return await super().connect(timeout)

    async def receive_output(self, timeout: float = 30) -> Any:
        return await super().receive_output(timeout)

    async def receive_json_from(self, timeout: float = 30) -> Any:
        return await super().receive_json_from(timeout)

    async def disconnect(self, code: int = 1000, timeout: float = 30) -> None:
        await super().disconnect(code, timeout)


def websocket(path: str, *, cookie: str = "", token: str = "", origin: str | None = ORIGIN, host: str = HOST) -> Websocket:
    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    if cookie:
        headers.append((b"cookie", cookie.encode()))
    if token:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    return Websocket(websockets, path, headers)
