"""What the audit log has of limits: one entry for what a slider was left at."""

import asyncio

from containers_app import audits
from containers_app.models import AuditEntry, User


async def details():
    return [entry.detail async for entry in AuditEntry.objects.filter(action="update limits").order_by("pk")]


async def test_a_drag_is_one_entry_with_the_last_value_of_each_limit(as_staff, worker):
    worker.engine.add("web-1")
    for pids in range(5, 25):
        await as_staff.patch("/containers/web-1/limits", {"pids": pids})
    await as_staff.patch("/containers/web-1/limits", {"memory": None})
    await audits.settle()
    assert await details() == ["pids 24, memory none"]


async def test_an_entry_is_written_with_the_first_move_and_moves_along(as_staff, worker):
    """Nothing waits for a slider to rest: a web process may be killed at any moment."""
    worker.engine.add("web-1")
    for pids in (9, 10):
        await as_staff.patch("/containers/web-1/limits", {"pids": pids})
        deadline = asyncio.get_running_loop().time() + 10
        while await details() != [f"pids {pids}"]:
            assert asyncio.get_running_loop().time() < deadline, await details()
            await asyncio.sleep(0.005)


async def test_after_a_rest_a_move_is_an_entry_of_its_own(as_staff, worker, monkeypatch):
    worker.engine.add("web-1")
    monkeypatch.setattr(audits, "SETTLED", 0.0)
    for pids in (9, 10):
        await as_staff.patch("/containers/web-1/limits", {"pids": pids})
    await audits.settle()
    assert await details() == ["pids 9", "pids 10"]


async def test_what_waits_is_written_before_the_next_entry_of_anybody(as_staff, worker):
    worker.engine.add("web-1")
    await as_staff.patch("/containers/web-1/limits", {"pids": 9})
    await as_staff.post("/containers/web-1/exec", {"argv": ["true"]})
    assert [entry.action async for entry in AuditEntry.objects.order_by("pk")] == ["update limits", "execute"]


async def test_a_refused_change_is_no_entry(as_staff, worker):
    worker.engine.add("web-1")
    assert (await as_staff.patch("/containers/web-1/limits", {"pids": -9})).status == 400
    await audits.settle()
    assert await details() == []


async def test_a_user_who_is_removed_meanwhile_keeps_the_name(as_staff, staff, worker):
    worker.engine.add("web-1")
    await as_staff.patch("/containers/web-1/limits", {"pids": 9})
    await User.objects.filter(pk=staff.pk).adelete()
    await audits.settle()
    entry = await AuditEntry.objects.aget(action="update limits")
    assert (entry.username, entry.user_id) == ("staff", None)
