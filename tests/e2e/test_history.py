"""The charts of a container's page begin with what happened before it was opened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page

from tests.engines.conftest import wait_until
from tests.panel import Panel

BEFORE = 10  # seconds
# By how many values the chart has grown at most from one look to the next: what comes live comes one by one.
MOST_AT_ONCE = """(() => {
    const { length } = document.querySelector("time-chart")?.values ?? [];
    window.most = Math.max(window.most ?? 0, length - (window.seen ?? 0));
    window.seen = length;
    return window.most;
})()"""


@pytest.fixture
def sandbox(api: httpx.Client) -> Iterator[dict[str, Any]]:
    command = ["sh", "-c", "while :; do :; done"]
    body = {"name": "busy", "image": "busybox", "command": command, "limits": {"cpu": 0.2, "memory": "64M"}}
    made = api.post("containers", json=body)
    assert made.status_code == 201, made.text
    yield made.json()
    assert api.delete(f"containers/{made.json()['id']}?force=1").status_code == 204


def test_the_charts_begin_filled(api: httpx.Client, page: Page, sandbox: dict[str, Any]) -> None:
    for _ in range(BEFORE):  # the page that logged in watches meanwhile, and forgets when it is left
        time.sleep(1)
        assert api.get("containers/busy/stats").status_code == 200
    rows = api.get("containers/busy/history").json()["items"]
    assert len(rows) >= BEFORE - 1
    page.goto(f"/containers/{sandbox['id']}/")
    wait_until(lambda: page.evaluate(MOST_AT_ONCE) >= BEFORE - 2)
    cpu = page.evaluate("document.querySelector('time-chart').values")
    assert 0.1 < max(value or 0 for value in cpu) < 0.4


def test_metrics_say_what_the_kernel_counted(panel: Panel, api: httpx.Client, sandbox: dict[str, Any]) -> None:
    answer = httpx.get(f"{panel.url}/metrics", headers={"Authorization": api.headers["Authorization"]})
    assert answer.status_code == 200
    unit = f"/terrarium-{panel.tag}.scope" if Path("/run/systemd/system").is_dir() else ""
    group = f'id="{unit}/terrarium-{panel.tag}/{sandbox["id"]}",name="busy",image="busybox",engine="raw"'
    used = [line for line in answer.text.splitlines() if line.startswith("container_cpu_usage_seconds_total{" + group)]
    assert len(used) == 1 and float(used[0].split()[-1]) > 0
    assert f"container_spec_memory_limit_bytes{{{group}}} {64 << 20}\n" in answer.text
    assert f'container_network_receive_bytes_total{{{group},interface="eth0"}} ' in answer.text
    assert httpx.get(f"{panel.url}/metrics").status_code == 401
