"""Worker and web are killed; sandboxes run on, and everything is there again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.panel import Panel


def eventually(read: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true value; a panel that is just starting again is waited for."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if value := read():
                return value
        except (httpx.TransportError, KeyError):
            pass
        assert time.monotonic() < deadline, "it did not come back"
        time.sleep(0.05)


@pytest.fixture
def sandbox(api: httpx.Client) -> Iterator[dict[str, Any]]:
    made = api.post("containers", json={"engine": "raw", "name": "survivor", "image": "busybox", "command": ["sleep", "1000"]})
    assert made.status_code == 201, made.text
    yield made.json()
    eventually(lambda: api.delete(f"containers/{made.json()['id']}?force=1").status_code in (204, 404))


@pytest.mark.parametrize("name", ["worker", "web"])
def test_sandbox_runs_on_when_a_half_is_killed(panel: Panel, api: httpx.Client, sandbox: dict[str, Any], name: str) -> None:
    before = panel.pid(name)
    os.kill(before, signal.SIGKILL)
    eventually(lambda: panel.pid(name) != before and panel.is_up())
    found = eventually(lambda: [item for item in api.get("containers").json().get("items", []) if item["name"] == "survivor"])
    assert (found[0]["state"], found[0]["pid"]) == ("running", sandbox["pid"])
    assert Path(f"/proc/{sandbox['pid']}").exists()
    path = f"containers/{sandbox['id']}/exec"
    assert eventually(lambda: api.post(path, json={"argv": ["hostname"]}).json()["stdout"]) == "survivor\n"


def test_sandbox_runs_on_through_down_and_up(panel: Panel, api: httpx.Client, sandbox: dict[str, Any]) -> None:
    panel.down()
    assert Path(f"/proc/{sandbox['pid']}").exists()
    panel.up()
    assert eventually(lambda: api.get(f"containers/{sandbox['id']}").json()["pid"]) == sandbox["pid"]
