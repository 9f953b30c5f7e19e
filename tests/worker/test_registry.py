"""What lies between two looks at a container, and what happened while no worker ran."""

import asyncio

import msgspec
import pytest

from containers_app.engines.base import EngineStatus
from containers_app.errors import EngineUnavailable, KernelRefused
from containers_app.worker import registry as module
from containers_app.worker.protocol import Container, CreateContainer, ListEvents, ReadHost
from containers_app.worker.registry import happened
from tests.worker.conftest import ProcessEngine, Site
from tests.worker.test_client import SLEEPER
from tests.worker.test_subscriptions import Audience

BASE = Container(id="c", node="here", engine="raw", name="a", state="created", image="busybox", created_at=1.0)


def seen(**fields) -> Container:
    return msgspec.structs.replace(BASE, **fields)


RUNNING = seen(state="running", pid=5, started_at=2.0)


@pytest.mark.parametrize(
    ("before", "after", "actions"),
    [
        (None, BASE, ["created"]),
        (None, RUNNING, ["created", "started"]),
        (None, seen(state="exited", exit_code=0, reason="exited 0"), ["created", "exited"]),
        (BASE, RUNNING, ["started"]),
        (RUNNING, seen(state="paused", pid=5, started_at=2.0), ["paused"]),
        (seen(state="paused"), seen(state="running"), ["resumed"]),
        (RUNNING, seen(state="exited", reason="exited 1"), ["exited"]),
        (RUNNING, seen(state="exited", reason="OOM killed at 32 MiB"), ["oom"]),
        (RUNNING, seen(state="exited", reason="exited 3; a process in it was OOM killed"), ["exited"]),
        (seen(state="exited"), RUNNING, ["started"]),
        (RUNNING, seen(state="running", pid=6, started_at=3.0), ["restarted"]),
        (RUNNING, seen(state="unknown", started_at=2.0), []),
        (seen(state="unknown", started_at=2.0), RUNNING, []),
        (seen(state="unknown", started_at=1.0), RUNNING, ["restarted"]),
        (seen(state="unknown"), seen(state="exited"), ["exited"]),
        (BASE, seen(name="b"), ["renamed"]),
        (BASE, seen(labels={"x": "y"}), []),
    ],
)
def test_what_happened(before, after, actions):
    assert [action for action, _, _ in happened(before, after)] == actions


async def test_what_happened_while_the_worker_was_down_is_recorded_when_it_comes_back(site, engine):
    stays, ends, goes = engine.add("stays", state="running"), engine.add("ends", state="running"), engine.add("goes")
    site.registry.publish()
    await site.close()
    engine.containers[ends.id] = msgspec.structs.replace(ends, state="exited", reason="exited 3", finished_at=7.0)
    del engine.containers[goes.id]
    again = Site(site.state, engine, site.policy)
    await again.open()
    news = {event.name: event for event in again.registry.events.after(5, 10)}
    assert {name: event.action for name, event in news.items()} == {"ends": "exited", "goes": "removed"}
    assert news["ends"].time == 7.0
    assert stays.name not in news
    await again.close()
    await again.open()
    assert again.registry.events.last_sequence == 7
    await again.close()


async def test_an_engine_that_is_down_does_not_make_its_containers_removed(site, engine, monkeypatch):
    engine.add("a", state="running")
    site.registry.publish()
    await site.close()
    engine.containers.clear()
    monkeypatch.setattr(engine, "status", lambda: EngineStatus("raw", False, "down"))
    again = Site(site.state, engine, site.policy)
    await again.open()
    assert again.registry.events.last_sequence == 2
    await again.close()


async def test_what_an_engine_shows_late_is_listed_but_did_not_happen_now(site, engine):
    engine.add("old", created_at=1.0)
    site.registry.publish()
    assert [container.name for container in site.registry.all()] == ["old"]
    assert site.registry.events.last_sequence == 0


async def test_an_engine_that_does_not_open_says_why_and_the_worker_serves(tmp_path, site, client, engine):
    await site.close()

    class Broken(ProcessEngine):
        async def open(self, changed):
            raise KernelRefused("No busybox on this machine.", hint="Install busybox-static.")

    again = Site(site.state, Broken(), site.policy)
    await again.open()
    host = await client.call(ReadHost(), dict)
    assert host["engines"] == [
        {"name": "raw", "available": False, "detail": "No busybox on this machine.", "hint": "Install busybox-static."}
    ]
    with pytest.raises(EngineUnavailable, match="busybox"):
        await client.call(CreateContainer(SLEEPER, ""), object)
    assert await client.call(ListEvents(), list) == []
    await again.close()


async def test_an_engine_that_hangs_holds_up_the_worker_for_a_moment_only(site, client, monkeypatch):
    await site.close()
    monkeypatch.setattr(module, "OPEN_PATIENCE", 0.05)

    class Slow(ProcessEngine):
        async def open(self, changed):
            await asyncio.sleep(3600)

    again = Site(site.state, Slow(), site.policy)
    await again.open()
    with pytest.raises(EngineUnavailable, match="not ready"):
        await client.call(CreateContainer(SLEEPER, ""), object)
    await again.close()


async def test_who_looks_already_is_told_of_the_containers_of_an_engine_that_opens_late(site, client, engine, monkeypatch):
    await site.close()
    monkeypatch.setattr(module, "OPEN_PATIENCE", 0.05)
    opened = asyncio.Event()

    class Late(ProcessEngine):
        async def open(self, changed):
            await opened.wait()
            await super().open(changed)

    late = Late()
    late.changed = lambda _: None
    adopted = late.add("adopted", state="running", created_at=1.0)
    again = Site(site.state, late, site.policy)
    await again.open()
    audience = Audience(client, "containers")
    await audience.until(lambda a: a.changes)
    assert audience.known == {}
    opened.set()
    await audience.until(lambda a: adopted.id in a.known)
    await audience.leave()
    await again.close()


async def test_an_engine_that_trips_over_one_container_does_not_silence_the_others(site, engine, monkeypatch, caplog):
    engine.add("bad")
    site.registry.publish()
    bad = next(iter(engine.containers))
    get = engine.get
    monkeypatch.setattr(engine, "get", lambda wanted: 1 / 0 if wanted == bad else get(wanted))
    engine.changed(bad)
    good = engine.add("good")
    site.registry.publish()
    assert good.id in site.registry.ids()
    assert "ZeroDivisionError" in caplog.text
