"""A panel as a stranger gets it: just set up, nobody has logged in, and the one-time password is on the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.browser import PATIENCE, watched
from tests.dockerd import Dockerd
from tests.panel import Panel, deploy, free_port


@dataclass(frozen=True)
class Fresh:
    panel: Panel
    url: str
    password: str


@pytest.fixture
def fresh(tmp_path: Path, panel: Panel, dockerd: Dockerd) -> Iterator[Fresh]:
    """Beside the session's panel, with the packages already there."""
    other = Panel(tmp_path.resolve(), free_port(), dockerd.url)
    other.seed(panel)
    try:
        ran = deploy("up", *other.place, "--port", str(other.port), "--docker-host", other.docker_host, "--detach")
        assert ran.returncode == 0, ran.stdout + ran.stderr + other.log_tails()
        password = re.search(r"One-time password:\s+(\S+)", ran.stdout)
        url = re.search(r"serves at (\S+)", ran.stdout)
        assert password and url, ran.stdout
        yield Fresh(other, url[1], password[1])
    finally:
        other.down("--all", "--purge")


@pytest.fixture
def cleared(api: httpx.Client) -> Iterator[None]:
    """What a test makes of sandboxes and images on the session's panel goes after it."""
    before = {image["name"] for image in api.get("images").json()["items"]}
    yield
    for container in api.get("containers").json()["items"]:
        assert api.delete(f"containers/{container['id']}?force=1").status_code in (204, 404)  # Docker's may just have gone
    for image in api.get("images").json()["items"]:
        if image["name"] not in before:
            assert api.delete(f"images/{image['name']}").status_code == 204


@pytest.fixture
def stranger(browser: Browser, fresh: Fresh) -> Iterator[Page]:
    """A browser that was never here. An error of the page's scripts, or a request to elsewhere, fails the test."""
    context = browser.new_context(base_url=fresh.url, viewport={"width": 1280, "height": 800}, locale="en-GB", timezone_id="UTC")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    errors = watched(page, fresh.url)
    yield page
    context.close()
    assert errors == []
