"""The door to one Docker daemon: the SDK in threads of its own with time-outs, its errors in the panel's words, raw streams.

The SDK is synchronous, and a daemon may hang. So every call runs in one of a few daemon threads: the loop waits no longer than
the call's time-out, and the interpreter's end waits for none of them. Streams (events, exec, terminals) need no thread: they
are an HTTP request written to a non-blocking socket, whose answer's head is read to the byte, so that the socket can be handed
on with nothing lost (Docker Engine API, "Hijacking": https://docs.docker.com/reference/api/engine/#tag/Container/operation/ContainerAttach).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

from ..errors import Conflict, EngineUnavailable, InvalidInput, KernelRefused, NotFound, TerrariumError, Unsupported

# The SDK and what it brings are 9 MB and 0.2 s: they are imported once a daemon is there, by the thread that connects.
if TYPE_CHECKING:
    import docker

T = TypeVar("T")
DEFAULT_URL = "unix:///var/run/docker.sock"
CALL_SECONDS = 10.0  # a healthy daemon answers in milliseconds
PING_SECONDS = 3.0
OLDEST = "1.24"  # version of the API; to ask a daemon for its own
THREADS = 16  # most calls at once; a stop that waits for its time-out holds one all the while
CHUNK = 1 << 20  # bytes of an upload that are read and sent at once
SEND_SECONDS = 60.0  # a daemon that takes no chunk for so long hangs
MAX_HEAD = 1 << 16  # bytes of an answer's head
_HANG_HINT = "It may be busy or hang."
_UNITS = {"Docker": "docker", "Podman": "podman.socket"}


class Threads:
    """Daemon threads, made when needed, at most ``limit``. A call that nobody waits for any more is not begun."""

    def __init__(self, limit: int) -> None:
        self._limit, self._made, self._idle = limit, 0, 0
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._made < self._limit:
                self._made += 1
                threading.Thread(target=self._work, name="docker-call", daemon=True).start()
        self._calls.put((future, call))
        return future

    def close(self) -> None:
        with self._lock:
            made, self._made = self._made, self._limit  # none are made from now on
        for _ in range(made):
            self._calls.put(None)

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        try:
            return self._calls.get_nowait()
        except queue.Empty:
            with self._lock:
                self._idle += 1
            return self._calls.get()

    def _work(self) -> None:
        while job := self._next():
            future, call = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # it belongs to whoever waits for the future
                future.set_exception(error)
            del future, call, job


class DockerClient:
    """``url`` is unix:///path or tcp://host:port. Every method may raise EngineUnavailable, at once or after its time-out."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        if parts.scheme not in ("unix", "tcp") or not (parts.path if parts.scheme == "unix" else parts.hostname):
            raise InvalidInput(f"“{url}” is not a Docker URL.", hint="Write unix:///path/to/docker.sock or tcp://host:2375.")
        self.path = parts.path if parts.scheme == "unix" else ""
        self._host, self._port = parts.hostname or "", parts.port or 2375
        self._threads = Threads(THREADS)
        self._sdk: docker.APIClient | None = None
        self.product = "Docker"  # or what else speaks its API, by its own name
        self.has_update = True  # of a container's record; Podman 4 has none in this API

    @contextlib.contextmanager
    def by_its_name(self) -> Iterator[None]:
        """Refusals of what Docker's words can't say, which whoever speaks them says of itself."""
        try:
            yield
        except TerrariumError as error:
            error.message = error.message.replace("Docker", self.product)
            error.args = (error.message,)
            raise

    @property
    def start_hint(self) -> str:
        return f"Start it, for example with: systemctl start {_UNITS[self.product]}. The panel connects by itself."

    def absent(self) -> bool:
        """Whether there is certainly nobody: the socket file is not there. Costs one stat(2)."""
        return bool(self.path) and not os.path.exists(self.path)

    async def connect(self) -> dict[str, Any]:
        """Find out who it is, which version of the API it has, and what it tells of itself ("info" of the API)."""
        if self.absent():
            raise EngineUnavailable(f"There is no {self.product} daemon at {self.url}.", hint=self.start_hint)

        (await self._open()).close()  # the SDK leaves an open socket behind where nobody listens

        def open_client() -> tuple[docker.APIClient, dict[str, Any], str]:
            import docker

            # The head of a ping has what "version" would say: Podman takes 2 s for that, it runs other programs first.
            with contextlib.closing(docker.APIClient(self.url, version=OLDEST, timeout=PING_SECONDS)) as first:
                said = first.get(f"{first.base_url}/_ping").headers
            sdk = docker.APIClient(self.url, version=said["Api-Version"], timeout=CALL_SECONDS, max_pool_size=THREADS)
            return sdk, sdk.info(), "Podman" if "Libpod-Api-Version" in said else "Docker"

        self._sdk, info, self.product = await self._wait(open_client, CALL_SECONDS)
        self.has_update = self.product != "Podman"
        return info

    async def ping(self) -> None:
        sdk = self._connected()
        await self._wait(lambda: sdk.get(f"{sdk.base_url}/_ping", timeout=PING_SECONDS).content, PING_SECONDS + 1)

    async def call(self, work: Callable[[docker.APIClient], T], timeout: float = CALL_SECONDS) -> T:
        """``work`` in a thread. Its SDK errors come back as the panel's."""
        sdk = self._connected()
        return await self._wait(lambda: work(sdk), timeout)

    def _connected(self) -> docker.APIClient:
        if self._sdk is None:
            raise EngineUnavailable(f"{self.product} does not answer at {self.url}.", hint=self.start_hint)
        return self._sdk

    async def _wait(self, work: Callable[[], T], timeout: float) -> T:
        def translated() -> T:
            import docker
            import requests

            try:
                return work()
            except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
                raise self.explain(error) from error

        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._threads.submit(translated)), timeout)
        except TimeoutError:
            raise EngineUnavailable(f"{self.product} did not answer within {timeout:g} seconds.", hint=_HANG_HINT) from None

    def explain(self, error: Exception) -> TerrariumError:
        """The SDK's errors in the panel's words."""
        import docker
        import requests

        if isinstance(error, docker.errors.APIError) and error.response is not None:
            return refused(error.response.status_code, str(error.explanation or error.response.reason), self.product)
        if isinstance(error, requests.exceptions.Timeout):
            return EngineUnavailable(f"{self.product} at {self.url} does not answer in time.", hint=_HANG_HINT)
        return EngineUnavailable(f"{self.product} does not answer at {self.url}.", hint=self.start_hint)

    def close(self) -> None:
        self._threads.close()
        if self._sdk is not None:
            self._sdk.close()
            self._sdk = None

    async def stream(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        upgrade: bool = False,
        upload: Upload | None = None,
        patience: float = CALL_SECONDS,
    ) -> socket.socket:
        """Ask for something without end. Returns the socket right behind the answer's head; the caller closes it.

        HTTP/1.0 keeps the daemon from cutting the stream into chunks; with ``upgrade`` it becomes a two-way pipe. ``patience``
        are the seconds until the answer's head, after all of ``upload`` has been sent.
        """
        sdk = self._connected()
        data = json.dumps(body).encode() if body is not None else b""
        head = [f"{method} /v{sdk.api_version}{path} HTTP/1.{1 if upgrade else 0}", "Host: docker"]
        head += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else []
        head += ["Content-Type: application/json", f"Content-Length: {len(data)}"] if body is not None else []
        head += ["Content-Type: application/x-tar", f"Content-Length: {upload.size}"] if upload is not None else []
        opened = await self._open()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await loop.sock_sendall(opened, "\r\n".join((*head, "", "")).encode() + data)
            if upload is not None:
                await upload.send(opened)
            async with asyncio.timeout(patience):
                status = int((await _read_head(opened)).split(b" ", 2)[1])
                if status not in (101, 200):
                    raise refused(status, _message(await loop.sock_recv(opened, MAX_HEAD)), self.product)
        except TimeoutError:
            opened.close()
            raise EngineUnavailable(f"{self.product} did not answer in time.", hint=_HANG_HINT) from None
        except (OSError, ValueError, IndexError) as error:
            opened.close()
            raise EngineUnavailable(f"{self.product} does not answer at {self.url}.", hint=self.start_hint) from error
        except BaseException:
            opened.close()
            raise
        return opened

    async def _open(self) -> socket.socket:
        """A new connection to the daemon, non-blocking."""
        opened = socket.socket(socket.AF_UNIX if self.path else socket.AF_INET)
        opened.setblocking(False)
        try:
            async with asyncio.timeout(PING_SECONDS):
                await asyncio.get_running_loop().sock_connect(opened, self.path or (self._host, self._port))
        except OSError as error:  # TimeoutError is one
            opened.close()
            raise EngineUnavailable(f"{self.product} does not answer at {self.url}.", hint=self.start_hint) from error
        except BaseException:
            opened.close()
            raise
        return opened


@dataclass
class Upload:
    """A regular file that is the body of a request, from where it stands to its end. ``sent`` counts its bytes."""

    file: BinaryIO
    size: int
    sent: int = 0

    async def send(self, opened: socket.socket) -> None:
        """Ends early when the daemon has hung up: its answer says why. EngineUnavailable when it takes nothing any more."""
        while self.sent < self.size:
            data = await asyncio.to_thread(self.file.read, min(CHUNK, self.size - self.sent))
            if not data:
                raise InvalidInput("The archive became shorter while it was read.", hint="Try again when nobody writes it.")
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await asyncio.get_running_loop().sock_sendall(opened, data)
            except (BrokenPipeError, ConnectionResetError):
                return
            self.sent += len(data)


async def _read_head(opened: socket.socket) -> bytes:
    """Byte by byte: what follows the empty line belongs to whoever gets the socket."""
    loop = asyncio.get_running_loop()
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        byte = await loop.sock_recv(opened, 1)
        if not byte or len(head) > MAX_HEAD:
            raise ConnectionError("the daemon closed the connection")
        head += byte
    return bytes(head)


def _message(answer: bytes) -> str:
    text = answer.decode(errors="replace")
    try:
        return str(json.loads(text[text.index("{") : text.rindex("}") + 1])["message"])
    except (ValueError, KeyError):
        return text.strip()


def refused(status: int, explanation: str, product: str) -> TerrariumError:
    """An HTTP status of the daemon and its words → the panel's error. Its words are shown: they name the cause."""
    words = _plain(explanation, product)
    lower = explanation.lower()
    if status == 404 and "image" in lower:
        return NotFound(words, hint=f"Pull or import the image first, for example: {product.lower()} pull IMAGE")
    if status == 404:
        return NotFound(words, hint="It may have been removed. Reload the list.")
    if status in (409, 500) and "name" in lower and "in use" in lower:  # 500 is Podman's
        return Conflict(f"{product} has a container of this name already.", hint="Choose another name.", code="name_taken")
    if "container-init binary not found" in lower:
        return Unsupported(words, hint=f"Install the init program that {product} uses (catatonit), or do without one.")
    if status == 409 or (status == 500 and ("already exists" in lower or "already used" in lower)):
        return Conflict(words, hint="Look at its state; stop or resume it first, or use force.")
    if status in (400, 413, 422):
        return InvalidInput(words)
    if "executable file not found" in lower or ("no such file or directory" in lower and "exec" in lower):
        return InvalidInput(words, hint="The program must be in the image.", code="invalid_command")
    return KernelRefused(words, hint=f"This is what {product} and the kernel said; see also its log.")


def _plain(explanation: str, product: str) -> str:
    """The daemon nests causes with colons, the last ones tell; "unknown" at the end is a code of its own."""
    text = " ".join(explanation.split()).removesuffix(": unknown").strip()
    for outer in ("OCI runtime create failed: ", "OCI runtime exec failed: ", "runc create failed: ", "exec failed: "):
        text = text.rpartition(outer)[2]
    text = text or "it was refused"
    return f"{product}: " + text[:500].rstrip(".") + "."
