"""What is known of every container, and who is told when it changes.

    engine ── changed(id) ──▶ registry ── engine.get(id), compared with what was last published
                                 ├─▶ audience.containers_changed(ids)
                                 ├─▶ EventLog.record(…) ─▶ audience.event(…)
                                 └─▶ tracker.track / forget   (the sampler)

Several changes within COALESCE are published together; the first one after a quiet time is published at once.
Everything runs on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import msgspec

from ..engines.base import Container, Engine, EngineStatus
from ..errors import EngineUnavailable, NotFound, TerrariumError, Unsupported
from .events import EventLog
from .limit_moves import LimitMoves
from .protocol import Event

OPEN_PATIENCE = 3.0  # seconds that the worker waits for its engines before it serves
COALESCE = 0.02  # seconds; an eye does not see it, a burst of starts is one message
PIECE = 1 << 20  # bytes of containers in one message; one that is larger has a message of its own

_ALIVE = ("running", "paused")
_log = logging.getLogger(__name__)
_encode = msgspec.msgpack.Encoder().encode


class Audience(Protocol):
    def containers_changed(self, ids: frozenset[str]) -> None: ...
    def event(self, event: Event) -> None: ...


class Tracker(Protocol):
    def update(self, container: Container) -> None: ...
    def forget(self, container_id: str) -> None: ...


class Registry:
    def __init__(self, engines: Mapping[str, Engine], events: EventLog, audience: Audience, tracker: Tracker) -> None:
        self.engines = engines
        self.events = events
        self._audience = audience
        self._tracker = tracker
        self._containers: dict[str, Container] = {}
        self._encoded: dict[str, msgspec.Raw] = {}
        self._pending: set[str] = set()
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._published_at = 0.0
        self._opened_at = time.time()
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._failed: dict[str, EngineStatus] = {}
        self._moves = LimitMoves(self._tell_limits)

    async def open(self) -> None:
        """Open the engines; one that is slow or fails holds up nobody else, and says so in its status."""
        self._opening = {name: asyncio.create_task(self._open(engine)) for name, engine in self.engines.items()}
        if self._opening:
            await asyncio.wait(self._opening.values(), timeout=OPEN_PATIENCE)
        self._catch_up()

    async def _open(self, engine: Engine) -> None:
        try:
            await engine.open(self.changed)
        except TerrariumError as error:
            self._failed[engine.name] = EngineStatus(engine.name, False, error.message, error.hint)
            _log.error("engine %s: %s %s", engine.name, error.message, error.hint)
        except Exception as error:
            self._failed[engine.name] = EngineStatus(
                engine.name, False, f"It could not be opened: {error}", "See the worker's log."
            )
            _log.exception("engine %s could not be opened", engine.name)
        else:
            found = engine.all()
            for container in found:
                self._keep(container)
                self._pending.discard(container.id)
            if found:  # where it was late, somebody may be looking already
                self._audience.containers_changed(frozenset(container.id for container in found))

    def statuses(self) -> list[EngineStatus]:
        return [self._failed.get(name) or engine.status() for name, engine in self.engines.items()]

    def engine(self, name: str) -> Engine:
        """By name, ready to be asked. Unsupported when there is none, EngineUnavailable when it failed or is still opening."""
        engine = self.engines.get(name)
        if engine is None:
            raise Unsupported(f"This worker has no {name} engine.", hint="See the host page for what there is.")
        if name in self._failed:
            raise EngineUnavailable(self._failed[name].detail, hint=self._failed[name].hint)
        if not self._opening[name].done():
            raise EngineUnavailable(f"The {name} engine is not ready yet.", hint="Try again in a moment.")
        return engine

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for opening in self._opening.values():
            opening.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        for engine in self.engines.values():
            await engine.close()
        self._moves.close()
        self.events.close()

    def changed(self, container_id: str) -> None:
        """An engine says that this container may have changed, appeared or gone."""
        self._pending.add(container_id)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._published_at + COALESCE), self.publish)

    def publish(self) -> None:
        """Tell what has changed since the last time; harmless to call at any time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._pending:
            return
        self._published_at = asyncio.get_running_loop().time()
        pending, self._pending = self._pending, set()
        different = frozenset(container_id for container_id in pending if self._refresh(container_id))
        if different:
            self._audience.containers_changed(different)

    def engine_of(self, container_id: str) -> Engine:
        for engine in self.engines.values():
            if engine.owns(container_id):
                return engine
        raise NotFound("There is no such container.", hint="It may have been removed. The list shows what there is.")

    def ids(self) -> Iterable[str]:
        return self._containers.keys()

    def all(self) -> list[Container]:
        self.publish()
        return list(self._containers.values())

    def pieces(self, ids: Iterable[str]) -> Iterator[list[msgspec.Raw]]:
        """The MessagePack of those of these containers that still exist, by PIECE bytes; each is encoded once per change."""
        piece: list[msgspec.Raw] = []
        size = 0
        for container_id in ids:
            raw = self._encoded.get(container_id)
            if raw is None:
                continue
            if piece and size + len(memoryview(raw)) > PIECE:
                yield piece
                piece, size = [], 0
            piece.append(raw)
            size += len(memoryview(raw))
        if piece:
            yield piece

    def named(self, name: str) -> Container | None:
        return next((container for container in self.all() if container.name == name), None)

    def _keep(self, container: Container) -> None:
        self._containers[container.id] = container
        self._encoded[container.id] = msgspec.Raw(_encode(container))
        self._tracker.update(container)

    def _refresh(self, container_id: str) -> bool:
        """Look again; record what happened. True when there is something to publish."""
        before = self._containers.get(container_id)
        try:
            after = self.engine_of(container_id).get(container_id)
        except NotFound:
            if before is None:
                return False
            del self._containers[container_id], self._encoded[container_id]
            self._tracker.forget(container_id)
            self._record(before, "removed")
            return True
        except Exception:  # whatever an engine trips over: the others' containers must still be told of
            _log.exception("container %s can't be read", container_id)
            return False
        if after == before:
            return False
        self._keep(after)
        if before is None and after.created_at and after.created_at < self._opened_at:
            return True  # an engine shows late what was there before (Docker has come up): nothing happened now
        for action, detail, when in happened(before, after):
            self._record(after, action, detail, when)
        if before is not None:
            self._moves.changed(before, after)
        return True

    def _record(self, container: Container, action: str, detail: str = "", when: float | None = None) -> None:
        self._moves.settle(container.id)
        self._tell(container, action, detail, when)

    def _tell(self, container: Container, action: str, detail: str, when: float | None = None, replaces: int = 0) -> Event:
        event = self.events.record(
            container.id, container.name, container.engine, action, detail, when, owner=container.owner, replaces=replaces
        )
        self._audience.event(event)
        return event

    def _tell_limits(self, container: Container, detail: str, replaces: int) -> Event:
        return self._tell(container, "limits", detail, replaces=replaces)

    def _catch_up(self) -> None:
        """Record what happened while no worker ran, as far as the log's last word and the state now tell."""
        for container_id, last in self.events.last_actions().items():
            container = self._containers.get(container_id)
            if container is None:
                if last.action != "removed" and self._knows_all(last.engine):
                    detail = "while the worker was down"
                    self.events.record(container_id, last.name, last.engine, "removed", detail, owner=last.owner)
            elif container.state == "exited" and last.action not in ("exited", "oom"):
                action, detail = ending(container)
                self._record(container, action, detail, container.finished_at)
            elif container.state in _ALIVE and last.action in ("created", "exited", "oom"):
                self._record(container, "started", when=container.started_at)

    def _knows_all(self, engine: str) -> bool:
        """Is what this engine does not show really gone?"""
        return engine in self.engines and engine not in self._failed and self.engines[engine].status().available


def happened(before: Container | None, after: Container) -> list[tuple[str, str, float | None]]:
    """(action, detail, Unix time or None for now) of what lies between two looks at a container."""
    found: list[tuple[str, str, float | None]] = []
    was = "created" if before is None else "running" if before.state == "unknown" else before.state  # unknown: it was running
    if before is None:
        found.append(("created", after.image, after.created_at or None))
    elif before.name != after.name:
        found.append(("renamed", f"was {before.name}", None))
    if after.state == "exited" and was != "exited":
        found.append((*ending(after), after.finished_at))
    elif after.state == "paused" and was != "paused":
        found.append(("paused", "", None))
    elif after.state == "running" and was == "paused":
        found.append(("resumed", "", None))
    elif after.state == "running" and was != "running":
        found.append(("started", "", after.started_at))
    elif before is not None and after.state in _ALIVE and before.started_at != after.started_at:
        found.append(("restarted", "", after.started_at))
    return found


def ending(container: Container) -> tuple[str, str]:
    reason = container.reason or (f"exited {container.exit_code}" if container.exit_code is not None else "")
    return ("oom" if reason.startswith("OOM killed") else "exited", reason)
