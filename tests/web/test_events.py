"""The activity log through the API: filters count before the limit, and what happened to one's own stays one's own."""

import asyncio

from containers_app import mirror, services


async def details(api, query=""):
    answer = await api.get(f"/events{query}")
    assert answer.status == 200, answer.body
    return [(event["name"], event["action"]) for event in answer.body["items"]]


async def test_a_containers_events_are_found_below_any_number_of_others(as_staff, worker):
    quiet = worker.engine.add("quiet")
    for number in range(300):
        worker.engine.add(f"noisy-{number}")
    await as_staff.get("/containers")
    for reference in (quiet.id, "quiet"):
        assert await details(as_staff, f"?container={reference}&limit=5") == [("quiet", "created")]
    assert len(await details(as_staff, "?limit=5")) == 5
    assert await details(as_staff, "?container=nobody") == []


async def test_what_is_gone_is_asked_for_by_its_id(as_olga, worker):
    box = (await as_olga.post("/containers", {"name": "box", "image": "busybox", "command": ["sleep", "1000"]})).body["id"]
    assert (await as_olga.delete(f"/containers/{box}?force=1")).status == 204
    assert [action for _, action in await details(as_olga, f"?container={box}")] == ["created", "started", "removed"]


async def test_ones_own_events_are_found_below_any_number_of_others(as_olga, as_otto, as_staff, worker):
    olgas = worker.engine.add("olgas", owner="olga")
    for number in range(300):
        worker.engine.add(f"noisy-{number}", owner="staff")
    await as_staff.get("/containers")
    for query in ("?limit=5", f"?limit=5&container={olgas.id}"):
        assert await details(as_olga, query) == [("olgas", "created")]
        assert await details(as_otto, query) == []


async def test_the_answer_to_an_act_is_no_older_than_what_was_pushed(as_staff, worker, monkeypatch):
    """A program that ends while the entry of the audit log is being written."""
    box = worker.engine.add("box", command=("sleep", "1000"))
    audit = services.audit

    async def slow(*words):
        await audit(*words)
        await worker.engine.kill(box.id, 9)
        while mirror.current().get(box.id).state == "running":
            await asyncio.sleep(0.001)

    monkeypatch.setattr(services, "audit", slow)
    assert (await as_staff.post(f"/containers/{box.id}/start")).body["state"] == "exited"
