"""A panel behind a proxy that takes the TLS off: log-in, cookies, websockets, and each visitor's own address."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import sync_playwright
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from containers_app import throttle
from tests import leaks
from tests.browser import ARGUMENTS, CHROMIUM, PATIENCE, watched
from tests.engines.test_raw_network import own_address
from tests.panel import PASSWORD, Panel, deploy, free_port
from tests.tls_proxy import NAME, TlsProxy


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory, panel: Panel, watch: leaks.Watch) -> Iterator[Panel]:
    second = Panel(tmp_path_factory.mktemp("proxied").resolve(), free_port())
    watch.kept.add(second.tag)
    second.seed(panel)
    yield second
    second.down("--all", "--purge")
    watch.kept.discard(second.tag)


@pytest.fixture(scope="module")
def proxy(proxied: Panel) -> Iterator[TlsProxy]:
    """The panel was told of it once, in capitals, and has been stopped and started again since."""
    proxy = TlsProxy(proxied.base, proxied.port)
    (proxied.base / "password").write_text(PASSWORD)
    for words in (("--public-url", f"{proxy.url.upper()}/"), ()):
        ran = deploy("up", *proxied.up_words, *words)
        assert f"Terrarium serves at {proxy.url}/\n" in ran.stdout, ran.stdout + ran.stderr + proxied.log_tails()
        if words:
            proxied.down()
    yield proxy
    proxy.close()


def through(proxy: TlsProxy, address: str, **headers: str) -> httpx.Client:
    """A browser at ``address``, one of the loop-back's, that knows where the name is."""
    host = proxy.url.removeprefix("https://")
    transport = httpx.HTTPTransport(verify=trusting(proxy), local_address=address)
    headers = {"Host": host, "Origin": proxy.url, **headers}
    return httpx.Client(base_url=f"https://127.0.0.1:{proxy.port}", transport=transport, headers=headers, timeout=60)


def trusting(proxy: TlsProxy) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(proxy.certificate))
    context.check_hostname = False  # httpx is given the address
    return context


def log_in(visitor: httpx.Client, password: str = PASSWORD, **headers: str) -> httpx.Response:
    visitor.get("/login/")
    token = next(cookie.value for cookie in visitor.cookies.jar if cookie.name.endswith("_csrf"))
    form = {"username": "admin", "password": password, "csrfmiddlewaretoken": token or ""}
    return visitor.post("/login/", data=form, headers=headers)


def live(proxy: TlsProxy, visitor: httpx.Client, address: str, origin: str) -> ClientConnection:
    line = socket.create_connection(("127.0.0.1", proxy.port), source_address=(address, 0))
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.cookies.jar)
    url = f"{proxy.url.replace('https', 'wss')}/ws/live/"
    headers = {"Cookie": cookies}
    return connect(url, sock=line, ssl=trusting(proxy), origin=Origin(origin), additional_headers=headers)


def told(socket: ClientConnection, kind: str) -> dict[str, object]:
    while (message := json.loads(socket.recv(60)))["type"] != kind:
        pass
    return dict(message)


def audited(panel: Panel, action: str) -> list[str]:
    """The addresses of all entries of that kind, the newest last."""
    rows = f"AuditEntry.objects.filter(action='{action}').order_by('id').values_list('address', flat=True)"
    return panel.manage("shell", "-v", "0", "-c", f"from containers_app.models import AuditEntry; print(*{rows})").split()


def test_a_browser_logs_in_and_its_page_is_live(proxy: TlsProxy) -> None:
    with sync_playwright() as playwright:
        rules = f"--host-resolver-rules=MAP {NAME} 127.0.0.1"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, rules])
        context = browser.new_context(base_url=proxy.url, ignore_https_errors=True)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        errors = watched(page, proxy.url)
        page.goto("/host/")
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", PASSWORD)
        with page.expect_websocket() as opening:
            page.click("button[type=submit]")
        opened = opening.value
        opened.wait_for_event("framereceived", lambda frame: '"type":"hello"' in frame)
        assert page.url == f"{proxy.url}/host/" and opened.url == f"wss://{proxy.url.removeprefix('https://')}/ws/live/"
        assert all(cookie["secure"] for cookie in context.cookies())
        browser.close()
    assert errors == []


def test_cookies_go_by_tls_only(proxy: TlsProxy) -> None:
    with through(proxy, "127.0.0.2") as visitor:
        answer = log_in(visitor)
        assert (answer.status_code, answer.headers["Location"]) == (302, "/containers/")
        cookies = list(visitor.cookies.jar)
        assert len(cookies) == 2 and all(cookie.secure for cookie in cookies)


def test_a_proxy_that_asks_by_the_panels_address_and_not_by_the_name_is_well_too(proxied: Panel, proxy: TlsProxy) -> None:
    """What nginx does where it was not told to keep Host."""
    with through(proxy, "127.0.0.2", Host=f"127.0.0.1:{proxied.port}") as visitor:
        assert log_in(visitor).status_code == 302


def test_a_page_from_elsewhere_gets_neither_a_form_nor_a_socket_through(proxy: TlsProxy) -> None:
    with through(proxy, "127.0.0.2") as visitor:
        assert log_in(visitor).status_code == 302
        for origin in ("https://evil.example", proxy.url.replace("https", "http"), f"https://{NAME}"):
            assert log_in(visitor, Origin=origin).status_code == 403, origin
            with live(proxy, visitor, "127.0.0.2", origin) as opened, pytest.raises(ConnectionClosed):
                told(opened, "hello")
            assert opened.close_code == 4401, origin
        with live(proxy, visitor, "127.0.0.2", proxy.url) as opened:
            assert told(opened, "hello")


def test_what_a_visitor_does_is_noted_with_the_address_that_the_proxy_saw(proxied: Panel, proxy: TlsProxy) -> None:
    with through(proxy, "127.0.0.7", **{"X-Forwarded-For": "203.0.113.9"}) as visitor:
        assert log_in(visitor).status_code == 302
        assert audited(proxied, "log in")[-1] == "127.0.0.7"
        csrf = next(cookie.value for cookie in visitor.cookies.jar if cookie.name.endswith("_csrf")) or ""
        box = {"name": "noted", "image": "busybox", "command": ["sleep", "1000"], "limits": {"pids": 10}}
        made = visitor.post("/api/v1/containers", json=box, headers={"X-CSRFToken": csrf})
        assert made.status_code == 201, made.text
        try:
            with live(proxy, visitor, "127.0.0.6", proxy.url) as opened:
                change = {"type": "update_limits", "request": 1, "id": made.json()["id"], "limits": {"pids": 20}}
                opened.send(json.dumps(change))
                assert told(opened, "reply")
        finally:
            path = f"/api/v1/containers/{made.json()['id']}?force=1"
            assert visitor.delete(path, headers={"X-CSRFToken": csrf}).status_code == 204
    assert audited(proxied, "create")[-1] == "127.0.0.7" and audited(proxied, "update limits")[-1] == "127.0.0.6"


def test_one_visitors_wrong_passwords_hold_nobody_else_back(proxy: TlsProxy) -> None:
    with through(proxy, "127.0.0.8") as guesser, through(proxy, "127.0.0.9") as other:
        for number in range(throttle.FREE):
            assert log_in(guesser, "wrong", **{"X-Forwarded-For": f"203.0.113.{number}"}).status_code == 200
        assert log_in(guesser, "wrong", **{"X-Forwarded-For": "203.0.113.99"}).status_code == 429
        assert log_in(other).status_code == 302


def test_only_this_machine_is_believed_and_only_until_there_is_no_proxy_any_more(other: Panel) -> None:
    def noted(address: str, **headers: str) -> str:
        """Who is said to have done what was asked for at this address of the panel's."""
        headers["Authorization"] = f"Bearer {token}"
        with httpx.Client(base_url=f"http://{address}:{other.port}/api/v1/", headers=headers, timeout=60) as api:
            assert api.post("groups", json={"name": "team"}).status_code == 201
            assert api.delete("groups/team").status_code == 204
        return audited(other, "create group")[-1].removeprefix("::ffff:")  # of a socket for both families

    outside, claim = own_address(), {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    for url in (f"https://{NAME}", "none"):
        ran = deploy("up", *other.up_words, "--host", "::", "--public-url", url)
        assert ran.returncode == 0, ran.stdout + ran.stderr + other.log_tails()
        token = other.manage("create_token", "admin").split()[-1]
        assert noted("127.0.0.1", **claim) == ("127.0.0.1" if url == "none" else "198.51.100.7")
        assert noted(outside, **claim) == outside
        assert noted("127.0.0.1") == "127.0.0.1"
        other.down()


def test_a_panel_that_knows_no_proxy_believes_nobody(panel: Panel) -> None:
    lies = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "Origin": panel.url}
    with httpx.Client(base_url=panel.url, headers=lies, timeout=60) as visitor:
        assert log_in(visitor).status_code == 302
        assert not any(cookie.secure for cookie in visitor.cookies.jar)
    assert audited(panel, "log in")[-1] == "127.0.0.1"
