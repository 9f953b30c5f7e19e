"""Fixtures for all tests: a real panel, its API, a real browser, and the proof that each test leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from containers_app.kernel import top_directory
from tests import leaks
from tests.browser import ARGUMENTS, CHROMIUM, PATIENCE, logged_in
from tests.dockerd import Dockerd
from tests.dockerd import dockerd as dockerd
from tests.panel import Panel, free_port
from tests.podman import podman as podman


@pytest.fixture(scope="session")
def watch(tmp_path_factory: pytest.TempPathFactory) -> leaks.Watch:
    base = tmp_path_factory.getbasetemp().resolve()
    top_directory.mark(str(base))
    return leaks.Watch(base)


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest, watch: leaks.Watch) -> Iterator[None]:
    """Compares the machine before and after. What a session's fixtures made is there before."""
    before, pids = watch.now(), leaks.descendants()
    yield
    left = watch.left_since(before, pids)
    assert not left, f"left behind by {request.node.nodeid}: {sorted(left)}"


@pytest.fixture(scope="session")
def panel(tmp_path_factory: pytest.TempPathFactory, watch: leaks.Watch, dockerd: Dockerd) -> Iterator[Panel]:
    """The session's panel, below a directory that only root may enter, beside a Docker daemon of the tests' own."""
    base = tmp_path_factory.mktemp("panel").resolve()
    base.chmod(0o700)
    before, pids = watch.now(), leaks.descendants()
    panel = Panel(base, free_port(), docker_host=dockerd.url)
    watch.kept.add(panel.tag)
    try:
        panel.up()
        yield panel
    finally:
        panel.down("--all", "--purge")
        watch.kept.discard(panel.tag)
    left = watch.left_since(before, pids)
    assert not left, f"left behind by deploy/down --all --purge: {sorted(left)}"


@pytest.fixture(scope="session")
def token(panel: Panel) -> str:
    return panel.manage("create_token", "admin").split()[-1]


@pytest.fixture
def api(panel: Panel, token: str) -> Iterator[httpx.Client]:
    """The REST API as the administrator; paths begin at /api/v1/."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{panel.url}/api/v1/", headers=headers, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one module: as long as it lives, Playwright's event loop is this thread's, and no asynchronous test can run."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, panel: Panel) -> Iterator[BrowserContext]:
    """A browser without cookies. Nothing may be fetched from elsewhere."""
    context = browser.new_context(base_url=panel.url, viewport={"width": 1280, "height": 800}, locale="en-GB", timezone_id="UTC")
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, panel: Panel) -> Iterator[Page]:
    """Logged in as the administrator."""
    with logged_in(context, panel.url, "admin") as page:
        yield page
