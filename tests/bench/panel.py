"""deploy/bench panel: from the click to a running sandbox, memory at rest, weight and speed of the first page.

The peers of the same run: ``unshare`` (all namespaces, no file system, no limits, no network) and ``bwrap`` where it is
installed for a start; a bare asyncio server that sends the same bytes for the first byte; a bare interpreter for memory.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import itertools
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.table import Row, interleave, median, p95, show
from tests.panel import PASSWORD, Panel, free_port

ROUNDS = 40
LAZY = re.compile(r"terminal-view|xterm\.")  # modules that opening a terminal loads


class Session:
    """A logged-in browser's cookies and one kept connection, as a browser has it."""

    def __init__(self, panel: Panel) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", panel.port)
        self._cookies: dict[str, str] = {}
        page = self.get("/login/").decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token, page[:500]
        form = f"csrfmiddlewaretoken={token[1]}&username=admin&password={PASSWORD}"
        status, _ = self.send("POST", "/login/", form.encode(), "application/x-www-form-urlencoded", panel.url)
        assert status == 302, status

    def send(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json", origin: str = ""
    ) -> tuple[int, bytes]:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items()), "Accept-Encoding": "gzip"}
        if body:
            headers |= {
                "Content-Type": kind,
                "X-CSRFToken": self._cookies.get("csrftoken", ""),
                "Origin": origin,
                "Referer": origin + "/",
            }
        self._connection.request(method, path, body or None, headers)
        begun = time.perf_counter()
        answer = self._connection.getresponse()
        self.first_byte = (time.perf_counter() - begun) * 1000
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                self._cookies[key] = rest.split(";")[0]
        self.encoding = answer.getheader("Content-Encoding", "")
        return answer.status, answer.read()

    def get(self, path: str) -> bytes:
        """The body as sent over the wire, decoded."""
        _, body = self.send("GET", path)
        self.wire = len(body)
        return gzip.decompress(body) if self.encoding == "gzip" else body


class Api:
    def __init__(self, panel: Panel) -> None:
        self._token = panel.manage("create_token", "admin").strip()
        self._connection = http.client.HTTPConnection("127.0.0.1", panel.port)

    def call(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        self._connection.request(method, f"/api/v1{path}", json.dumps(body) if body is not None else None, headers)
        answer = self._connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data else {}


def start_and_list(api: Api, number: Iterator[int]) -> str:
    """What the click does: POST, then the list in which it is running."""
    body = {"name": f"bench-{next(number)}", "image": "busybox", "limits": {"cpu": 0.5, "memory": "64M", "pids": 50}}
    status, made = api.call("POST", "/containers", body)
    assert status == 201, made
    while True:
        _, listed = api.call("GET", "/containers")
        if any(item["id"] == made["id"] and item["state"] == "running" for item in listed["items"]):  # type: ignore[attr-defined]
            return str(made["id"])


def measure_start(api: Api, rows: list[Row]) -> Row:
    number, made = itertools.count(), []
    runs = {
        "unshare -mpuinC": lambda: subprocess.run(["unshare", "-mpuinC", "--fork", "true"], check=True),
        "ours": lambda: made.append(start_and_list(api, number)),
    }
    if shutil.which("bwrap"):
        runs["bwrap --unshare-all"] = lambda: subprocess.run(
            ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], check=True
        )
    took = interleave(runs, ROUNDS)
    for container in made:
        api.call("DELETE", f"/containers/{container}?force=1")
    ours = median(took["ours"])
    rows.append(Row("POST to running in the list, p95", p95(took["ours"]), "ms"))
    for peer in [name for name in runs if name != "ours"]:
        rows.append(Row(peer, median(took[peer]), "ms"))
    peer = "bwrap --unshare-all" if "bwrap --unshare-all" in runs else "unshare -mpuinC"
    return Row(
        "POST to running in the list, median", ours, "ms", f"{peer} (no limits, no network, no list)", ours / median(took[peer])
    )


def pss(pid: int) -> float:
    """MiB, proportional share of what is shared; /proc/PID/smaps_rollup."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def forker(keeper: int) -> int:
    """Its first child."""
    return int(Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()[0])


def measure_memory(panel: Panel, rows: list[Row]) -> None:
    bare = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        time.sleep(0.3)  # until it has started; nothing tells
        floor = pss(bare.pid)
    finally:
        bare.communicate()
    for name in ("keeper", "worker", "web"):
        value = pss(panel.pid(name)) + (pss(forker(panel.pid(name))) if name == "keeper" else 0)
        rows.append(Row(f"memory of the {name} at rest (PSS)", value, "MiB", "a bare interpreter", value / floor))


@contextlib.contextmanager
def bare_server(body: bytes) -> Iterator[int]:
    """The floor of a first byte: the same bytes from a loop that does nothing else."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    while connection.recv(65536):
                        connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.close()


def measure_page(session: Session, rows: list[Row]) -> None:
    page = session.get("/containers/").decode()
    html = session.wire
    light = weigh(session, page)
    rows.append(Row("first page, HTML gzipped", html / 1024, "KiB"))
    rows.append(Row("first page with all it loads, gzipped", (html + light) / 1024, "KiB", "goal 60 KiB"))
    with bare_server(page.encode()) as port:
        floor = http.client.HTTPConnection("127.0.0.1", port)
        ours, least = [], []
        for _ in range(ROUNDS * 2):
            session.get("/containers/")
            ours.append(session.first_byte)
            floor.request("GET", "/")
            begun = time.perf_counter()
            answer = floor.getresponse()
            least.append((time.perf_counter() - begun) * 1000)
            answer.read()
        floor.close()
    value = median(ours)
    rows.append(Row("first page, time to first byte", value, "ms", "a bare server with the same bytes", value / median(least)))


def measure_terminal_page(api: Api, session: Session, rows: list[Row]) -> None:
    """The page that is loaded when a terminal is opened straight away: its own weight, with nothing cached."""
    container = start_and_list(api, itertools.count(1000))
    page = session.get(f"/containers/{container}/terminal/").decode()
    html = session.wire
    rows.append(
        Row("a terminal's page with all it loads, gzipped", (html + weigh(session, page, LAZY)) / 1024, "KiB", "goal 150 KiB")
    )
    api.call("DELETE", f"/containers/{container}?force=1")


def weigh(session: Session, page: str, wanted: re.Pattern[str] | None = None) -> int:
    """Bytes over the wire of the style sheets and modules that the page pulls in; of those that a module loads only when
    they are needed, the ones whose address ``wanted`` matches."""
    waiting = re.findall(r'(?:src|href|data-xterm-css)="(/static/[^"]+\.(?:js|mjs|css))"', page)
    seen: set[str] = set()
    total = 0
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        text = session.get(path).decode(errors="replace")
        total += session.wire
        if path.endswith(".css"):
            waiting += [urljoin(path, name) for name in re.findall(r"""@import\s+(?:url\()?["']([^"']+)["']""", text)]
            continue
        waiting += [urljoin(path, name) for name in re.findall(r"""(?:from|import)\s*["'](\.{1,2}/[^"']+)["']""", text)]
        lazy = [urljoin(path, name) for name in re.findall(r"""import\(\s*["'](\.{1,2}/[^"']+)["']""", text)]
        waiting += [name for name in lazy if wanted is not None and wanted.search(name)]
    return total


def main() -> None:
    base = Path(tempfile.mkdtemp(prefix="terrarium-bench-"))
    panel = Panel(base, free_port())
    rows: list[Row] = []
    try:
        panel.up()
        begun = time.perf_counter()
        panel.down()
        panel.up()
        rows.append(Row("deploy/down and deploy/up again, to serving", time.perf_counter() - begun, "s", "goal of up alone 5 s"))
        api, session = Api(panel), Session(panel)
        measure_memory(panel, rows)
        measure_page(session, rows)
        measure_terminal_page(api, session, rows)
        rows.append(measure_start(api, rows))
        show("The panel", rows)
    finally:
        panel.down("--all", "--purge")
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
