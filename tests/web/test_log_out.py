from .conftest import websocket


async def test_after_the_log_out_the_session_is_worth_nothing(browser, olga, worker):
    await browser.log_in("olga")
    old = browser.cookie
    assert (await browser.post("/logout/"))["Location"] == "/login/"
    name, _, value = old.partition("=")
    browser.client.cookies[name] = value
    assert (await browser.get("/containers/"))["Location"].startswith("/login/")


async def test_the_log_out_is_a_post(browser, olga, worker):
    await browser.log_in("olga")
    assert (await browser.get("/logout/")).status_code == 405


async def test_the_log_out_closes_the_live_websocket(browser, olga, worker):
    await browser.log_in("olga")
    socket = websocket("/ws/live/", cookie=browser.cookie)
    assert (await socket.connect())[0]
    assert (await socket.receive_json_from())["type"] == "hello"
    await browser.post("/logout/")
    assert await socket.receive_output() == {"type": "websocket.close", "code": 4401}
    await socket.disconnect()


async def test_the_log_out_hangs_up_the_terminals_of_this_log_in(browser, staff, worker):
    await browser.log_in("staff")
    container = worker.engine.add("web-1")
    answer = await browser.client.post(
        f"/api/v1/containers/{container.id}/terminals",
        {},
        content_type="application/json",
        headers={"x-csrftoken": browser.csrf},
    )
    assert answer.status_code == 201
    socket = websocket(f"/ws/terminal/{answer.json()['session']}/", cookie=browser.cookie)
    assert (await socket.connect())[0]
    await browser.post("/logout/")
    while (message := await socket.receive_output())["type"] != "websocket.close":
        pass
    assert message["type"] == "websocket.close"
    await socket.disconnect()
    worker.engine.shells[0].wait(30)
