"""Spares: sandboxes that nobody has asked for yet, made ahead in idle time so that the next one of their kind starts at once.

A spare is all that is settled before a sandbox's program is (``raw_plan.shape``): id, user ids, address, control groups, its
first process in all its namespaces behind its pivoted root. That process waits for the rest of its plan on a socket, and for
the word that its files are there; it ends when the worker closes that or dies. It is listed nowhere; what it holds counts as
used. Its layer lies in DATA/spares and is moved among the sandboxes when it is taken; limits, names and record are written then,
while it gets ready to run its program. Spares are of the kind that was asked for last, so who never makes a sandbox has none.
After a kill their groups go with those that no record owns.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import secrets
import socket
import struct
import time
from collections.abc import Callable

import msgspec

from ..errors import TerrariumError
from ..kernel import procfs
from ..kernel import syscalls as sc
from ..kernel.cgroups import Cgroups
from ..kernel.images import Image
from ..kernel.network import link_index
from ..kernel.operation import Operation
from ..kernel.plan import encode_steps
from ..spec import ContainerSpec
from . import raw_plan
from .keeper_client import Launched
from .raw_making import Maker
from .raw_run import Runner
from .raw_store import Record, Run, Store

log = logging.getLogger(__name__)

COUNT = 3
PAUSE = 0.05  # seconds without a sandbox being made, before a spare is: a burst has the processors for itself


@dataclasses.dataclass(slots=True, eq=False)
class Spare:
    """``launched`` is done when its program runs, or when it has ended before."""

    record: Record
    paths: dict[str, str]
    socket: socket.socket
    launched: asyncio.Task[Launched]
    pid: int = 0  # once it waits

    def look(self) -> bool:
        """Whether it is on its way, or waits; not when it has ended, or its link is on the bridge no more."""
        if not self.pid:
            try:
                self.pid = sender_of(self.socket, b"ready")
            except BlockingIOError:
                return True
        attachment = self.record.attachment
        attached = attachment is None or os.path.exists(f"/sys/class/net/{attachment.bridge}/brif/{attachment.link}")
        return self.pid > 0 and attached and not self.launched.done()

    def become(self, spec: ContainerSpec, owner: str) -> Record:
        record = self.record
        record.spec, record.owner, record.created_at, record.requested = spec, owner, time.time(), dict(spec.limits)
        return record

    def send(self, rest: tuple[Operation, ...]) -> None:
        """It carries them out, but for the program, which waits for the word. Raises OSError when it has ended.

        Elsewhere than here, until it goes on: the kernel likes to wake it on our processor, where it would wait for us to rest.
        """
        elsewhere = os.sched_getaffinity(0) - {sc.current_cpu()}
        if elsewhere:
            with contextlib.suppress(OSError):  # its cpuset may allow none of them
                os.sched_setaffinity(self.pid, elsewhere)
        self.socket.send(msgspec.json.encode(encode_steps(rest)))

    def go_on(self) -> None:
        """That word; what it needs is there. Why one has ended meanwhile, ``launched`` tells."""
        with contextlib.suppress(ConnectionError):
            self.socket.send(b"go")


def sender_of(connection: socket.socket, word: bytes) -> int:
    """The pid of whoever has sent ``word``, 0 for another word or an end of file: SCM_CREDENTIALS of unix(7)."""
    data, ancillary, _, _ = connection.recvmsg(16, socket.CMSG_SPACE(12))
    found = [struct.unpack("=3i", payload)[0] for _, kind, payload in ancillary if kind == socket.SCM_CREDENTIALS]
    return int(found[0]) if data == word and found else 0


class Spares:
    """``taken`` are the records of all sandboxes and of the spares."""

    def __init__(self, runner: Runner, maker: Maker, store: Store, cgroups: Cgroups, taken: Callable[[], list[Record]]) -> None:
        self._runner, self._maker, self._store, self._cgroups, self._taken = runner, maker, store, cgroups, taken
        self._shape: ContainerSpec | None = None
        self._image: Image | None = None
        self._spares: list[Spare] = []
        self._timer: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def records(self) -> list[Record]:
        return [spare.record for spare in self._spares]

    def take(self, spec: ContainerSpec, image: Image) -> Spare | None:
        """One that can become this sandbox, now the caller's; None when there is none. Makes the next ones be made."""
        shape = raw_plan.shape(spec)
        if shape is None:
            return None
        if (shape, image) != (self._shape, self._image):
            self._let_go(self._spares)
            self._spares, self._shape, self._image = [], shape, image
        self._later()
        for spare in self._spares[:]:
            good = spare.look() and self._runner.keeper.connected
            if not good:
                self._let_go([spare])
            if spare.pid or not good:
                self._spares.remove(spare)
            if spare.pid and good:
                return spare
        return None

    # ── making ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(PAUSE, self._refill)

    def _refill(self) -> None:
        """One at a time. What can't be made now is tried again when the next sandbox has been."""
        self._timer = None
        if self._shape is None or len(self._spares) >= COUNT or not self._runner.keeper.connected:
            return
        try:
            self._spares.append(self._make(self._shape))
        except (TerrariumError, OSError) as error:
            log.info("no spare could be made: %s", error)
        else:
            self._later()

    def _make(self, shape: ContainerSpec) -> Spare:
        record = self._maker.new_record(shape, "", self._taken(), self._runner.wire.networks)
        if record.attachment is not None:  # so that a link tells whose it is
            link = f"{record.attachment.bridge}-{record.id[:6]}"
            if link_index(link) is None:
                record.attachment = dataclasses.replace(record.attachment, link=link)
        record.run = Run(secrets.token_hex(8), procfs.boot_id())
        home = self._store.spare_home(record.id)
        os.mkdir(home, 0o700)
        paths: dict[str, str] = {}
        try:
            self._maker.make_spare_files(record, home)
            paths = self._cgroups.create(self._runner.group(record.id), {})
            ours, launched = self._fork(record, home)
        except BaseException:
            self._runner.spawn(self._remove(record.id, paths))
            raise
        spare = Spare(record, paths, ours, launched)
        launched.add_done_callback(lambda _: self._ended(spare))
        return spare

    def _fork(self, record: Record, home: str) -> tuple[socket.socket, asyncio.Task[Launched]]:
        assert record.run is not None
        place = msgspec.structs.replace(self._runner.place(record, record.run.id), home=home)
        plan, _ = raw_plan.split(raw_plan.launch_plan(record.spec, place))
        later = self._store.home(record.id)
        plan = dataclasses.replace(plan, log=f"{later}/log", exit_record=f"{later}/exit.json")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        log_file = os.open(f"{home}/log", flags, 0o600)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            return ours, self._runner.keeper.prepare(plan, [log_file, theirs.fileno()])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(log_file)

    # ── letting go ───────────────────────────────────────────────────────────────────────────────────────────────────

    def let_go(self) -> None:
        """Of all, for example because their image goes."""
        self._shape = None
        self._let_go(self._spares)
        self._spares = []

    def _let_go(self, spares: list[Spare]) -> None:
        for spare in spares:
            spare.socket.close()
            spare.launched.cancel()
            task = asyncio.create_task(self._remove(spare.record.id, spare.paths))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def _ended(self, spare: Spare) -> None:
        """By itself or with the keeper. No other is made for it now: that may end at once too."""
        if spare in self._spares:
            self._spares.remove(spare)
            self._let_go([spare])

    async def _remove(self, spare: str, paths: dict[str, str]) -> None:
        await asyncio.to_thread(self._runner.release, paths)
        await asyncio.to_thread(self._store.remove_spares, spare)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.let_go()
        await asyncio.gather(*self._leaving)
