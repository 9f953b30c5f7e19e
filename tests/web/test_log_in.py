from containers_app import throttle
from containers_app.models import AuditEntry

from .conftest import PASSWORD, make_user


async def test_the_right_password_leads_to_the_containers(browser, olga, worker):
    answer = await browser.log_in("olga")
    assert (answer.status_code, answer["Location"]) == (302, "/containers/")
    assert (await browser.get("/containers/")).status_code == 200


async def test_the_log_in_leads_to_the_page_that_was_asked_for(browser, olga, worker):
    asked = await browser.get("/host/?x=1")
    assert asked["Location"] == "/login/?next=/host/%3Fx%3D1"
    answer = await browser.log_in("olga", next="/host/?x=1")
    assert answer["Location"] == "/host/?x=1"


async def test_next_never_leads_to_another_site(browser, olga, worker):
    for evil in ("https://evil.example/", "//evil.example/", "javascript:alert(1)", "http:///evil.example", "/\\evil.example"):
        browser.client.cookies.clear()
        assert (await browser.log_in("olga", next=evil))["Location"] == "/containers/"


async def test_a_wrong_password_and_an_unknown_user_are_told_the_same(browser, olga, worker):
    wrong = await browser.log_in("olga", "wrong")
    unknown = await browser.log_in("nobody", "wrong")
    assert wrong.status_code == unknown.status_code == 200
    assert b"The user name or the password is wrong." in wrong.content
    assert b"The user name or the password is wrong." in unknown.content


async def test_an_inactive_user_cannot_log_in(browser, worker):
    from asgiref.sync import sync_to_async

    await sync_to_async(make_user)("gone", is_active=False)
    assert (await browser.log_in("gone")).status_code == 200


async def test_the_session_gets_a_new_key_at_log_in(browser, olga, worker):
    await browser.log_in("olga")
    first = browser.session
    await browser.log_in("olga")
    assert browser.session and browser.session != first


async def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(browser, olga, worker):
    from django.conf import settings

    cookie = (await browser.log_in("olga")).cookies[settings.SESSION_COOKIE_NAME]
    assert cookie["httponly"] and cookie["samesite"] == "Lax"


async def test_guessing_is_held_back_with_a_word_about_when_to_try_again(browser, olga, worker):
    for _ in range(throttle.FREE):
        assert (await browser.log_in("olga", "wrong")).status_code == 200
    held = await browser.log_in("olga")
    assert held.status_code == 429
    assert int(held["Retry-After"]) > 0
    assert b"Try again in" in held.content


async def test_guessing_one_name_does_not_hold_back_another(browser, olga, otto, worker):
    for _ in range(throttle.FREE):
        await browser.log_in("olga", "wrong")
    assert (await browser.log_in("otto")).status_code == 302


async def test_a_right_password_clears_the_count(browser, olga, worker):
    for _ in range(throttle.FREE - 1):
        await browser.log_in("olga", "wrong")
    assert (await browser.log_in("olga")).status_code == 302
    assert (await browser.log_in("olga", "wrong")).status_code == 200
    assert (await browser.log_in("olga")).status_code == 302


async def test_many_names_from_one_address_are_held_back_too(browser, olga, worker):
    for number in range(throttle.PER_ADDRESS):
        throttle.attempt(f"name-{number}", "127.0.0.1")
    assert (await browser.log_in("olga")).status_code == 429


async def test_a_log_in_without_csrf_token_is_refused(browser, olga, worker):
    answer = await browser.client.post("/login/", {"username": "olga", "password": PASSWORD})
    assert answer.status_code == 403


async def test_the_log_in_is_audited_with_its_address(browser, olga, worker):
    await browser.log_in("olga")
    entry = await AuditEntry.objects.aget(action="log in")
    assert (entry.username, entry.address) == ("olga", "127.0.0.1")


async def test_who_is_logged_in_is_sent_on_from_the_log_in_page(browser, olga, worker):
    await browser.log_in("olga")
    assert (await browser.get("/login/"))["Location"] == "/containers/"


def test_an_address_of_ipv6_is_its_whole_64_and_one_of_ipv4_is_itself(fresh):
    for number in range(throttle.FREE):
        throttle.attempt("olga", f"2001:db8:0:1:{number}::9")
        throttle.attempt("otto", f"::ffff:192.0.2.{number}")
    assert throttle.wait("olga", "2001:db8:0:1::7777") > 0
    assert throttle.wait("olga", "2001:db8:0:2::7777") == 0
    for number in range(throttle.FREE):
        assert throttle.wait("otto", f"::ffff:192.0.2.{number}") == 0
    for _ in range(throttle.FREE):
        throttle.attempt("otto", "::ffff:192.0.2.1")
    assert throttle.wait("otto", "192.0.2.1") > 0 and throttle.wait("otto", "192.0.2.2") == 0
