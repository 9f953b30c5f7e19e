"""deploy/bench limits: from a slider's event to the value in the kernel, and how many changes a second are sustained.

A change goes the whole way: HTTP or the page's websocket, with a token, web process, worker, cgroup file,
read back. The floor of the same run: the same number written to the same file by hand.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from websockets.sync.client import ClientConnection, connect

from tests.bench.panel import Api
from tests.bench.table import Row, interleave, median, p95, show
from tests.panel import Panel, free_port

ROUNDS = 300
CHANGES, HANDS = 600, 4  # for the sustained rate: so many in all, from so many connections at once
GOAL, WRITE_GOAL, RATE_GOAL = 15.0, 1.0, 200.0  # ms, ms, changes a second


@contextlib.contextmanager
def panel() -> Iterator[Panel]:
    with tempfile.TemporaryDirectory(prefix="terrarium-bench-", dir="/var/tmp") as directory:  # a real disk
        found = Panel(Path(directory).resolve(), free_port())
        try:
            found.up()
            yield found
        finally:
            found.down("--all", "--purge")


def main() -> None:
    with panel() as found:
        api = Api(found)
        status, made = api.call("POST", "/containers", box("bench"))
        assert status == 201, made
        cgroups: Any = made["cgroups"]
        file = Path(cgroups["pids"], "pids.max")
        path, sizes = f"/containers/{made['id']}/limits", itertools.cycle(range(100, 1000))

        def slide() -> None:
            wanted = next(sizes)
            status, answer = api.call("PATCH", path, {"pids": wanted})
            reading: Any = answer["pids"]
            assert status == 200 and reading["kernel"] == wanted, answer

        def write() -> None:
            file.write_text(f"{next(sizes)}\n")

        with live_socket(found) as socket:

            def drag() -> None:
                wanted = next(sizes)
                assert send_limits(socket, made["id"], wanted) == wanted

            took = interleave({"slide": slide, "drag": drag, "write": write}, ROUNDS)
        rate = sustained([partial(change, Api(found), path) for _ in range(HANDS)])
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(live_socket(found)) for _ in range(HANDS)]
            live_rate = sustained([partial(send_limits, socket, made["id"]) for socket in sockets])
    show(
        "Limits",
        [
            Row("by HTTP: slider to kernel, median", median(took["slide"]), "ms"),
            Row("by HTTP: p95", p95(took["slide"]), "ms", f"goal {GOAL:g} ms", p95(took["slide"]) / GOAL),
            Row("by HTTP: changes a second, sustained", rate, "/s", f"goal {RATE_GOAL:g}/s", rate / RATE_GOAL),
            Row("the write alone, p95", p95(took["write"]), "ms", f"goal {WRITE_GOAL:g} ms", p95(took["write"]) / WRITE_GOAL),
            Row("by websocket: changes a second, sustained", live_rate, "/s", f"goal {RATE_GOAL:g}/s", live_rate / RATE_GOAL),
            Row("by websocket: slider to kernel, median", median(took["drag"]), "ms"),
            Row("by websocket: p95", p95(took["drag"]), "ms", f"goal {GOAL:g} ms", p95(took["drag"]) / GOAL),
        ],
    )


def box(name: str) -> dict[str, object]:
    return {"name": name, "command": ["sleep", "100000"], "limits": {"pids": 50, "memory": "64M"}}


def change(api: Api, path: str, pids: int) -> int:
    status, answer = api.call("PATCH", path, {"pids": pids})
    assert status == 200, answer
    reading: Any = answer["pids"]
    return int(reading["kernel"])


@contextlib.contextmanager
def live_socket(panel: Panel) -> Iterator[ClientConnection]:
    token = panel.manage("create_token", "admin").strip()
    url = f"ws://127.0.0.1:{panel.port}/ws/live/"
    with connect(url, additional_headers={"Authorization": f"Bearer {token}"}, compression=None) as socket:
        socket.send('{"type": "subscribe", "topics": ["containers"]}')  # as a page with sliders does
        yield socket


def send_limits(socket: ClientConnection, container: object, pids: int) -> int:
    """One change; what the kernel has then."""
    socket.send(json.dumps({"type": "update_limits", "request": pids, "id": container, "limits": {"pids": pids}}))
    while (answer := json.loads(socket.recv()))["type"] != "reply":
        pass
    assert answer["request"] == pids, answer
    return int(answer["limits"]["pids"]["kernel"])


def sustained(changes: list[Callable[[int], int]]) -> float:
    """Changes a second, from several connections at once, each waiting for its answer."""

    def slide(change: Callable[[int], int], first: int) -> None:
        for number in range(CHANGES // len(changes)):
            change(first + number)

    hands = [threading.Thread(target=slide, args=(change, 1000 * (place + 1))) for place, change in enumerate(changes)]
    begun = time.perf_counter()
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    return CHANGES / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
