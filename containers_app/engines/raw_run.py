"""A sandbox's runs: from ready to running, and back to ready with the way it ended. Nothing here asks who may.

ready ── launch: cgroups, address, plan ──▶ keeper ──▶ running ── its pidfd says it ended ──▶ ready, with an ending
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import InvalidInput, KernelRefused, NotFound, TerrariumError
from ..kernel import binds, host_image, images, procfs, standing
from ..kernel import syscalls as sc
from ..kernel.cgroups import Cgroups
from ..kernel.children import SETUP_SECONDS
from ..spec import NET_LIMITS, LimitReading, Mount, signal_number
from . import raw_init, raw_plan, raw_recover, raw_restart, raw_view
from .base import Container
from .groups import Groups
from .keeper_client import Exit, KeeperClient, Launched
from .raw_joins import Joiner
from .raw_network import Wire
from .raw_signals import catches, send
from .raw_store import UIDS_EACH, Ending, Record, Run, Store
from .raw_unwritten import Unwritten

if TYPE_CHECKING:
    from .raw_spares import Spare

log = logging.getLogger(__name__)

INIT_LOOKS = 100  # a hundredth of a second apart
EXIT_WORD_SECONDS = 1.0  # how long the keeper's word of an exit may take after the pidfd's


class Sandbox:
    """A record and what belongs to it while this worker lives."""

    __slots__ = ("ahead", "cached", "copies", "ended", "lock", "paths", "pidfd", "record")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.lock = asyncio.Lock()
        self.paths: dict[str, str] = {}
        self.pidfd = -1
        self.ended = asyncio.Event()
        self.cached: Container | None = None
        self.ahead: dict[str, LimitReading] | None = None  # read while it was launched, for the first look at it
        self.copies = 0  # of its files, under way


class Runner:
    def __init__(
        self,
        *,
        tag: str,
        run: str,
        image_directory: str,
        store: Store,
        cgroups: Cgroups,
        joiner: Joiner,
        wire: Wire,
        init: str,
        groups: Groups,
        ended: Callable[[Sandbox], None],
    ) -> None:
        self._tag, self._images, self._store, self._cgroups = tag, image_directory, store, cgroups
        self._joiner, self._groups, self._ended, self.wire, self._init = joiner, groups, ended, wire, init
        self._exits: dict[str, asyncio.Future[Exit]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.unreleased: list[dict[str, str]] = []
        self.unwritten = Unwritten(store, self.spawn)
        self.keeper = KeeperClient(f"{run}/keeper.sock", exited=self._keeper_says, found=lambda: None)

    def group(self, sandbox_id: str, shared: str = "") -> str:
        """The name of its control group, inside of the group with which it shares a budget."""
        top = self._groups.place(shared) if shared else f"terrarium-{self._tag}"
        return f"{top}/{sandbox_id}"

    def group_of(self, record: Record) -> str:
        return self.group(record.id, record.spec.group)

    async def close(self) -> None:
        self.unwritten.save_now()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.wire.close()
        await self.keeper.close()

    # ── launching ────────────────────────────────────────────────────────────────────────────────────────────────────

    def place(self, record: Record, run: str) -> raw_plan.Place:
        image = images.used_image(self._images, record.spec.image)
        paths = self._cgroups.find(self.group_of(record))
        cgroup2 = paths.get("", "")
        v1 = dict.fromkeys(path for path in paths.values() if path != cgroup2)
        return raw_plan.Place(
            id=record.id, run=run, home=self._store.home(record.id), image=image.rootfs, image_env=image.env,
            uid_base=record.uid_base, uid_count=UIDS_EACH, cgroup2=cgroup2,
            tasks=tuple(f"{path}/tasks" for path in v1),
            host_directories=host_image.directories() if image.name == host_image.HOST_IMAGE else (),
            attachment=record.attachment, shape=self.wire.shape_of(record),
            init=raw_init.required(self._init) if record.spec.init else "",
        )  # fmt: skip

    def describe(self, record: Record) -> list[str]:
        """The shell commands that a launch amounts to."""
        place = self.place(record, "run")
        home = place.home
        layers = [f"mkdir -p {home}/upper {home}/work {home}/seat && chown {record.uid_base}: {home}/upper {home}/work"]
        plan = raw_plan.launch_plan(record.spec, place)
        return (
            layers
            + self._cgroups.describe(self.group_of(record), record.requested)
            + plan.describe()
            + self.wire.describe(record)
        )

    async def launch(self, sandbox: Sandbox, addresses: set[str], make_files: Callable[[], None]) -> None:
        """From ready to running, or back to ready with nothing left. The caller holds the sandbox's lock.

        ``addresses`` are in use on the bridge, should this one need another than it had. The files of its root are made,
        and the record says "starting", while the keeper forks; nothing of the sandbox runs before. Whoever is killed
        in between leaves a control group, and maybe a directory, that no record owns: both go at the next start.
        """
        record = sandbox.record
        run = Run(secrets.token_hex(8), procfs.boot_id())
        fds: list[int] = []

        def meanwhile() -> None:
            make_files()
            self._store.save(record)
            self._look_ahead(sandbox)

        async with self._starting(sandbox, run, fds):
            if record.spec.group:
                self._groups.ensure(record.spec.group)
            sandbox.paths = self._cgroups.create(self.group_of(record), record.requested)
            record.attachment = self.wire.attachment(record, addresses)
            await self.wire.publish(record)
            spec, joined = self._joiner.open(record.spec, record.uid_base)
            fds += joined
            for mount in spec.mounts:
                if mount.propagation == "shared":
                    fds.append(share(mount))
            plan = raw_plan.launch_plan(spec, self.place(record, run.id))
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            fds.insert(raw_plan.LOG_FD, os.open(plan.log, flags, 0o600))
            launched = await self.keeper.launch(plan, fds, meanwhile)
        self._started(sandbox, run, launched)

    async def launch_spare(self, sandbox: Sandbox, spare: Spare, make_files: Callable[[], None]) -> None:
        """Let a spare become the sandbox: the rest of its steps, and meanwhile its limits, files and record; then the word.

        The caller holds the sandbox's lock.
        """
        record, run = sandbox.record, spare.record.run
        assert run is not None
        record.run, sandbox.paths = None, spare.paths
        async with self._starting(sandbox, run, []):
            with spare.socket:
                _, rest = raw_plan.split(raw_plan.launch_plan(record.spec, self.place(record, run.id)))
                spare.send(rest)
                self._cgroups.update(sandbox.paths, record.requested)
                self.wire.shape(record, record.requested)
                make_files()
                self._store.save(record)
                spare.go_on()
                self._look_ahead(sandbox)
                try:
                    async with asyncio.timeout(SETUP_SECONDS):
                        launched = await spare.launched
                except TimeoutError:
                    raise KernelRefused("The program did not begin in time.", hint="Try again.") from None
        self._started(sandbox, run, launched)

    @contextlib.asynccontextmanager
    async def _starting(self, sandbox: Sandbox, run: Run, fds: list[int]) -> AsyncIterator[None]:
        """Undone when it fails. OSError is the disk's here, and told as that."""
        record = sandbox.record
        had = record.run, record.ending, record.stopped_by
        record.run, record.phase, record.ending, record.stopped_by = run, "starting", None, ""
        self.expect_exit(run.id)
        try:
            yield
        except BaseException as error:
            self.forget_exit(run.id)
            self.release(sandbox.paths)
            await self.wire.release(record)
            record.phase, (record.run, record.ending, record.stopped_by) = "ready", had
            sandbox.ahead = None
            self.unwritten.save(record)
            if isinstance(error, OSError):
                raise disk_refused(error) from None
            raise
        finally:
            for fd in fds:
                os.close(fd)

    def _look_ahead(self, sandbox: Sandbox) -> None:
        """Its limits are set: read them back while we wait for keeper and child. Rates stand at a link, which may come later."""
        record = sandbox.record

        def look() -> None:
            if record.phase == "starting":
                sandbox.ahead = raw_view.read_limits(record, sandbox.paths, self._cgroups, self._tag)

        if not any(name in NET_LIMITS for name in record.requested):
            asyncio.get_running_loop().call_soon(look)

    def _started(self, sandbox: Sandbox, run: Run, launched: Launched) -> None:
        record = sandbox.record
        ticks = procfs.start_time(launched.pid) or 0
        record.run = Run(run.id, run.boot_id, launched.pid, ticks, time.time())
        record.phase, record.paused = "running", False
        self.wire.note_link(record)
        self.watch(sandbox, launched.pidfd)
        asyncio.get_running_loop().call_soon(self._note_running, sandbox, run.id)

    def _note_running(self, sandbox: Sandbox, run: str) -> None:
        """After the answer: "starting" is written, and that is enough to find it again."""
        record = sandbox.record
        if record.phase == "running" and record.run is not None and record.run.id == run:
            self.unwritten.save(record)

    # ── ending ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def expect_exit(self, run: str) -> asyncio.Future[Exit]:
        """Completed when the keeper tells how this run ended; ``forget_exit`` when nobody waits any more."""
        future: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        return self._exits.setdefault(run, future)

    def forget_exit(self, run: str) -> None:
        self._exits.pop(run, None)

    def _keeper_says(self, told: Exit) -> None:
        future = self._exits.get(told.run)
        if future is not None and not future.done():
            future.set_result(told)

    def watch(self, sandbox: Sandbox, pidfd: int) -> None:
        run = sandbox.record.run
        assert run is not None
        sandbox.pidfd = pidfd
        sandbox.ended = asyncio.Event()
        self.expect_exit(run.id)
        loop = asyncio.get_running_loop()

        def gone() -> None:
            loop.remove_reader(pidfd)
            self.spawn(self._settle_exit(sandbox))

        loop.add_reader(pidfd, gone)

    def unwatch(self, sandbox: Sandbox) -> None:
        if sandbox.pidfd >= 0:
            asyncio.get_running_loop().remove_reader(sandbox.pidfd)
            os.close(sandbox.pidfd)
            sandbox.pidfd = -1

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle_exit(self, sandbox: Sandbox) -> None:
        """Its first process has ended: find out how, tidy up, tell."""
        record, run = sandbox.record, sandbox.record.run
        assert run is not None
        try:
            told = await asyncio.wait_for(self.expect_exit(run.id), EXIT_WORD_SECONDS if self.keeper.connected else 0)
            ending = Ending(told.code, told.signal, told.at)
        except TimeoutError:
            ending = raw_recover.how_it_ended(record, self._store.home(record.id), sandbox.pidfd)
        await self._settle(sandbox, ending)

    async def _settle(self, sandbox: Sandbox, ending: Ending) -> None:
        record = sandbox.record
        ending = msgspec.structs.replace(ending, **await asyncio.to_thread(self._take_down, sandbox.paths))
        await self.wire.release(record)
        self.unwatch(sandbox)
        if record.run is not None:
            self.forget_exit(record.run.id)
        record.ending, record.paused = ending, False
        raw_restart.decide(record, ending)
        record.phase = "removing" if record.phase == "removing" else "ready"
        self.unwritten.save(record)
        sandbox.ended.set()
        self._ended(sandbox)

    def _take_down(self, paths: dict[str, str]) -> dict[str, Any]:
        """In a thread: what is left in the cgroups may take its time. What an Ending says where the kernel killed for memory."""
        found: dict[str, Any] = {}
        with contextlib.suppress(TerrariumError):
            if self._cgroups.oom_kills(paths):
                found["oom_killed"] = True
                own, found["oom_limit"] = self._cgroups.read(paths, ("memory",))["memory"]
                found["oom_own"] = own == found["oom_limit"]
        self.release(paths)
        return found

    def release(self, paths: dict[str, str]) -> None:
        """End whatever is left in the cgroups and remove them. The network namespace takes its link along.

        Never raises: what waits for a sandbox's end must hear of it. What could not be removed is ``unreleased``.
        """
        try:
            with contextlib.suppress(NotFound):
                self._cgroups.kill(paths)
            self._cgroups.remove(paths)
        except (TerrariumError, OSError) as error:
            log.warning("cgroups not removed yet: %s", error)
            self.unreleased.append(paths)

    async def recover(self, sandbox: Sandbox, outcome: raw_recover.Outcome) -> None:
        """Carry out what ``raw_recover.look`` found, for a sandbox that stays."""
        record = sandbox.record
        if outcome.action == "adopt":
            record.run, record.phase, record.paused = outcome.run, "running", self._cgroups.frozen(sandbox.paths)
            self.unwritten.save(record)
            self.wire.keep(record)
            self.watch(sandbox, outcome.pidfd)
        elif outcome.action == "end":
            record.run, sandbox.pidfd = outcome.run or record.run, outcome.pidfd
            home = self._store.home(record.id)
            await self._settle(sandbox, outcome.ending or raw_recover.how_it_ended(record, home, outcome.pidfd))

    # ── signals ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def stop(self, sandbox: Sandbox, timeout: float | None) -> None:
        """``timeout`` None is the sandbox's own."""
        record = sandbox.record
        assert record.run is not None
        number = signal_number(record.spec.stop_signal) or signal.SIGTERM
        record.stopped_by = record.spec.stop_signal
        if self._cgroups.frozen(sandbox.paths):
            self._cgroups.thaw(sandbox.paths)
        # To the first process of a pid namespace a signal without a handler is as good as not sent: no use waiting.
        if record.spec.init:
            await self._init_listens(sandbox)
        if record.spec.init or record.spec.namespaces.pid != "private" or catches(record.run.pid, number):
            send(sandbox.pidfd, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(sandbox.ended.wait(), record.spec.stop_timeout if timeout is None else timeout)
                return
        record.stopped_by = "SIGKILL"
        await self.kill(sandbox)

    @staticmethod
    async def _init_listens(sandbox: Sandbox) -> None:
        """It takes signals from before it forks on; a stop may come sooner than that."""
        run = sandbox.record.run
        for _ in range(INIT_LOOKS):
            if run is None or sandbox.ended.is_set() or procfs.read(f"/proc/{run.pid}/task/{run.pid}/children"):
                return
            await asyncio.sleep(0.01)

    async def kill(self, sandbox: Sandbox) -> None:
        """Everything in its cgroups, frozen or not, and wait until it is tidied up."""
        with contextlib.suppress(NotFound):
            self._cgroups.kill(sandbox.paths)
        await sandbox.ended.wait()


def join_flags(sandbox: Sandbox) -> int:
    """The namespaces that whoever enters it must join."""
    assert sandbox.record.run is not None
    return standing.join_flags(sandbox.record.run.pid)


def disk_refused(error: OSError) -> KernelRefused:
    hint = "Make room on the disk that holds the data directory." if error.errno == 28 else "See the worker's log."
    return KernelRefused(f"The sandbox's files can't be written: {error.strerror}.", hint=hint)


def share(mount: Mount) -> int:
    """A copy of a path whose mount is the host's peer: only we, in the host's own mount namespace, can make one."""
    try:
        return binds.detached_copy(mount.source, mount.read_only, sc.MS_SHARED, "shared")
    except OSError as error:
        raise InvalidInput(f"{mount.source} can't be shared: {error.strerror}.", code="invalid_mount") from None
