"""Who watches what: subscriptions, and the second's tick that exists only while somebody watches the stats.

A subscriber that does not keep up loses stats frames, never container changes or events: what it missed is remembered
by id and sent, in its newest form, once its queue has drained.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from ..errors import InvalidInput
from .protocol import TOPICS, ContainersChanged, Event, Job, Push, StatsFrame, frame
from .registry import Registry

TICK = 1.0  # seconds between stats frames
FIRST_TICK = 0.25  # the second frame comes early, since rates need two samples

MAX_BACKLOG = 1000  # events sent to one that has fallen behind; older ones are for ListEvents

_log = logging.getLogger(__name__)
_encode = msgspec.msgpack.Encoder().encode


class Subscriber(Protocol):
    @property
    def congested(self) -> bool: ...
    def push(self, data: bytes) -> None: ...


@dataclass
class _Subscription:
    topics: set[str] = field(default_factory=set)
    missed: set[str] = field(default_factory=set)  # ids of containers that changed while it was congested
    last_event: int = 0


def check_topics(topics: Iterable[str]) -> None:
    if unknown := set(topics) - set(TOPICS):
        raise InvalidInput(f"There is no topic called {sorted(unknown)[0][:40]!r}.", hint="Topics are " + ", ".join(TOPICS) + ".")


class Live:
    """The registry's audience. One event loop's thread."""

    def __init__(self, sample: Callable[[], StatsFrame]) -> None:
        self._sample = sample
        self._subscriptions: dict[Subscriber, _Subscription] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._latest: StatsFrame | None = None
        self._registry: Registry | None = None

    def open(self, registry: Registry) -> None:
        self._registry = registry

    @property
    def registry(self) -> Registry:
        assert self._registry is not None, "open() comes first"
        return self._registry

    @property
    def latest(self) -> StatsFrame | None:
        """The last stats frame while somebody watches, else None."""
        return self._latest

    def subscribe(self, subscriber: Subscriber, topics: Iterable[str]) -> None:
        """Add topics; "containers" begins with all of them. Known topics are left as they are."""
        wanted = set(topics)
        subscription = self._subscriptions.setdefault(subscriber, _Subscription())
        new = wanted - subscription.topics
        subscription.topics |= wanted
        if "events" in new:
            subscription.last_event = self.registry.events.last_sequence
        if "stats" in new and self._ticker is None:
            self._ticker = asyncio.create_task(self._tick(), name="stats")
        if "containers" in new:  # last: a peer that is gone is found out, and unsubscribed, by being sent something
            self.registry.publish()
            for data in self._containers_frames(self.registry.ids(), reset=True):
                subscriber.push(data)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        self._subscriptions.pop(subscriber, None)
        if self._ticker is not None and not any("stats" in one.topics for one in self._subscriptions.values()):
            self._ticker.cancel()
            self._ticker = None
            self._latest = None

    def containers_changed(self, ids: frozenset[str]) -> None:
        frames: list[bytes] = []
        for subscriber, subscription in list(self._subscriptions.items()):
            if "containers" not in subscription.topics:
                continue
            if subscriber.congested or subscription.missed:
                subscription.missed |= ids
                continue
            frames = frames or self._containers_frames(ids)
            for data in frames:
                subscriber.push(data)

    def event(self, event: Event) -> None:
        for subscriber, subscription in list(self._subscriptions.items()):
            if "events" in subscription.topics and not subscriber.congested:
                self._send_events(subscriber, subscription)

    def job(self, job: Job) -> None:
        """Who is congested misses progress, never an end."""
        data = frame(Push("jobs", msgspec.Raw(_encode(job))))
        for subscriber, subscription in list(self._subscriptions.items()):
            if "jobs" in subscription.topics and (job.state != "running" or not subscriber.congested):
                subscriber.push(data)

    def drained(self, subscriber: Subscriber) -> None:
        """The subscriber has room again: send what it missed."""
        subscription = self._subscriptions.get(subscriber)
        if subscription is None:
            return
        if subscription.missed:
            missed, subscription.missed = subscription.missed, set()
            for data in self._containers_frames(missed):
                subscriber.push(data)
        if "events" in subscription.topics:
            self._send_events(subscriber, subscription)

    def _send_events(self, subscriber: Subscriber, subscription: _Subscription) -> None:
        for event in self.registry.events.after(subscription.last_event, MAX_BACKLOG):
            subscription.last_event = event.sequence
            subscriber.push(frame(Push("events", msgspec.Raw(_encode(event)))))

    def _containers_frames(self, ids: Iterable[str], reset: bool = False) -> list[bytes]:
        known = set(self.registry.ids())
        wanted = set(ids)
        present, removed = sorted(wanted & known), tuple(sorted(wanted - known))
        first, *others = [tuple(piece) for piece in self.registry.pieces(present)] or [()]
        changes = [ContainersChanged(first, removed, reset, tuple(present) if reset else ()), *map(ContainersChanged, others)]
        return [frame(Push("containers", msgspec.Raw(_encode(change)))) for change in changes]

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        due, wait = loop.time(), FIRST_TICK
        while True:
            try:
                self._latest = self._sample()
            except Exception:
                _log.exception("a sample failed")  # the next second is another chance
            else:
                data = frame(Push("stats", msgspec.Raw(_encode(self._latest))))
                for subscriber, subscription in list(self._subscriptions.items()):
                    if "stats" in subscription.topics and not subscriber.congested:
                        subscriber.push(data)
            due = max(due + wait, loop.time())  # a late tick is not made up for
            await asyncio.sleep(due - loop.time())
            wait = TICK
