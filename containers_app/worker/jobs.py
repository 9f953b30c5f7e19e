"""Work that takes its time: what is asked for at once and goes on for a while. At most ``AT_ONCE`` go on; others wait their turn.

A job is an asyncio task around a process that does the work (engines/image_process.py): cancelling it kills the process. Jobs
are not remembered beyond the worker: it ends them when it ends, what they left is removed when it starts.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable

import msgspec

from ..engines.image_process import Told
from ..errors import Conflict, InvalidInput, NotFound, TerrariumError, TooLarge
from ..kernel.images.task import Progress
from .protocol import Job

AT_ONCE = 2
MOST_WAITING = 20
REMEMBERED = 100  # ended jobs
INTERVAL = 0.2  # seconds between two tellings of a job's progress
IDLE = 120.0  # seconds that an upload may send nothing

Work = Callable[[Told, int], Awaitable[str]]  # (told, the descriptor an upload comes from or -1) → message
_log = logging.getLogger(__name__)


class _Running:
    """A job and what belongs to it while it goes on."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.task: asyncio.Task[None] | None = None
        self.sender: socket.socket | None = None  # our end of an upload
        self.receiver = -1  # the process's
        self.feeding = asyncio.Lock()
        self.idle: asyncio.TimerHandle | None = None
        self.told_at = 0.0
        self.begun = False
        self.timed_out = False


class Jobs:
    def __init__(self, node: str, tell: Callable[[Job], None]) -> None:
        self._node, self._tell = node, tell
        self._jobs: dict[str, _Running] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    def list(self) -> list[Job]:
        return [running.job for running in reversed(self._jobs.values())]

    def get(self, job_id: str) -> Job:
        return self._find(job_id).job

    def _find(self, job_id: str) -> _Running:
        if job_id not in self._jobs:
            raise NotFound("There is no such job.", hint="Jobs are forgotten when the worker ends.")
        return self._jobs[job_id]

    def start(self, kind: str, target: str, owner: str, work: Work, *, upload: bool = False) -> Job:
        """Returns at once. Conflict while another job makes the same."""
        alive = [running.job for running in self._jobs.values() if running.job.state == "running"]
        if any((job.kind == "clone", job.target) == (kind == "clone", target) for job in alive):
            raise Conflict(f"{target} is being made already.", hint="Choose another name.", code="name_taken")
        if len(alive) >= AT_ONCE + MOST_WAITING:
            raise TooLarge("Too many jobs wait.", code="too_many", hint="Wait for some to end.")
        job = Job(
            id=secrets.token_hex(6), node=self._node, kind=kind, target=target, owner=owner, state="running",
            phase="Waiting for its turn", upload=upload, started_at=time.time(),
        )  # fmt: skip
        running = self._jobs[job.id] = _Running(job)
        if upload:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            running.sender, running.receiver = ours, theirs.detach()
            self._expect(running)
        running.task = asyncio.create_task(self._run(running, work), name=f"job {job.id}")
        self._forget_old()
        self._tell(job)
        return job

    async def _run(self, running: _Running, work: Work) -> None:
        try:
            async with self._slots:
                running.begun = True
                message = await work(lambda progress: self._progress(running, progress), running.receiver)
            self._end(running, state="done", message=message)
        except asyncio.CancelledError:
            if running.timed_out:
                text, hint = f"Nothing was sent for {IDLE:.0f} seconds.", "Send it again."
                self._end(running, state="failed", message=text, code="idle", hint=hint)
            else:
                self._end(running, state="cancelled", message="It was cancelled.")
        except TerrariumError as error:
            self._end(running, state="failed", message=error.message, hint=error.hint, code=error.code)
        except Exception:
            _log.exception("job %s failed", running.job.id)
            hint = "The worker's log says more."
            self._end(running, state="failed", message="The worker made a mistake.", hint=hint, code="internal")

    def _progress(self, running: _Running, progress: Progress) -> None:
        changed = progress.phase != running.job.phase
        self._change(running, phase=progress.phase, done=progress.done, total=progress.total, layers=progress.layers)
        now = time.monotonic()
        if changed or now - running.told_at >= INTERVAL:
            running.told_at = now
            self._tell(running.job)

    def _end(self, running: _Running, **fields: str) -> None:
        self._close_sender(running)
        if running.receiver >= 0:
            os.close(running.receiver)
            running.receiver = -1
        self._change(running, finished_at=time.time(), upload=False, **fields)
        self._tell(running.job)

    @staticmethod
    def _close_sender(running: _Running) -> None:
        if running.idle is not None:
            running.idle.cancel()
        if running.sender is not None:
            asyncio.get_running_loop().remove_writer(running.sender)
            running.sender.close()
            running.sender = None

    def _change(self, running: _Running, **fields: object) -> None:
        running.job = msgspec.structs.replace(running.job, **fields)

    async def cancel(self, job_id: str) -> Job:
        """Returns once nothing of it is left. Conflict when it has ended."""
        running = self._find(job_id)
        if running.job.state != "running" or running.task is None:
            raise Conflict(f"The job has ended: it is {running.job.state}.", hint="There is nothing to cancel.")
        running.task.cancel()
        await asyncio.wait([running.task])
        if running.job.state == "running":  # cancelled before its first step
            self._end(running, state="cancelled", message="It was cancelled.")
        return running.job

    async def close(self) -> None:
        tasks = [running.task for running in self._jobs.values() if running.task is not None and not running.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ── uploads ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def feed(self, job_id: str, offset: int, data: bytes, last: bool) -> Job:
        """Returns when the job's process, or the little that waits for it, has taken all. Nothing of it is kept here.

        Conflict "waiting" while the job waits for its turn: then nothing was taken, and the sender tries again.
        """
        running = self._find(job_id)
        async with running.feeding:
            if running.sender is None:
                raise Conflict(self._why_not(running.job), hint="Begin another import.", code="not_receiving")
            received = running.job.received
            if not 0 <= offset <= received or offset + len(data) < received:
                raise InvalidInput(
                    f"The next piece begins at {received}.", code="wrong_offset", hint=f"Send from byte {received}."
                )
            self._expect(running)
            if not running.begun:
                raise Conflict("The job waits for its turn.", code="waiting", hint="Send this piece again in a second.")
            await self._send(running, memoryview(data)[received - offset :])
            if last and running.sender is not None:
                self._close_sender(running)
                self._change(running, upload=False)
            return running.job

    async def _send(self, running: _Running, data: memoryview) -> None:
        while data:
            sender = running.sender
            try:
                if sender is None:
                    raise BrokenPipeError
                count = sender.send(data)
            except BlockingIOError:
                await self._writable(running)
                continue
            except OSError:  # it has ended, or is about to
                if running.task is not None:
                    await asyncio.wait([running.task], timeout=5)
                raise Conflict(self._why_not(running.job), hint="Begin another import.", code="not_receiving") from None
            data = data[count:]
            self._change(running, received=running.job.received + count)

    async def _writable(self, running: _Running) -> None:
        """Until there is room in the socket, or the job has ended."""
        loop, sender = asyncio.get_running_loop(), running.sender
        assert sender is not None and running.task is not None
        room = loop.create_future()

        def writable() -> None:
            if not room.done():
                room.set_result(None)

        loop.add_writer(sender, writable)
        try:
            await asyncio.wait([room, running.task], timeout=IDLE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            room.cancel()
            if running.sender is sender:
                loop.remove_writer(sender)

    @staticmethod
    def _why_not(job: Job) -> str:
        return f"The job takes no more: {job.message or job.phase or job.state}"

    def _expect(self, running: _Running) -> None:
        if running.idle is not None:
            running.idle.cancel()
        running.idle = asyncio.get_running_loop().call_later(IDLE, self._give_up, running)

    def _give_up(self, running: _Running) -> None:
        if running.task is not None:
            running.timed_out = True
            running.task.cancel()

    def _forget_old(self) -> None:
        ended = [job_id for job_id, running in self._jobs.items() if running.job.state != "running"]
        for job_id in ended[: max(0, len(ended) - REMEMBERED)]:
            del self._jobs[job_id]
