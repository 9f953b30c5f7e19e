"""The containers as the worker last told them: one subscription for the whole web process, shared by lists and viewers.

    worker ──Push──▶ mirror ──▶ lists, look-ups, pages        (from memory, when ``synced``)
                            └─▶ listeners: consumers/live.py   (as it comes)

The worker pushes a change before it answers whoever made it, on another connection: ``settle`` waits for that push, so
that whoever writes reads what was written, and an answer never covers up a newer push.
Stats are subscribed to only while a listener wants them, on a second connection: the worker samples for nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable

import msgspec
from django.conf import settings

from .worker.client import LinkChanged, WorkerClient, shared
from .worker.protocol import Container, ContainersChanged, Event, Job, Push, StatsFrame

REMEMBERED = 5000  # removed containers of which owner and name are still known
_SYNC_PATIENCE = 1.0  # seconds that the first reader waits for the first list
_SETTLE = 0.02  # seconds; the push is in our socket's buffer when the answer is

Message = ContainersChanged | StatsFrame | Event | Job | LinkChanged
Listener = Callable[[Message], None]

_log = logging.getLogger(__name__)
_containers = msgspec.msgpack.Decoder(Container)


class _Identified(msgspec.Struct):
    id: str


_identified = msgspec.msgpack.Decoder(_Identified)
_payloads: dict[str, msgspec.msgpack.Decoder[Message]] = {
    "containers": msgspec.msgpack.Decoder(ContainersChanged),
    "stats": msgspec.msgpack.Decoder(StatsFrame),
    "events": msgspec.msgpack.Decoder(Event),
    "jobs": msgspec.msgpack.Decoder(Job),
}


class Mirror:
    """One event loop's thread. ``client`` may be any worker client of this loop."""

    def __init__(self, client: WorkerClient) -> None:
        self.client = client
        self.synced = False
        self.up = True  # until we are told otherwise
        self._gone: OrderedDict[str, Container] = OrderedDict()
        self._deleted: set[str] = set()  # by us; not yet confirmed by a push
        self._changes: dict[str, int] = {}  # how often each was pushed
        self._changed: asyncio.Future[None] | None = None  # the next push of containers
        self._awaited: set[str] | None = None  # what is still to come of a list that has begun
        self.latest_stats: StatsFrame | None = None
        self._containers: dict[str, Container] = {}
        self._encoded: dict[str, bytes] = {}
        self._listeners: dict[Listener, bool] = {}  # → whether it wants stats
        self._ready = asyncio.Event()
        self._task = asyncio.create_task(self._follow(("containers", "events", "jobs")), name="mirror")
        self._stats_task: asyncio.Task[None] | None = None

    async def ready(self) -> bool:
        """Whether the list can be relied on; the first caller waits a moment for it."""
        if not self._ready.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ready.wait(), _SYNC_PATIENCE)
        return self.synced

    def all(self) -> Iterable[Container]:
        return self._containers.values()

    def get(self, container_id: str) -> Container | None:
        return self._containers.get(container_id)

    def encoded(self, container: Container) -> bytes:
        """Its JSON, made once per change."""
        encoded = self._encoded.get(container.id)
        if encoded is None or self._containers.get(container.id) is not container:
            encoded = msgspec.json.encode(container)
            if self._containers.get(container.id) is container:
                self._encoded[container.id] = encoded
        return encoded

    def owner(self, container_id: str) -> str | None:
        """Of one that there is, or was lately; None when it is not known."""
        container = self._containers.get(container_id) or self._gone.get(container_id)
        return None if container is None else container.owner

    def changes(self, container_id: str) -> int:
        """How often it was pushed; ask before a change, for ``settle``."""
        return self._changes.get(container_id, 0)

    async def settle(self, container: Container, changes: int = 0, *, of_many: bool = False) -> None:
        """Return once the list has what the worker answered, or something newer.

        An act may be pushed in steps, so its own push is waited for, and for a moment in vain where a newer one has come.
        ``of_many``: changes that follow each other closely have a push each; any since is taken for it.
        """

        def settled() -> bool:
            return self._containers.get(container.id) == container or (of_many and self.changes(container.id) != changes)

        await self._until(settled)
        if self.changes(container.id) == changes:
            self._put(container)

    async def settle_removal(self, container_id: str) -> None:
        """The same for one that was removed. A push that was under way can't bring it back."""
        await self._until(lambda: container_id not in self._containers)
        if container_id in self._containers:
            self._deleted.add(container_id)
            self._drop(container_id)

    async def _until(self, settled: Callable[[], bool]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE):
                while self.synced and not settled():
                    if self._changed is None:
                        self._changed = asyncio.get_running_loop().create_future()
                    await asyncio.shield(self._changed)

    def _put(self, container: Container) -> None:
        if container.id not in self._deleted:
            self._containers[container.id] = container
            self._encoded.pop(container.id, None)

    def _drop(self, container_id: str) -> None:
        container = self._containers.pop(container_id, None)
        self._changes.pop(container_id, None)
        self._encoded.pop(container_id, None)
        if container is not None:
            self._gone[container_id] = container
            if len(self._gone) > REMEMBERED:
                self._gone.popitem(last=False)

    def listen(self, listener: Listener, stats: bool) -> None:
        """Call ``listener`` with everything that comes; again with another ``stats`` to change that."""
        self._listeners[listener] = stats
        self._follow_stats()

    def leave(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)
        self._follow_stats()

    def close(self) -> None:
        self._task.cancel()
        if self._stats_task is not None:
            self._stats_task.cancel()

    def _follow_stats(self) -> None:
        wanted = any(self._listeners.values())
        if wanted and self._stats_task is None:
            self._stats_task = asyncio.create_task(self._follow(("stats",)), name="mirror stats")
        elif not wanted and self._stats_task is not None:
            self._stats_task.cancel()
            self._stats_task = None
            self.latest_stats = None

    async def _follow(self, topics: tuple[str, ...]) -> None:
        async with contextlib.aclosing(self.client.subscribe(topics)) as pushes:
            async for push in pushes:
                try:
                    self._take(push, topics)
                except msgspec.MsgspecError as error:
                    _log.error("the worker told something that can't be read: %s", error)

    def _take(self, push: Push | LinkChanged, topics: tuple[str, ...]) -> None:
        if isinstance(push, LinkChanged):
            if "containers" not in topics:
                return  # the other connection says the same
            self.up = push.up
            if not push.up:
                self.synced = False  # what is known may be old; readers ask the worker itself
                self._awaited = None
                self._ready.set()
            self._tell(push)
            return
        message = _payloads[push.topic].decode(push.payload)
        if isinstance(message, ContainersChanged):
            self._change(message)
        elif isinstance(message, StatsFrame):
            self.latest_stats = message
        self._tell(message)

    def _change(self, change: ContainersChanged) -> None:
        if change.reset:
            self._awaited = set(change.ids)
            self._deleted &= self._awaited
        fresh = [_containers.decode(raw) for raw in change.containers]
        gone = set(self._containers).difference(change.ids) if change.reset else change.removed
        for container_id in gone:
            self._drop(container_id)
        for container in fresh:
            self._changes[container.id] = self._changes.get(container.id, 0) + 1
            self._put(container)
        self._deleted.difference_update(change.removed)
        if self._awaited is not None:
            self._awaited.difference_update((container.id for container in fresh), change.removed)
            if not self._awaited:
                self._awaited = None
                self.synced = self.up = True
                self._ready.set()
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    def _tell(self, message: Message) -> None:
        for listener, stats in list(self._listeners.items()):
            if stats or not isinstance(message, StatsFrame):
                listener(message)


def ids_of(change: ContainersChanged) -> list[str]:
    """Which containers it is about."""
    return [_identified.decode(raw).id for raw in change.containers] + list(change.removed)


_mirrors: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Mirror] = weakref.WeakKeyDictionary()


def current() -> Mirror:
    """This event loop's mirror of the worker at TERRARIUM_WORKER_SOCKET; begins to follow on the first call."""
    loop = asyncio.get_running_loop()
    mirror = _mirrors.get(loop)
    if mirror is None:
        mirror = _mirrors[loop] = Mirror(shared(settings.TERRARIUM_WORKER_SOCKET))
    return mirror
