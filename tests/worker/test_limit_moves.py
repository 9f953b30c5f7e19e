"""A slider that is dragged is one event, told at once and brought along; what happens beside it is never lost to it."""

import pytest

from containers_app.spec import LimitReading
from containers_app.worker import limit_moves, protocol
from tests.worker.test_subscriptions import Audience


def pids(number):
    return {"pids": LimitReading(number, number, number, "")}


@pytest.fixture
async def box(engine, site):
    container = engine.add("box", state="running", limits=pids(1), owner="ada")
    site.registry.publish()
    return container


@pytest.fixture
def log(site):
    return lambda: [(event.action, event.detail) for event in site.registry.events.after(2, 1000)]


async def drag(client, container, values):
    for value in values:
        await client.call(protocol.UpdateLimits(container.id, {"pids": value}), object)


async def test_the_first_change_is_told_at_once_and_the_next_ones_with_it(client, box, log, monkeypatch):
    monkeypatch.setattr(limit_moves, "SETTLED", 0.05)
    audience = Audience(client, "events", "containers")
    await audience.until(lambda a: a.changes)
    await drag(client, box, [2])
    assert log() == [("limits", "pids 1 → 2")]
    await drag(client, box, range(3, 50))
    await audience.until(lambda a: len(a.events) == 2)
    assert log() == [("limits", "pids 1 → 49")]
    first, last = audience.events
    assert (last.detail, last.replaces, last.owner) == ("pids 1 → 49", first.sequence, "ada")
    await audience.leave()


async def test_a_thousand_changes_push_nothing_out_of_the_log(client, engine, site, box, log):
    engine.add("other", state="running")
    site.registry.publish()
    await drag(client, box, [2, 3] * 500)
    assert len(site.registry.events.after(0, 10_000)) <= 6


async def test_changes_without_a_pause_are_told_in_the_end(client, box, log, monkeypatch):
    monkeypatch.setattr(limit_moves, "LONGEST", 0.02)
    audience = Audience(client, "events", "containers")
    await audience.until(lambda a: a.changes)
    value = 1
    while not any(event.replaces for event in audience.events):
        value += 1
        await drag(client, box, [value])
    await audience.leave()


async def test_what_comes_back_to_where_it_was_is_told_too(client, box, log, site):
    await drag(client, box, [2, 1])
    await site.registry.close()
    assert log() == [("limits", "pids 1 → 2"), ("limits", "pids 2 → 1")]


async def test_another_event_of_the_container_comes_after_the_limits(client, engine, box, log):
    await drag(client, box, [2, 3])
    engine.change(box.id, state="exited", reason="exited 1")
    await client.call(protocol.ListContainers(), object)
    assert log() == [("limits", "pids 1 → 3"), ("exited", "exited 1")]


async def test_one_alone_is_one_event(client, box, log, site):
    await drag(client, box, [2])
    await site.registry.close()
    assert log() == [("limits", "pids 1 → 2")]
