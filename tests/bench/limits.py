"""deploy/bench limits: from a slider's event to the value in the kernel, and how many changes a second are sustained.

A change goes the whole way: HTTP with a token, web process, worker, cgroup file, read back, audited. The floor of the
same run: the same number written to the same file by hand.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

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

        took = interleave({"slide": slide, "write": write}, ROUNDS)
        rate = sustained([Api(found) for _ in range(HANDS)], path)
    show(
        "Limits",
        [
            Row("slider to kernel, median", median(took["slide"]), "ms"),
            Row("slider to kernel, p95", p95(took["slide"]), "ms", f"goal {GOAL:g} ms", p95(took["slide"]) / GOAL),
            Row("the write alone, p95", p95(took["write"]), "ms", f"goal {WRITE_GOAL:g} ms", p95(took["write"]) / WRITE_GOAL),
            Row("changes a second, sustained", rate, "/s", f"goal {RATE_GOAL:g}/s", rate / RATE_GOAL),
        ],
    )


def box(name: str) -> dict[str, object]:
    return {"name": name, "command": ["sleep", "100000"], "limits": {"pids": 50, "memory": "64M"}}


def sustained(apis: list[Api], path: str) -> float:
    """Changes a second, from several connections at once, each waiting for its answer."""

    def change(api: Api, first: int) -> None:
        for number in range(CHANGES // len(apis)):
            status, answer = api.call("PATCH", path, {"pids": first + number})
            assert status == 200, answer

    hands = [threading.Thread(target=change, args=(api, 1000 * (place + 1))) for place, api in enumerate(apis)]
    begun = time.perf_counter()
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    return CHANGES / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
