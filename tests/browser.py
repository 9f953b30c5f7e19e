"""The browser of the tests: Debian's chromium, which talks to nobody on its own account."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import BrowserContext, Cookie, Page, Request

from tests.panel import PASSWORD

CHROMIUM = "/usr/bin/chromium"
PATIENCE = 30_000.0  # ms for what is to come: a busy machine has many processes to start for it
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-quic", "--no-first-run",
]  # fmt: skip
_cookies: dict[str, list[Cookie]] = {}  # user → of the last log-in: a password takes half a second to check


def _missed(request: Request) -> list[str]:
    """A script without which the page stays as it is; not one that was given up because the page was left."""
    if request.resource_type != "script" or "ERR_ABORTED" in (request.failure or ""):
        return []
    return [f"{request.url}: {request.failure}"]


def watched(page: Page, home: str) -> list[str]:
    """What goes wrong from here on: errors of the page's scripts, scripts that do not come, requests to elsewhere."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.extend(_missed(request)))
    page.on("request", lambda request: None if request.url.startswith((home, "data:", "blob:")) else errors.append(request.url))
    return errors


@contextmanager
def logged_in(context: BrowserContext, home: str, user: str) -> Iterator[Page]:
    """A page of a user of the panel at ``home`` who has the tests' password. What goes wrong in it fails the test."""
    page = context.new_page()
    errors = watched(page, home)
    context.add_cookies(_cookies.get(user, []))
    page.goto("/containers/")
    if "/login/" in page.url:
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/login/" not in url)
        _cookies[user] = context.cookies()
    yield page
    assert errors == []
