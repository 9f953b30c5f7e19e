import pytest

from containers_app.models import User

from .conftest import PASSWORD, api_of, make_user, websocket

NEW = "a loud red mountain"


@pytest.fixture
def newcomer() -> User:
    return make_user("newcomer", is_staff=True, must_change_password=True)


async def test_the_log_in_leads_to_the_password_page_and_no_further(browser, newcomer, worker):
    assert (await browser.log_in("newcomer"))["Location"] == "/password/"
    for path in ("/", "/containers/", "/admin/", "/api/docs/", "/nowhere/"):
        assert (await browser.get(path))["Location"] == "/password/", path


async def test_the_api_says_what_to_do(browser, newcomer, worker):
    await browser.log_in("newcomer")
    answer = await browser.get("/api/v1/containers")
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "password_change_required"


async def test_no_websocket_opens(browser, newcomer, worker):
    await browser.log_in("newcomer")
    socket = websocket("/ws/live/", cookie=browser.cookie)
    await socket.connect()
    assert (await socket.receive_output())["code"] == 4401


async def test_a_new_password_opens_the_panel_and_replaces_the_old_one(browser, newcomer, worker):
    await browser.log_in("newcomer")
    answer = await browser.post("/password/", {"new_password1": NEW, "new_password2": NEW})
    assert answer["Location"] == "/containers/"
    assert (await browser.get("/containers/")).status_code == 200
    await browser.post("/logout/")
    assert (await browser.log_in("newcomer")).status_code == 200
    assert (await browser.log_in("newcomer", NEW))["Location"] == "/containers/"


async def test_the_one_time_password_cannot_be_kept(browser, newcomer, worker):
    await browser.log_in("newcomer")
    answer = await browser.post("/password/", {"new_password1": PASSWORD, "new_password2": PASSWORD})
    assert b"Choose another" in answer.content
    assert (await browser.get("/containers/"))["Location"] == "/password/"


@pytest.mark.parametrize(("first", "second"), [("short", "short"), (NEW, NEW + "!"), ("12345678901", "12345678901"), ("", "")])
async def test_a_bad_new_password_is_refused(browser, newcomer, worker, first, second):
    await browser.log_in("newcomer")
    answer = await browser.post("/password/", {"new_password1": first, "new_password2": second})
    assert answer.status_code == 200
    assert (await browser.get("/containers/"))["Location"] == "/password/"


async def test_one_can_log_out_instead(browser, newcomer, worker):
    await browser.log_in("newcomer")
    assert (await browser.post("/logout/"))["Location"] == "/login/"


async def test_api_tokens_work_independently(newcomer, worker):
    from asgiref.sync import sync_to_async

    api = await sync_to_async(api_of)(newcomer)
    assert (await api.get("/me")).body == {"username": "newcomer", "staff": True}


async def test_changing_it_at_will_needs_the_old_one_and_ends_other_sessions(browser, olga, worker):
    from .conftest import Browser

    other = Browser()
    await browser.log_in("olga")
    await other.log_in("olga")
    assert (await other.get("/containers/")).status_code == 200
    without = await browser.post("/password/", {"old_password": "no", "new_password1": NEW, "new_password2": NEW})
    assert without.status_code == 200
    done = await browser.post("/password/", {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW})
    assert done["Location"] == "/containers/"
    assert (await browser.get("/containers/")).status_code == 200
    assert (await other.get("/containers/"))["Location"].startswith("/login/")
