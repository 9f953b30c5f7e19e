"""The keeper: parent of every sandbox. Root, standard library only, one thread, small; it outlives the worker.

    python -I -S keeper.py --run RUN --data DATA

It listens on RUN/keeper.sock (SOCK_SEQPACKET, root only), has its forker fork what the launch plans ask for (see plan.py),
reaps its children, writes how each sandbox ended to its exit record, and bounds and marks the logs. It decides nothing.

    worker → keeper  {"seq", "do": "launch", "plan"} + fds      keeper → worker  {"seq", "pid"} + pidfd (+ terminal)
                     {"seq", "do": "go", "launch": its seq}                      nothing; only where the plan has a root
                     {"seq", "do": "list"}                                       {"seq", "children": [{id, run, kind, pid}]}
                                                                                 {"seq", "error": {step, errno, text}}
  {"event": "exited", id, run, kind, pid, code, signal, at} comes unasked, to every worker connected

``code`` is the exit code, or 128 + ``signal``. Everything is imported before the first fork and nothing after it: a
child that has pivoted must not load code from its new root (compare CVE-2019-14271).
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

if not __package__:  # run as a script: the package's root is two folders up
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from containers_app.kernel import keeper_program

    if not keeper_program.is_out_of_reach():  # before what takes long to import
        keeper_program.begin_again()

from containers_app.kernel import launching
from containers_app.kernel import plan as plans
from containers_app.kernel import syscalls as sc
from containers_app.kernel.children import SETUP_SECONDS, Child, Launch
from containers_app.kernel.forker import Forker
from containers_app.kernel.identity import receive_fds
from containers_app.kernel.keeper_socket import MAX_MESSAGE, is_root, listen, widen
from containers_app.kernel.launching import MAX_FDS
from containers_app.kernel.logs import LOOK_SECONDS, Logs
from containers_app.kernel.operation import Operation, Stage


class Keeper:
    def __init__(self, listener: socket.socket, data: str) -> None:
        self.listener = listener
        self.selector = selectors.EpollSelector()
        self.clients: set[socket.socket] = set()
        self.launches: dict[socket.socket, Launch] = {}
        self.ready: list[Launch] = []  # what we have something to do for, once the sockets are quiet
        self.children: dict[int, Child] = {}
        self.forker = Forker()
        self.stopping = False
        self.logs, self.logs_seen = Logs(data), 0.0

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._stop)
        self.selector.register(wake_read, selectors.EVENT_READ, self._woken)
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        while not self.stopping:
            waits = 0.0 if self.ready else 0.5 if self._next_deadline() < math.inf else LOOK_SECONDS
            events = self.selector.select(waits)
            for key, _ in events:
                handler: Callable[[Any], None] = key.data
                handler(key.fileobj)
            if self.ready and not events:
                self._go_on(self.ready.pop(0))
            self._end_stuck_launches()
            self._look_at_logs()

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _woken(self, wake: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)
        self._reap()

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        if not is_root(connection):
            connection.close()
            return
        connection.setblocking(False)
        widen(connection)
        self.clients.add(connection)
        self.selector.register(connection, selectors.EVENT_READ, self._serve)

    def _drop(self, client: socket.socket) -> None:
        if client in self.clients:
            self.clients.discard(client)
            self.selector.unregister(client)
            client.close()
            for launch in self.launches.values():
                if launch.reply_to is client and launch.pidfd >= 0:
                    signal.pidfd_send_signal(launch.pidfd, signal.SIGKILL)  # nobody is left to say "go", or to hear of it

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _serve(self, client: socket.socket) -> None:
        try:
            data, fds = receive_fds(client, MAX_MESSAGE, MAX_FDS)
        except BlockingIOError:
            return
        except OSError as error:
            print(f"keeper: dropped a connection: {error}", file=sys.stderr, flush=True)
            self._drop(client)
            return
        if not data:
            self._drop(client)
            return
        seq = 0
        try:
            request = json.loads(data)
            seq = int(request["seq"])
            if request["do"] == "launch":
                self._launch(client, seq, plans.decode(request["plan"], plans.KEEPERS), data, fds)
            elif request["do"] == "go":
                self._go(client, request["launch"])
            elif request["do"] == "list":
                self._send(client, {"seq": seq, "children": self._running()})
            else:
                raise KeyError(request["do"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            self._send(client, {"seq": seq, "error": {"step": "message", "errno": 22, "text": f"not a request: {error!r}"}})
        finally:
            for fd in fds:
                os.close(fd)

    def _running(self) -> list[dict[str, Any]]:
        """Without launches under way: until its program runs, nobody is to enter what may still have the host's root."""
        under_way = {launch.pid for launch in self.launches.values()}
        return [self._told(child) for child in self.children.values() if child.pid not in under_way]

    @staticmethod
    def _told(child: Child) -> dict[str, Any]:
        return {"id": child.id, "run": child.run, "kind": child.kind, "pid": child.pid}

    def _send(self, client: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
        if client not in self.clients:
            return
        try:
            socket.send_fds(client, [json.dumps(message, ensure_ascii=False).encode()], fds or [])
        except OSError:
            self._drop(client)  # it is gone, or doesn't read; it will ask for the list when it is back

    # ── launching ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _launch(self, client: socket.socket, seq: int, plan: plans.Plan, message: bytes, fds: list[int]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.forker.fork(message, [theirs.fileno(), *fds])
        except OSError as error:
            ours.close()
            self._send(client, {"seq": seq, "error": launching.error_of("fork", error)})
            return
        finally:
            theirs.close()
        self.launches[ours] = Launch(plan, ours, client, seq)
        self.selector.register(ours, selectors.EVENT_READ, self._progress)

    def _begun(self, launch: Launch, pid: int, pidfd: int) -> None:
        """The child exists and waits: do the parent's part and let it go on."""
        launch.pid, launch.pidfd = pid, pidfd
        self.children[pid] = Child.of(pid, launch.plan)
        if launch.reply_to not in self.clients:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        elif not launch.error and self._carry_out(launch, launch.plan.parent, b"go") and launch.due:
            self.ready.append(launch)

    def _go(self, client: socket.socket, seq: int) -> None:
        """The worker has made the sandbox's files. A launch that has failed meanwhile has been answered."""
        for launch in self.launches.values():
            if launch.reply_to is client and launch.seq == seq:
                launch.held = False
                if launch.pid and launch not in self.ready:
                    self.ready.append(launch)
                return

    def _go_on(self, launch: Launch) -> None:
        """One part of what its child waits for: its root as soon as the worker has said "go", meanwhile its link."""
        due = [word for word in launch.due if not (launch.held and word == b"root")]
        if launch.status not in self.launches or launch.error or not due:
            return
        launch.due.remove(due[0])
        if self._carry_out(launch, launch.plan.root if due[0] == b"root" else launch.plan.link, due[0]):
            self.ready.append(launch)

    @staticmethod
    def _carry_out(launch: Launch, steps: tuple[Operation, ...], word: bytes) -> bool:
        """Then tell the child by ``word``, with the mounts that the steps made.

        What they have used up goes along: who closes a mount's last descriptor waits for all processors (RCU), and we don't.
        """
        stage = Stage(pid=launch.pid)
        try:
            for step in steps:
                try:
                    step.execute(stage)
                except OSError as error:
                    launch.error = launching.error_of(type(step).__name__, error)
                    signal.pidfd_send_signal(launch.pidfd, signal.SIGKILL)
                    return False  # the end of file on the status socket does the rest
            if steps:
                with contextlib.suppress(OSError):  # a child that died meanwhile is told by its end of file
                    socket.send_fds(launch.status, [word], stage.mounts + stage.spent)
        finally:
            for mount in stage.mounts + stage.spent:
                os.close(mount)
        return True

    def _progress(self, status: socket.socket) -> None:
        launch = self.launches[status]
        try:
            try:
                data, fds = receive_fds(status, 65536, 2)
            except ConnectionResetError:  # told once, when the child died with a word of ours unread; then comes its own
                data, fds = receive_fds(status, 65536, 2)
        except OSError:
            data, fds = b"", []
        if not data:
            self._finish(launch)
            return
        message = json.loads(data)
        if "pid" in message:
            self._begun(launch, message["pid"], fds[0])
        elif "error" in message:
            launch.error = message["error"]  # rather than our own: a parent's step fails when the child has
        else:
            launch.ready = True
            if fds:
                launch.terminal = fds[0]

    def _finish(self, launch: Launch) -> None:
        self.selector.unregister(launch.status)
        launch.status.close()
        del self.launches[launch.status]
        child = self.children.get(launch.pid)
        if launch.ready and not launch.error:
            fds = [launch.pidfd] + ([launch.terminal] if launch.terminal >= 0 else [])
            self._send(launch.reply_to, {"seq": launch.seq, "pid": launch.pid}, fds)
            if launch.plan.log:  # not before: a spare's is not in its place yet
                self.logs.watch(launch.plan.log)
        else:
            text = "the first process was killed while it was being set up; its memory limit may be too low for that"
            error = launch.error or {"step": "set-up", "errno": 0, "text": text}
            if child is not None:
                child.failed = True
            self._send(launch.reply_to, {"seq": launch.seq, "error": error})
        for fd in (launch.pidfd, launch.terminal):
            if fd >= 0:
                os.close(fd)
        self._reap()

    def _next_deadline(self) -> float:
        return min((launch.deadline for launch in self.launches.values()), default=math.inf)

    def _end_stuck_launches(self) -> None:
        now = time.monotonic()
        for launch in [launch for launch in self.launches.values() if launch.deadline < now]:
            text = f"the set-up took longer than {SETUP_SECONDS:g} seconds"
            launch.error = {"step": "set-up", "errno": 110, "text": text}
            if launch.pidfd >= 0:
                signal.pidfd_send_signal(launch.pidfd, signal.SIGKILL)
            self._finish(launch)

    # ── children and logs ────────────────────────────────────────────────────────────────────────────────────────────

    def _reap(self) -> None:
        under_way = {launch.pid for launch in self.launches.values()}
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid in under_way or (0 in under_way and found.si_pid not in self.children):
                return  # its end of file comes first, or the word which child it was; _finish comes back here
            os.waitid(os.P_PID, found.si_pid, os.WEXITED)
            child = self.children.pop(found.si_pid, None)
            if child is not None and child.log:
                self.logs.forget(child.log)
            if child is None or child.failed:
                continue  # forker, helper, an orphan of a sandbox that shares our pid namespace, or a launch that failed
            number = 0 if found.si_code == os.CLD_EXITED else found.si_status
            code = 128 + number if number else found.si_status
            record = self._told(child) | {"code": code, "signal": number, "at": time.time()}
            child.write_exit(json.dumps(record))
            for client in list(self.clients):
                self._send(client, {"event": "exited", **record})

    def _look_at_logs(self) -> None:
        now = time.monotonic()
        if now - self.logs_seen >= LOOK_SECONDS:
            self.logs_seen = now
            self.logs.look()


def main(argv: list[str]) -> int:
    options = dict(zip(argv[0::2], argv[1::2], strict=True))
    run = options["--run"]
    listener = listen(f"{run}/keeper.sock")
    sc.prctl(sc.PR_SET_CHILD_SUBREAPER, 1)
    os.setgroups([])  # whoever started us may have had some; what we fork has none to drop, whatever user namespace it is in
    # Nor may anybody look into what we fork while it stands in a sandbox's namespaces (CVE-2019-5736): exec ends it.
    sc.prctl(sc.PR_SET_DUMPABLE, 0)
    with open(f"{run}/.keeper.pid.new", "w") as file:
        file.write(f"{os.getpid()}\n")
    os.rename(file.name, f"{run}/keeper.pid")
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    gc.collect()
    gc.freeze()
    gc.disable()
    Keeper(listener, options["--data"]).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
