"""The panel's supervisor: starts keeper, worker and web, starts each again when it dies, and stops with the panel.

    main.py supervise --data DATA --run RUN [--locks FD,FD] [--ready-fd FD]

Started by deploy/up only, which hands over the locks. With ``--ready-fd`` it is detached: "ok" or the reason why the
panel can't serve is written there, once. The keeper is watched but not stopped: it and the sandboxes go on.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from . import processes, unit
from .console import Refused, say
from .instance import Instance, load
from .options import Place
from .services import Service, keeper_is_current, keeper_words, services, start

BACK_OFF_FIRST, BACK_OFF_MAX = 0.2, 5.0  # seconds before a program that died is started again; doubling
HEALTHY_SECONDS = 10.0  # a program that ran for so long begins again with the first back-off
READY_SECONDS = 60.0
READY_FAILURES = 5  # deaths in a row before the first answer: it will not get better
PROBE_SECONDS = 0.05
STOP_SECONDS = 10.0
LOG_BOUND, LOG_CHECK_SECONDS = 4 << 20, 10.0  # bytes; a longer log moves to LOG.1


@dataclass
class Watched:
    """A service and its process now; ``pidfd`` is -1 while it waits to be started at ``due`` (monotonic seconds)."""

    service: Service
    pid: int = 0
    pidfd: int = -1
    started: float = 0.0
    due: float = 0.0
    back_off: float = BACK_OFF_FIRST
    failures: int = 0


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="supervise")
    for name in ("--data", "--run"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--locks", default="")
    parser.add_argument("--ready-fd", type=int, default=-1)
    given = parser.parse_args(words)
    for descriptor in (*(int(word) for word in given.locks.split(",") if word), given.ready_fd):
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)
    instance = load(Place(given.data, given.run))
    unit.enter(instance, os.getpid())
    processes.write_pid_file(instance.run / "supervisor.pid", os.getpid())
    return Supervisor(instance, given.ready_fd).run()


class Supervisor:
    def __init__(self, instance: Instance, ready_fd: int) -> None:
        self.instance = instance
        self.ready_fd = ready_fd
        self.watched = [Watched(service) for service in services(instance)]
        self.stopping = False
        self.ready = False
        self.wake_reading, self.wake_writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> int:
        """Until SIGTERM, SIGINT or SIGHUP. Returns 0, or 1 when the panel never served."""
        signal.set_wakeup_fd(self.wake_writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)
        deadline, next_log_check = time.monotonic() + READY_SECONDS, 0.0
        try:
            while not self.stopping:
                now = time.monotonic()
                self._start_due(now)
                if now >= next_log_check:
                    next_log_check = now + LOG_CHECK_SECONDS
                    self._bound_logs()
                if not self.ready and self._answers():
                    self.ready = True
                    self._announce()
                elif not self.ready and (reason := self._hopeless(now, deadline)):
                    self._report(reason)
                    return 1
                self._wait(now, next_log_check)
            return 0
        finally:
            self._stop()

    def _ask_to_stop(self, _number: int, _frame: object) -> None:
        self.stopping = True

    def _start_due(self, now: float) -> None:
        for watched in self.watched:
            if watched.pidfd < 0 and watched.due <= now:
                self._start(watched)

    def _start(self, watched: Watched) -> None:
        service = watched.service
        if service.outlives and (living := self._living_keeper()) is not None:
            watched.pid = living.pid
            unit.enter(self.instance, living.pid)  # it may be older than the unit
        else:
            watched.pid = start(service)
        watched.started = time.monotonic()
        try:
            watched.pidfd = os.pidfd_open(watched.pid)
        except ProcessLookupError:  # one that is not our child and has already ended
            self._died(watched, "at once")

    def _living_keeper(self) -> processes.Process | None:
        """None when there is none, or only one of other code: that is ended, and the sandboxes run on for the next one."""
        living = next(iter(processes.find(*keeper_words(self.instance))), None)
        if living is not None and not keeper_is_current(self.instance):
            processes.stop(living, STOP_SECONDS)
            return None
        return living

    def _died(self, watched: Watched, how: str) -> None:
        if watched.pidfd >= 0:
            os.close(watched.pidfd)
            watched.pidfd = -1
        now = time.monotonic()
        if now - watched.started >= HEALTHY_SECONDS:
            watched.back_off, watched.failures = BACK_OFF_FIRST, 0
        watched.due = now + watched.back_off
        if self.ready or watched.failures == 0:
            say(f"{watched.service.name} ended {how}; starting it again in {watched.back_off:g} s (see {watched.service.log})")
        watched.back_off = min(watched.back_off * 2, BACK_OFF_MAX)
        watched.failures += 1

    def _wait(self, now: float, next_log_check: float) -> None:
        """Until a program dies, a signal comes, or something is due."""
        poll = select.poll()
        poll.register(self.wake_reading, select.POLLIN)
        by_fd = {watched.pidfd: watched for watched in self.watched if watched.pidfd >= 0}
        for descriptor in by_fd:
            poll.register(descriptor, select.POLLIN)
        due = [watched.due for watched in self.watched if watched.pidfd < 0] + [next_log_check]
        timeout = max(0.0, min(due) - now) if self.ready else PROBE_SECONDS
        for descriptor, _events in poll.poll(timeout * 1000):
            if descriptor == self.wake_reading:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake_reading, 4096)
            else:
                self._died(by_fd[descriptor], _reap(by_fd[descriptor]))

    def _answers(self) -> bool:
        """Whether the worker listens and the web half answers /healthz."""
        if not (self.instance.run / "web" / "worker.sock").exists():
            return False
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.instance.host, self.instance.host)
        connection = http.client.HTTPConnection(host, self.instance.port, timeout=5)
        try:
            connection.request("GET", "/healthz", headers={"Host": "localhost"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _announce(self) -> None:
        if self.ready_fd >= 0:
            self._report("ok")
        else:
            say(f"Terrarium serves at {self.instance.url}  (Ctrl-C stops it; sandboxes keep running)")

    def _hopeless(self, now: float, deadline: float) -> str:
        """Why the panel will not serve any more, or "" while there is hope."""
        for watched in self.watched:
            if watched.failures >= READY_FAILURES:
                return (
                    f"The {watched.service.name} does not start ({_last_line(watched.service.log)}): see {watched.service.log}."
                )
        if now >= deadline:
            web = self.watched[-1].service
            return f"The panel did not answer within {READY_SECONDS:g} seconds ({_last_line(web.log)}): see {web.log}."
        return ""

    def _report(self, words: str) -> None:
        if self.ready_fd >= 0:
            os.write(self.ready_fd, words.encode())
            os.close(self.ready_fd)
            self.ready_fd = -1
        else:
            raise Refused(words)

    def _bound_logs(self) -> None:
        """A log that grew too long is copied to LOG.1 and cut: its writer appends, and need not know."""
        for path in (*(watched.service.log for watched in self.watched), self.instance.logs / "supervisor.log"):
            with contextlib.suppress(OSError):
                if path.stat().st_size > LOG_BOUND:
                    path.with_name(path.name + ".1").write_bytes(path.read_bytes()[-LOG_BOUND:])
                    os.truncate(path, 0)

    def _stop(self) -> None:
        """Web first, so that nobody is told about a worker that goes away; the keeper stays."""
        for watched in reversed(self.watched):
            if watched.pidfd >= 0 and not watched.service.outlives:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(watched.pidfd, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for watched in self.watched:
            if watched.pidfd >= 0 and not watched.service.outlives:
                if not processes.wait(watched.pidfd, max(0.0, deadline - time.monotonic())):
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(watched.pidfd, signal.SIGKILL)
                _reap(watched)
            if not watched.service.outlives:
                watched.service.pid_file.unlink(missing_ok=True)
        (self.instance.run / "supervisor.pid").unlink(missing_ok=True)


def _reap(watched: Watched) -> str:
    """How it ended, in words. The keeper is init's child, so of it nothing is known."""
    try:
        code = os.waitstatus_to_exitcode(os.waitpid(watched.pid, 0)[1])
    except ChildProcessError:
        return "unexpectedly"
    return f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1][:300] if lines else "its log is empty"
