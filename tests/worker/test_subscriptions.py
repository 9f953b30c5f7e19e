"""Who subscribes gets the whole list, then what changes; who is slow loses stats, never changes."""

import asyncio

import msgspec
import pytest

from containers_app.spec import LimitReading
from containers_app.worker import client as worker_client
from containers_app.worker import protocol, registry, server
from containers_app.worker.client import LinkChanged
from containers_app.worker.protocol import Container, ContainersChanged, Event, StatsFrame
from tests.worker.conftest import RawPeer
from tests.worker.test_client import SLEEPER

decode = msgspec.msgpack.decode


class Audience:
    """Follows subscriptions and keeps what it is told."""

    def __init__(self, client, *topics):
        self.changes: list[ContainersChanged] = []
        self.stats: list[StatsFrame] = []
        self.events: list[Event] = []
        self.known: dict[str, Container] = {}
        self.refused = False
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._follow(client, topics))

    async def _follow(self, client, topics):
        async for push in client.subscribe(topics):
            if isinstance(push, LinkChanged):
                self.refused = self.refused or not push.up
                self._news.set()
                continue
            match push.topic:
                case "containers":
                    self._change(decode(push.payload, type=ContainersChanged))
                case "stats":
                    self.stats.append(decode(push.payload, type=StatsFrame))
                case "events":
                    self.events.append(decode(push.payload, type=Event))
            self._news.set()

    def _change(self, change):
        self.changes.append(change)
        if change.reset:
            self.known.clear()
        for raw in change.containers:
            container = decode(raw, type=Container)
            self.known[container.id] = container
        for gone in change.removed:
            self.known.pop(gone)

    async def until(self, condition):
        async with asyncio.timeout(30):
            while not condition(self):
                self._news.clear()
                await self._news.wait()

    async def leave(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def audience(client, engine):
    audience = Audience(client, "containers", "events")
    await audience.until(lambda a: a.changes)
    yield audience
    await audience.leave()


def ticking() -> bool:
    return any(task.get_name() == "stats" for task in asyncio.all_tasks())


async def test_the_first_message_is_the_whole_list(client, engine):
    container = engine.add("before")
    audience = Audience(client, "containers")
    await audience.until(lambda a: a.changes)
    assert audience.changes[0].reset
    assert audience.known == {container.id: container}
    await audience.leave()


async def test_the_life_of_a_container_is_told_as_it_happens(client, audience):
    made = await client.call(protocol.CreateContainer(SLEEPER, "ada"), Container)
    await audience.until(lambda a: made.id in a.known and a.known[made.id].state == "running")
    await client.call(protocol.PauseContainer(made.id), Container)
    await client.call(protocol.ResumeContainer(made.id), Container)
    await client.call(protocol.KillContainer(made.id), Container)
    await client.call(protocol.RemoveContainer(made.id), type(None))
    await audience.until(lambda a: not a.known and len(a.events) == 6)
    assert [event.action for event in audience.events] == ["created", "started", "paused", "resumed", "exited", "removed"]
    assert audience.events[4].detail == "exited 137"
    assert [event.sequence for event in audience.events] == [1, 2, 3, 4, 5, 6]


async def test_changes_close_together_are_one_message(engine, audience):
    containers = [engine.add(f"c{number}") for number in range(50)]
    await audience.until(lambda a: len(a.known) == 50)
    for container in containers:
        engine.change(container.id, labels={"x": "1"})
        engine.change(container.id, labels={"x": "2"})
    await audience.until(lambda a: all(one.labels == {"x": "2"} for one in a.known.values()))
    assert len(audience.changes) <= 4  # the list, one lone first change and the rest of it, and the labels


async def test_a_call_of_changed_without_a_change_tells_nothing(engine, audience):
    container = engine.add("a")
    await audience.until(lambda a: a.known)
    before = len(audience.changes)
    engine.changed(container.id)
    engine.changed("000000000000")
    await asyncio.sleep(0.1)
    assert len(audience.changes) == before


async def test_a_change_of_limits_is_an_event_in_words(engine, audience):
    container = engine.add("a", state="running", limits={"memory": LimitReading(1, 67108864, 1, "bytes")})
    engine.changed(container.id)
    await audience.until(lambda a: a.known)
    engine.change(container.id, limits={"memory": LimitReading(None, None, None, "bytes")})
    await audience.until(lambda a: a.events and a.events[-1].action == "limits")
    assert audience.events[-1].detail == "memory 67108864 → none"


async def test_stats_are_sampled_only_while_somebody_looks(site, client):
    assert site.live.latest is None
    audience = Audience(client, "stats")
    await audience.until(lambda a: len(a.stats) >= 2)
    assert audience.stats[1].host.cpus >= 1
    assert site.live.latest is not None
    await audience.leave()
    async with asyncio.timeout(30):
        while site.live.latest is not None or ticking():
            await asyncio.sleep(0.01)


async def test_a_subscriber_that_has_already_gone_is_not_kept(site, engine):
    async with RawPeer(site.path) as peer:
        await peer.greet()
        body = msgspec.Raw(msgspec.msgpack.encode(protocol.Subscribe(("containers", "stats", "events"))))
        await peer.send(protocol.frame(protocol.Request(1, body)))
    async with asyncio.timeout(30):
        while site.server._connections or site.live._subscriptions or ticking():
            await asyncio.sleep(0.005)


async def test_a_slow_subscriber_misses_stats_but_in_the_end_knows_every_change(site, engine, peer, monkeypatch):
    monkeypatch.setattr(server, "HIGH_WATER", 50_000)
    monkeypatch.setattr("containers_app.worker.live.TICK", 0.01)
    containers = [engine.add(f"c{number}", labels={"fill": "x" * 1000}) for number in range(400)]
    await peer.ask(msgspec.msgpack.encode(protocol.Subscribe(("containers", "stats", "events"))))
    for turn in range(50):  # the peer reads nothing meanwhile
        for container in containers[:300]:
            engine.change(container.id, labels={"fill": "x" * 1000, "turn": str(turn)})
        site.registry.publish()
        await asyncio.sleep(0.005)
    engine.containers.pop(containers[-1].id)
    engine.changed(containers[-1].id)
    assert next(iter(site.server._connections))._waiting < 1_500_000
    known: dict[str, Container] = {}
    messages = 0
    while len(known) != 399 or any(known[one.id].labels.get("turn") != "49" for one in containers[:300]):
        message = await peer.message()
        messages += 1
        assert messages < 500
        if message.topic == "containers":
            change = decode(message.payload, type=ContainersChanged)
            known |= {container.id: container for container in (decode(raw, type=Container) for raw in change.containers)}
            for gone in change.removed:
                known.pop(gone, None)
    assert containers[-1].id not in known


async def test_events_can_be_read_later_newest_last(client, engine, audience):
    for number in range(5):
        engine.add(f"c{number}")
    await audience.until(lambda a: len(a.events) == 5)
    newest = await client.call(protocol.ListEvents(after=2, limit=2), list[Event])
    assert [event.sequence for event in newest] == [4, 5]


async def test_a_list_that_no_frame_holds_comes_in_pieces_and_the_first_tells_all_ids(client, engine, monkeypatch):
    monkeypatch.setattr(protocol, "MAX_REPLY", 100_000)
    monkeypatch.setattr(registry, "PIECE", 20_000)
    containers = {one.id: one for one in (engine.add(f"c{number}", labels={"fill": "x" * 1000}) for number in range(200))}
    audience = Audience(client, "containers")
    await audience.until(lambda a: len(a.known) == 200)
    first, *others = audience.changes
    assert first.reset and set(first.ids) == containers.keys()
    assert others and not any(one.reset or one.ids for one in others)
    assert audience.known == containers
    for container in containers.values():
        engine.change(container.id, labels={"fill": "y" * 1000})
    await audience.until(lambda a: all(one.labels == {"fill": "y" * 1000} for one in a.known.values()))
    await audience.leave()


async def test_one_container_that_is_larger_than_a_piece_has_one_of_its_own(client, engine, monkeypatch):
    monkeypatch.setattr(registry, "PIECE", 1000)
    for number in range(3):
        engine.add(f"c{number}", labels={"fill": "x" * 5000})
    audience = Audience(client, "containers")
    await audience.until(lambda a: len(a.known) == 3)
    assert [len(change.containers) for change in audience.changes] == [1, 1, 1]
    await audience.leave()


async def test_the_list_can_be_asked_for_by_pages(client, engine, monkeypatch):
    monkeypatch.setattr(registry, "PIECE", 20_000)
    ids = {engine.add(f"c{number}", labels={"fill": "x" * 1000}).id for number in range(50)}
    found, after, pages = [], "", 0
    while page := await client.call(protocol.ListContainers(after), list[Container]):
        found += [one.id for one in page]
        after, pages = found[-1], pages + 1
    assert found == sorted(ids) and pages > 2


async def test_a_lost_link_is_not_connected_again_at_once(site, client, engine, monkeypatch):
    audience = Audience(client, "containers")
    await audience.until(lambda a: a.changes)
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    for connection in list(site.server._connections):
        connection.close()
    await audience.until(lambda a: len(a.changes) == 2)
    assert worker_client.RETRY in slept
    await audience.leave()


async def test_who_is_refused_a_subscription_asks_again(site, client, engine, monkeypatch):
    monkeypatch.setattr(server, "MAX_REQUESTS", 0)
    audience = Audience(client, "containers")
    await audience.until(lambda a: a.refused)
    monkeypatch.setattr(server, "MAX_REQUESTS", 512)
    await audience.until(lambda a: a.changes)
    await audience.leave()
