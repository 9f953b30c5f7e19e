"""Nothing is reachable without a log-in but the log-in itself and /healthz."""

import re

from django.urls import get_resolver

from containers_app.api import ROUTES
from containers_app.middleware import OPEN_PATHS

from .conftest import Api, api_of


def every_path() -> list[str]:
    """The URL conf's own list, with something in place of each variable."""

    def walk(patterns, prefix=""):
        for pattern in patterns:
            text = prefix + re.sub(r"<[^>]+>", "x", re.sub(r"[\^$?\\]|\(\?:.*\)|\(\?P<\w+>[^)]*\)", "", str(pattern.pattern)))
            if hasattr(pattern, "url_patterns"):
                yield from walk(pattern.url_patterns, text)
            else:
                yield "/" + text

    return sorted(set(walk(get_resolver().url_patterns)))


async def test_every_page_sends_a_stranger_to_the_log_in(browser, worker):
    pages = [path for path in every_path() if not path.startswith("/api/v1") and path not in {*OPEN_PATHS, "/metrics"}]
    assert len(pages) > 20
    for path in [*pages, "/nowhere", "//", "/login/../host/", "/healthz/", "/login"]:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"):
            answer = await browser.client.generic(method, path)
            assert answer.status_code == 302 and answer["Location"].startswith("/login/"), (method, path, answer.status_code)


async def test_every_api_call_is_a_401_without_credentials(worker):
    api = Api()
    for route in ROUTES:
        answer = await api.send(route.method, route.path.replace("{id}", "x").replace("{session}", "y"), b"{}")
        assert (answer.status, answer.code) == (401, "log_in_first"), route
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    for path in ("", "/", "/nowhere", "/openapi.json"):
        assert (await api.get(path)).status == 401, path


async def test_metrics_are_a_401_without_credentials(browser, worker):
    for method in ("GET", "HEAD", "OPTIONS"):
        answer = await browser.client.generic(method, "/metrics")
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")


async def test_a_wrong_token_is_told_so_even_beside_a_session(browser, olga, worker):
    await browser.log_in("olga")
    for header in ("Bearer wrong", "Bearer", "Bearer ", "Basic b2xnYTp4", "nonsense", "Bearer \x00\xff"):
        answer = await browser.get("/api/v1/me", authorization=header)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_token"), header


async def test_a_token_opens_the_api_but_no_page(olga, worker):
    from asgiref.sync import sync_to_async
    from django.test import AsyncClient

    from containers_app.models import ApiToken

    token = (await sync_to_async(ApiToken.issue)(olga, "test"))[1]
    headers = {"authorization": f"Bearer {token}"}
    assert (await AsyncClient().get("/api/v1/me", headers=headers)).status_code == 200
    assert (await AsyncClient().get("/containers/", headers=headers)).status_code == 302


async def test_the_token_of_an_inactive_user_is_not_valid(olga, worker):
    from asgiref.sync import sync_to_async

    from containers_app import visitors

    api = await sync_to_async(api_of)(olga)
    assert (await api.get("/me")).status == 200
    olga.is_active = False
    await olga.asave()
    visitors.forget()
    assert (await api.get("/me")).status == 401


async def test_a_name_that_is_not_ours_is_refused_as_json(browser, worker, settings):
    settings.ALLOWED_HOSTS = ["panel.example"]
    answer = await browser.get("/login/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_host")


async def test_the_admin_pages_are_for_staff(browser, olga, worker):
    await browser.log_in("olga")
    assert (await browser.get("/admin/")).status_code in (302, 403)
    final = await browser.client.get("/admin/", follow=True)
    assert final.status_code == 403


async def test_staff_gets_the_admin_pages(browser, staff, worker):
    await browser.log_in("staff")
    for path in (
        "/admin/",
        "/admin/containers_app/user/",
        "/admin/containers_app/apitoken/",
        "/admin/containers_app/auditentry/",
        f"/admin/containers_app/user/{staff.pk}/change/",
    ):
        assert (await browser.get(path)).status_code == 200, path


async def test_security_headers_are_on_every_answer(browser, olga, worker):
    await browser.log_in("olga")
    for path in ("/login/", "/containers/", "/api/v1/me", "/healthz", "/nowhere/", "/api/v1/nowhere"):
        headers = (await browser.get(path)).headers
        assert "script-src 'self';" in headers["Content-Security-Policy"]
        assert "unsafe-inline" not in headers["Content-Security-Policy"].replace("style-src 'self' 'unsafe-inline'", "")
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"


async def test_an_api_change_by_session_needs_the_csrf_token(browser, olga, worker):
    await browser.log_in("olga")
    call = {"content_type": "application/json", "data": "{}"}
    without = await browser.client.post("/api/v1/preview", **call)
    assert (without.status_code, without.json()["error"]["code"]) == (403, "csrf_failed")
    foreign = {"x-csrftoken": browser.csrf, "origin": "http://evil.example"}
    assert (await browser.client.post("/api/v1/preview", headers=foreign, **call)).status_code == 403
    with_token = await browser.client.post("/api/v1/preview", headers={"x-csrftoken": browser.csrf}, **call)
    assert with_token.status_code == 400
