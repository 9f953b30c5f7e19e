"""Django's admin: actions on many ask first, tell the outcome of each, and go through the panel's services."""

import re

from containers_app.models import AuditEntry, LimitPreset, Template

LIST = "/admin/containers_app/listedcontainer/"


async def test_the_admins_list_is_the_workers(browser, staff, worker):
    await browser.log_in("staff")
    first = worker.engine.add("web-1")
    assert b"web-1" in (await browser.get(LIST)).content
    worker.engine.add("web-2")
    await worker.engine.remove(first.id, force=True)
    page = (await browser.get(LIST)).content
    assert b"web-2" in page
    assert b"web-1" not in page


async def test_a_preset_is_asked_about_then_applied_with_an_outcome_each(browser, staff, worker):
    await LimitPreset.objects.acreate(name="little", limits={"pids": 7})
    chosen = [worker.engine.add(name).id for name in ("web-1", "web-2")]
    await browser.log_in("staff")
    await browser.get(LIST)
    asked = await browser.post(LIST, {"action": "apply_preset", "_selected_action": chosen})
    assert b'data-testid="confirm"' in asked.content
    assert "pids" not in worker.engine.read_limits(chosen[0])
    fields = {"action": "apply_preset", "_selected_action": chosen, "preset": "little", "confirmed": "yes"}
    done = await browser.post(LIST, fields)
    assert re.findall(rb"<td>(web-\d)</td><td>yes</td>", done.content) in ([b"web-1", b"web-2"], [b"web-2", b"web-1"])
    assert worker.engine.read_limits(chosen[0])["pids"].requested == 7
    assert await AuditEntry.objects.filter(action="update limits").acount() == 2


async def test_containers_are_made_from_a_template(browser, staff, worker):
    template = await Template.objects.acreate(name="quiet", spec={"image": "busybox", "command": ["sleep", "1000"]})
    await browser.log_in("staff")
    page = "/admin/containers_app/template/"
    chosen = {"action": "create_containers", "_selected_action": [template.pk]}
    assert b"PREFIX-1" in (await browser.post(page, chosen)).content
    refused = await browser.post(page, {**chosen, "prefix": "box", "count": "0", "confirmed": "yes"})
    assert b'data-testid="outcomes"' not in refused.content
    done = await browser.post(page, {**chosen, "prefix": "box", "count": "2", "confirmed": "yes"})
    assert re.findall(rb"<td>(box-\d)</td><td>yes</td>", done.content) == [b"box-1", b"box-2"]


async def test_the_list_says_so_when_the_worker_is_away(browser, staff, no_worker):
    await browser.log_in("staff")
    assert b"the last one known" in (await browser.get(LIST)).content


async def test_a_template_is_checked_when_it_is_typed_in(browser, staff, worker):
    await browser.log_in("staff")
    answer = await browser.post("/admin/containers_app/template/add/", {"name": "odd", "spec": '{"image": "../etc"}'})
    assert b"is not an image name" in answer.content
    assert not await Template.objects.filter(name="odd").aexists()


async def test_others_than_staff_have_no_admin(browser, olga, worker):
    await browser.log_in("olga")
    answer = await browser.get(LIST)
    assert (await browser.get(answer["Location"])).status_code == 403
