"""The recent numbers of every container, in this worker's memory; a worker that starts knows nothing of before.

    sample ─▶ record ─▶ seconds: the last 300 samples, one a second while somebody watches, else one every 10 s
                     └▶ roll-ups: one row every 10 s, watched or not, the last 720 of them: two hours

A row's numbers hold for the time since the row before it. A container that does not run has rows of None, so a chart
shows when it stood still; a history begins when the container was first seen running, and goes when it is removed.

Memory: 19,200 bytes for each container, and about 200 for each of the last 32 changes of its limits, which are noted
when they change. Numbers are half floats (IEEE 754 binary16: eleven bits, 0.05 %) in units that put what can happen
into their range; NaN is "unknown".
Time: the sample every 10 s takes 0.03 % of one CPU for 100 containers with a network each (2.9 ms for the sample, 0.4 ms
to keep it; a 2-core virtual machine, cgroup v1). While somebody watches, keeping adds 0.2 ms to each second's sample.
"""

from __future__ import annotations

import asyncio
import logging
import math
import operator
import struct
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from . import protocol
from .protocol import Stats, StatsFrame

STEP = 10.0  # seconds between roll-ups, and between samples when nobody watches
SECONDS, ROLL_UPS = 300, 720  # rows kept
SPAN = 300.0  # seconds that the one-second rows are asked for; roll-ups beyond

_CLOSEST = 0.9  # seconds; samples that follow sooner (a subscriber's second one) would push out older ones for nothing
_EARLY = 0.5  # seconds; a roll-up may come this much early, so that ten ticks of a second, each a little off, make one
_LIMIT_CHANGES = 32
_LARGEST = 65504.0  # the largest half float
_PAGE, _MIB = float(1 << 26), float(1 << 20)
# Column → its unit in the ring: memory up to 4 TiB, processes up to the kernel's most (2^22), rates up to 64 GiB/s.
_UNITS = {
    "cpu": 1.0, "memory": _PAGE, "pids": 64.0, "throttled": 1.0, "io_read": _MIB, "io_write": _MIB, "net_in": _MIB,
    "net_out": _MIB,
}  # fmt: skip
_LIMITS = ("memory_limit", "cpu_limit", "pids_limit")
_CPU, _MEMORY, _PIDS = 0, 1, 2  # places in a row
_COUNTS = frozenset({"memory", "pids", "memory_max"})
_ROLLED = (*_UNITS, "cpu_max", "memory_max")
_FACTORS = tuple(1 / unit for unit in _UNITS.values())
_NAN = math.nan

_log = logging.getLogger(__name__)
_kept = operator.attrgetter(*_UNITS)
_limits = operator.attrgetter(*_LIMITS)

Row = Sequence[float]  # in the ring's units, NaN for unknown


class _Ring:
    """A fixed number of rows of half floats, unknown until they are written."""

    __slots__ = ("_bytes", "_row")

    def __init__(self, slots: int, columns: int) -> None:
        self._row = struct.Struct(f"<{columns}e")
        self._bytes = bytearray(self._row.pack(*[_NAN] * columns) * slots)

    def put(self, slot: int, row: Row) -> None:
        self._row.pack_into(self._bytes, slot * self._row.size, *row)

    def get(self, slot: int) -> Row:
        return self._row.unpack_from(self._bytes, slot * self._row.size)


class _Clock:
    """When each slot was written; all containers' rings of a kind turn together."""

    def __init__(self, slots: int) -> None:
        self._times = array("d", bytes(8 * slots))
        self.written = 0  # rows ever

    def turn(self, at: float) -> int:
        """→ the slot to write."""
        slot = self.written % len(self._times)
        self._times[slot] = at
        self.written += 1
        return slot

    def between(self, begin: float, end: float, first: int) -> Iterator[tuple[int, float]]:
        """(slot, time) of those of a time, oldest first, from the row numbered ``first`` on."""
        size = len(self._times)
        for number in range(max(first, self.written - size), self.written):
            at = self._times[number % size]
            if begin <= at <= end:
                yield number % size, at


class _Kept:
    """What is kept of one container."""

    __slots__ = ("first_rolled", "first_second", "limits", "rolled", "seconds")

    def __init__(self, first_second: int, first_rolled: int) -> None:
        self.first_second, self.first_rolled = first_second, first_rolled  # numbers of its first rows
        self.seconds = _Ring(SECONDS, len(_UNITS))
        self.rolled = _Ring(ROLL_UPS, len(_ROLLED))
        self.limits: deque[tuple[float, tuple[float | None, ...]]] = deque(maxlen=_LIMIT_CHANGES)  # (since when, _LIMITS)


class History:
    """``take`` is the sampler's; whoever wants a sample calls ``sample``, so that none is lost to the history."""

    def __init__(self, take: Callable[[], StatsFrame]) -> None:
        self._take = take
        self._containers: dict[str, _Kept] = {}
        self._seconds = _Clock(SECONDS)
        self._rolled = _Clock(ROLL_UPS)
        self._fresh: list[tuple[int, float]] = []  # (slot of ``seconds``, seconds it stands for) since the last roll-up
        self._recorded_at = self._rolled_at = 0.0  # Unix seconds, as the frames'
        self._sampled_at = -STEP  # monotonic

    def sample(self) -> StatsFrame:
        """Sample now, and remember."""
        self._sampled_at = time.monotonic()
        frame = self._take()
        self.record(frame)
        return frame

    async def keep(self) -> None:
        """Sample every STEP seconds that nobody else does, until cancelled."""
        while True:
            wait = self._sampled_at + STEP - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            try:
                self.sample()
            except Exception:
                _log.exception("a sample for the history failed")  # the next one is another chance

    def record(self, frame: StatsFrame) -> None:
        passed = frame.time - self._recorded_at
        if 0 <= passed < _CLOSEST:
            return
        if passed < 0:  # the clock was set back: rows of times to come are not shown, and these limits are of now
            for kept in self._containers.values():
                kept.limits.clear()
        self._recorded_at = frame.time
        slot = self._seconds.turn(frame.time)
        self._fresh.append((slot, min(max(passed, _CLOSEST), STEP)))
        for id in frame.rows.keys() - self._containers.keys():
            self._containers[id] = _Kept(self._seconds.written - 1, self._rolled.written)
        for id, kept in self._containers.items():
            stats = frame.rows.get(id)
            if stats is None:
                kept.seconds.put(slot, _UNKNOWN)
                continue
            row = [
                _NAN if value is None else min(value * factor, _LARGEST)
                for value, factor in zip(_kept(stats), _FACTORS, strict=True)
            ]
            kept.seconds.put(slot, row)
            limits = _limits(stats)
            if not kept.limits or kept.limits[-1][1] != limits:
                kept.limits.append((frame.time, limits))
        if abs(frame.time - self._rolled_at) >= STEP - _EARLY:
            self._roll_up(frame.time)

    def _roll_up(self, at: float) -> None:
        fresh, self._fresh, self._rolled_at = self._fresh, [], at
        slot = self._rolled.turn(at)
        for kept in self._containers.values():
            kept.rolled.put(slot, rolled_up([(kept.seconds.get(second), weight) for second, weight in fresh]))

    def forget(self, id: str) -> None:
        """It was removed. Unknown ids are fine."""
        self._containers.pop(id, None)

    def read(self, id: str, seconds: float) -> protocol.History:
        """The last ``seconds``, oldest first: one-second rows up to SPAN, roll-ups beyond."""
        fine = seconds <= SPAN
        columns = tuple(Stats.__struct_fields__) if fine else (*Stats.__struct_fields__, "cpu_max", "memory_max")
        kept = self._containers.get(id)
        items: list[tuple[int | float | None, ...]] = []
        if kept is not None:
            clock, ring = (self._seconds, kept.seconds) if fine else (self._rolled, kept.rolled)
            first, now = kept.first_second if fine else kept.first_rolled, time.time()
            for slot, at in clock.between(now - seconds, now, first):
                known = {name: _value(name, number) for name, number in zip(_ROLLED, ring.get(slot), strict=False)}
                if known["memory"] is not None or known["cpu"] is not None or known["pids"] is not None:
                    known.update(zip(_LIMITS, _at(kept.limits, at), strict=True))
                items.append((round(at, 3), *(known.get(name) for name in columns)))
        return protocol.History(columns=columns, step=1.0 if fine else STEP, items=items)


_UNKNOWN: Row = (_NAN,) * len(_UNITS)


def rolled_up(rows: Sequence[tuple[Row, float]]) -> Row:
    """(row, seconds it stands for), oldest first → one row: means, the last count of processes, most of cpu and memory.

    Means leave out what is unknown, so that they are of the time in which it ran.
    """
    if len(rows) == 1:  # nobody watches
        row = rows[0][0]
        return (*row, row[_CPU], row[_MEMORY])
    means = []
    for column in zip(*(row for row, _ in rows), strict=True):
        known = [(value, weight) for value, (_, weight) in zip(column, rows, strict=True) if value == value]
        total = sum(weight for _, weight in known)
        means.append(sum(value * weight for value, weight in known) / total if known else _NAN)
    means[_PIDS] = rows[-1][0][_PIDS]
    most = [max((row[place] for row, _ in rows if row[place] == row[place]), default=_NAN) for place in (_CPU, _MEMORY)]
    return (*means, *most)


def _value(name: str, number: float) -> float | None:
    """From the ring's unit to the column's; four digits are more than a half float has."""
    if number != number:
        return None
    value = number * _UNITS[name.removesuffix("_max")]
    return round(value) if name in _COUNTS else float(f"{value:.4g}")


def _at(changes: Sequence[tuple[float, tuple[float | None, ...]]], at: float) -> tuple[float | None, ...]:
    """The limits in force then; unknown before the oldest change that is remembered."""
    return next((limits for since, limits in reversed(changes) if since <= at), (None,) * len(_LIMITS))
