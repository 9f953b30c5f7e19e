"""Every page and dialog, light and dark, held against the rules of axe-core: WCAG 2.2 AA and good practice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, expect

from tests.browser import PATIENCE, logged_in
from tests.panel import Panel

AXE = Path(settings.TERRARIUM_NPM_DIR, "axe-core", "axe.min.js")
# Django's own style sheet has transitions for those too who want none; a colour half way is nobody's.
SETTLED = """() => Promise.all(document.getAnimations().filter((one) => one instanceof CSSTransition).map((one) => one.finished))
    .then(() => null, () => null)"""
COLOURS = ["color-contrast", "link-in-text-block"]
SANDBOXES = ({"name": "one", "command": ["sleep", "1000"], "limits": {"cpu": 0.5, "memory": "64M", "pids": 50}},
            {"name": "two", "command": ["sleep", "1000"], "namespaces": {"net": "container:one", "ipc": "host"}},
            {"name": "ended", "command": ["sh", "-c", "echo no; exit 3"]}, {"name": "planned", "start": False})  # fmt: skip
TABS = ("overview", "limits", "terminal", "toolbox", "logs", "processes", "namespaces", "security", "commands", "mounts",
        "network", "exec", "events")  # fmt: skip
PAGES = ("containers", "overview", "groups", "namespaces", "images", "networks", "volumes", "activity", "host", "api/docs",
         "password", "containers/nobody")  # fmt: skip
ADMIN = ("", "containers_app/container/", "containers_app/auditentry/", "containers_app/apitoken/", "containers_app/user/",
         "containers_app/template/", "containers_app/limitpreset/", "containers_app/template/add/", "auth/group/")  # fmt: skip


@pytest.fixture(scope="module")
def administrator(browser: Browser, panel: Panel, token: str) -> Iterator[Page]:
    """The administrator's page, on a panel with sandboxes in each state and a group."""
    headers = {"Authorization": f"Bearer {token}"}
    context = browser.new_context(base_url=panel.url, reduced_motion="reduce", locale="en-GB", timezone_id="UTC")
    context.set_default_timeout(PATIENCE)
    with httpx.Client(base_url=f"{panel.url}/api/v1/", headers=headers, timeout=30) as api:
        made = [api.post("containers", json={"image": "busybox", **fields}) for fields in SANDBOXES]
        group = api.post("groups", json={"name": "team", "limits": {"memory": "256M"}})
        try:
            assert {answer.status_code for answer in (*made, group)} == {201}, [answer.text for answer in made]
            with logged_in(context, panel.url, "admin") as page:
                yield page
        finally:
            context.close()
            for answer in reversed(made):
                api.delete(f"containers/{answer.json()['id']}?force=1")
            api.delete("groups/team")


@pytest.fixture
def seen(administrator: Page) -> Iterator[Page]:
    yield administrator
    administrator.goto("about:blank")  # a toolbox goes with its page


def violations(page: Page) -> dict[str, list[str]]:
    """theme and rule → the elements that break it and why. The second theme differs in its colours only."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())  # by the debugger's protocol: the pages' own policy lets no such script in
    found: dict[str, list[str]] = {}
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.evaluate(SETTLED)
        only = {"runOnly": COLOURS} if theme == "dark" else {}
        told: dict[str, Any] = page.evaluate("options => axe.run(document, options)", {"resultTypes": ["violations"]} | only)
        assert told["passes"], "axe has looked at nothing"
        for rule in told["violations"]:
            found[f"{theme} {rule['id']}"] = [f"{node['html'][:200]}: {node['failureSummary']}" for node in rule["nodes"]]
    return found


def test_axe_finds_what_is_wrong(seen: Page) -> None:
    """Else none of the other tests here could fail."""
    seen.goto("/host/")
    seen.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=data:,><p style=color:#777>pale</p>')"
    )
    assert {"light image-alt", "light color-contrast", "dark color-contrast"} <= set(violations(seen))


@pytest.mark.parametrize("path", PAGES)
def test_page(seen: Page, path: str) -> None:
    seen.goto(f"/{path}/")
    expect(seen.locator("h1").first).to_be_visible()
    expect(seen.locator("[aria-busy=true]")).to_have_count(0)
    assert violations(seen) == {}


@pytest.mark.parametrize("tab", TABS)
def test_tab(seen: Page, tab: str) -> None:
    seen.goto(f"/containers/one/{tab}/")
    expect(seen.get_by_test_id(f"tab-{tab}")).to_have_attribute("aria-selected", "true")
    if tab in ("terminal", "toolbox"):
        expect(seen.get_by_test_id("terminal-status")).to_have_text("connected")
    expect(seen.locator("[aria-busy=true]")).to_have_count(0)
    assert violations(seen) == {}


@pytest.mark.parametrize("path", ["ended", "ended/limits", "ended/terminal", "ended/logs", "planned", "two/network"])
def test_what_a_container_that_is_not_usual_shows(seen: Page, path: str) -> None:
    seen.goto(f"/containers/{path}/")
    expect(seen.locator("[aria-busy=true]")).to_have_count(0)
    assert violations(seen) == {}


@pytest.mark.parametrize("path", ADMIN)
def test_administration(seen: Page, path: str) -> None:
    seen.goto(f"/admin/{path}")
    assert violations(seen) == {}


def _unfolded(page: Page) -> None:
    page.get_by_test_id("new-sandbox").click()
    expect(page.get_by_test_id("preview")).to_contain_text("unshare")
    page.get_by_test_id("create-dialog").evaluate("it => it.querySelectorAll('details').forEach(part => { part.open = true; })")


def _menu(page: Page) -> None:
    page.locator('[data-testid=container-row][data-name="one"] [data-act=more]').click()
    expect(page.get_by_test_id("action-menu")).to_be_visible()


def _selection(page: Page) -> None:
    row = page.locator('[data-testid=container-row][data-name="one"]')
    row.hover()
    row.get_by_test_id("row-select").check()


OPENED: dict[str, Callable[[Page], None]] = {
    "the form for a new sandbox": _unfolded, "the actions of a row": _menu, "the actions of a selection": _selection,
    "the palette": lambda page: page.get_by_test_id("open-palette").click(),
    "the help": lambda page: page.get_by_test_id("help").click(),
    "the account's menu": lambda page: page.get_by_test_id("user-menu").locator("summary").click(),
    "the question before a removal": lambda page: page.locator('[data-name="ended"]').get_by_test_id("row-remove").click(),
}  # fmt: skip


@pytest.mark.parametrize("what", OPENED)
def test_what_opens_over_the_list(seen: Page, what: str) -> None:
    seen.goto("/containers/")
    expect(seen.locator('[data-testid=container-row][data-name="one"]')).to_be_visible()
    OPENED[what](seen)
    assert violations(seen) == {}


@pytest.mark.parametrize(("path", "button"), [("images", "Import an image"), ("networks", "New network"), ("groups", "New group"),
                                              ("volumes", "New volume")])  # fmt: skip
def test_the_forms_of_other_pages(seen: Page, path: str, button: str) -> None:
    seen.goto(f"/{path}/")
    seen.get_by_role("button", name=button).first.click()
    expect(seen.locator("dialog[open]")).to_be_visible()
    assert violations(seen) == {}


@pytest.mark.parametrize("path", ["login", "admin/login"])
def test_logging_in(page: Page, path: str) -> None:
    page.context.clear_cookies()
    page.goto(f"/{path}/")
    expect(page.locator("input[name=password]")).to_be_visible()
    assert violations(page) == {}
