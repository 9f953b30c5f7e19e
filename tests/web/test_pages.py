"""Every page for who is logged in: its data, its speed-ups, and what it shows when something is missing."""

import json
import re

import pytest

PAGES = {
    "/overview/": {"containers", "host"},
    "/containers/": {"containers", "host", "images", "limits_table"},
    "/groups/": {"items", "limits_table"},
    "/namespaces/": {"graph"},
    "/images/": {"items", "host"},
    "/networks/": {"items", "host"},
    "/volumes/": {"items", "host"},
    "/activity/": {"items"},
    "/host/": {"host"},
    "/api/docs/": {"openapi", "paths"},
}


def data_of(answer):
    return json.loads(re.search(rb'<script id="page-data" type="application/json">(.*?)</script>', answer.content, re.S)[1])


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_has_its_data(browser, staff, worker, path):
    worker.engine.add("web-1")
    await browser.log_in("staff")
    answer = await browser.get(path)
    assert answer.status_code == 200
    assert PAGES[path] <= set(data_of(answer))


async def test_a_containers_page_goes_by_id_name_and_tab(browser, staff, worker):
    container = worker.engine.add("web-1")
    await browser.log_in("staff")
    for path in (f"/containers/{container.id}/", "/containers/web-1/", "/containers/web-1/limits/"):
        assert data_of(await browser.get(path))["container"]["id"] == container.id
    assert data_of(await browser.get("/containers/web-1/limits/"))["tab"] == "limits"


async def test_what_is_not_there_is_a_404_page(browser, olga, worker):
    worker.engine.add("staffs", owner="staff")
    worker.engine.add("olgas", owner="olga")
    await browser.log_in("olga")
    for path in ("/containers/nothing/", "/containers/staffs/", "/containers/olgas/nonsense/", "/nowhere/", "/containers/%00/"):
        answer = await browser.get(path)
        assert answer.status_code == 404, path
        assert b"<html" in answer.content


async def test_without_a_worker_the_page_says_so_and_stands(browser, staff, no_worker):
    await browser.log_in("staff")
    answer = await browser.get("/containers/")
    assert answer.status_code == 200
    assert b'data-testid="worker-down"' in answer.content
    assert data_of(answer)["containers"] == []
    assert (await browser.get("/containers/web-1/")).status_code == 503


async def test_names_cannot_break_out_of_the_pages_data(browser, staff, worker):
    worker.engine.add("x", image="</script><script>alert(1)</script>")
    await browser.log_in("staff")
    answer = await browser.get("/containers/")
    assert b"<script>alert" not in answer.content
    assert data_of(answer)["containers"][0]["image"] == "</script><script>alert(1)</script>"


async def test_no_page_has_an_inline_script(browser, staff, worker):
    await browser.log_in("staff")
    for path in PAGES:
        for tag in re.findall(rb"<script\b[^>]*>", (await browser.get(path)).content):
            assert b"src=" in tag or b'type="application/json"' in tag, tag


async def test_healthz_needs_no_log_in(browser, worker):
    answer = await browser.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "worker": "up"})


async def test_healthz_is_a_503_without_a_worker(browser, no_worker):
    answer = await browser.get("/healthz")
    assert (answer.status_code, answer.json()["worker"]) == (503, "down")


async def test_healthz_sees_the_worker_go_and_come(browser, worker, monkeypatch):
    monkeypatch.setattr("containers_app.worker.client.READ_PATIENCE", 0.05)
    assert (await browser.get("/healthz")).status_code == 200
    await worker.server.close()
    assert (await browser.get("/healthz")).status_code == 503
    await worker.open()
    assert (await browser.get("/healthz")).status_code == 200


async def test_a_page_asks_the_database_nothing_while_the_visit_is_known(browser, staff, worker, monkeypatch):
    from containers_app import database

    await browser.log_in("staff")
    await browser.get("/containers/")

    def refuse(*args, **kwargs):
        raise AssertionError("a question to the database")

    with monkeypatch.context() as patched:
        patched.setattr(database, "run", refuse)
        patched.setattr("django.db.backends.utils.CursorWrapper.execute", refuse)
        assert (await browser.get("/containers/")).status_code == 200


async def test_a_page_knows_who_looks_at_it(browser, staff, olga, worker):
    for name, is_staff in (("staff", True), ("olga", False)):
        await browser.log_in(name)
        assert data_of(await browser.get("/networks/"))["me"] == {"username": name, "staff": is_staff}


async def test_volumes_are_for_staff_and_no_fault_of_the_worker(browser, olga, worker):
    await browser.log_in("olga")
    answer = await browser.get("/volumes/")
    assert answer.status_code == 200 and data_of(answer)["items"] == [] and b"worker-down" not in answer.content
