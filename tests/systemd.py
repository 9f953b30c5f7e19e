"""systemd as the first process of a pid namespace, which is all that it asks for, with no units but those of a test.

    Machine ── sh, groups of its own in every hierarchy ── unshare ── pid, mount, cgroup namespace ── /lib/systemd/systemd

The network, the users and the files are the host's, but for /etc/systemd/system, which is a directory of the tests'. What runs
there is seen by the host and gone with its systemd.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

SECONDS = 60.0
_RAISED = ("/proc/sys/fs/file-max", "/proc/sys/fs/nr_open", "/proc/sys/net/unix/max_dgram_qlen")  # by systemd, host-wide
_UNITS = Path("/etc/systemd/system")
_TARGETS = ("sysinit", "basic", "multi-user", "shutdown")  # those that every service refers to
_TARGET = "[Unit]\nDefaultDependencies=no\n"

# A file system of cgroups shows the namespace's root as its own root only when it is mounted inside.
_SCRIPT = """\
set -e
mount --make-rslave /
mount -t tmpfs -o mode=755 tmpfs /run
mount --bind {units} {etc}
umount -l {tops}
{mounts}
exec {systemd}
"""
_POWER = 'while read -r _; do "$@" < /dev/null; done'  # each line boots


def words(units: Path, unit: str) -> list[str]:
    """What executes systemd as the first process, to start ``unit`` of the directory ``units``; it finds no others."""
    path = f"/run/systemd/system.control:/run/systemd/transient:{units}"
    environment = ["container=terrarium-tests", f"PATH={os.environ['PATH']}", f"SYSTEMD_UNIT_PATH={path}"]
    return [
        "env", "-i", *environment, "SYSTEMD_LOG_TARGET=console",
        "/lib/systemd/systemd", "--system", f"--unit={unit}", "--show-status=no",
    ]  # fmt: skip


class Machine:
    """``wrapper`` goes before the words of a program that is to run there. ``close`` ends everything and leaves no group.

    ``units`` is its /etc/systemd/system, which stays from boot to boot.
    """

    def __init__(self, directory: Path) -> None:
        self._name = f"systemd-tests-{os.getpid()}"
        self._log = directory / "systemd.log"
        self._sysctls = {name: Path(name).read_text() for name in _RAISED}
        self.units = directory / "units"
        self.units.mkdir()
        for name in _TARGETS:
            (self.units / f"{name}.target").write_text(_TARGET)
        mounted = [line.split()[1:4] for line in Path("/proc/self/mounts").read_text().splitlines()]
        self._places = {place: (kind, options) for place, kind, options in mounted if kind in ("cgroup", "cgroup2")}
        apart = ("--pid", "--fork", "--mount", "--mount-proc", "--cgroup", "--uts", "--kill-child")
        script = _SCRIPT.format(
            tops=shlex.join(self._places),
            mounts="\n".join(self._mounts()),
            units=shlex.quote(str(self.units)),
            etc=_UNITS,
            systemd=shlex.join(words(_UNITS, "multi-user.target")),
        )
        with self._log.open("ab") as log:
            self._outer = subprocess.Popen(
                ["sh", "-c", _POWER, "sh", "unshare", *apart, "sh", "-c", script],
                stdin=subprocess.PIPE, stdout=log, stderr=log, preexec_fn=self._join_groups, start_new_session=True,
            )  # fmt: skip
        self.boot()

    def boot(self) -> None:
        """Once more, after ``halt``. The kernel's boot id is the same: only a kernel of its own would bring another."""
        assert self._outer.stdin is not None
        self._outer.stdin.write(b"\n")
        self._outer.stdin.flush()
        self.wrapper = self._wait_for_systemd()

    def run(self, *argv: str) -> str:
        """What the program printed there, which must end well."""
        ran = subprocess.run([*self.wrapper, *argv], capture_output=True, text=True, timeout=SECONDS, check=False)
        assert ran.returncode == 0, (argv, ran.stdout, ran.stderr)
        return ran.stdout

    @contextlib.contextmanager
    def session(self, name: str) -> Iterator[tuple[str, ...]]:
        """What runs a program there in a login session: whatever is still in it at its end is ended too, as logind does."""
        yield ("systemd-run", "--quiet", "--scope", f"--unit={name}.scope", "--")
        subprocess.run([*self.wrapper, "systemctl", "stop", f"{name}.scope"], capture_output=True, timeout=SECONDS, check=False)

    def shut_down(self) -> None:
        """Have systemd stop all units, as at the end of a boot."""
        self.run("systemctl", "start", "--job-mode=replace-irreversibly", "shutdown.target")

    def halt(self) -> None:
        """Without power: systemd is killed, and with it all that runs there; what it made of groups goes too."""
        for pid in _children(self._outer.pid):
            os.kill(pid, signal.SIGKILL)
        _remove([below for group in self._groups() for below in group.glob("*/")])

    def close(self) -> None:
        self.halt()
        self._outer.communicate()
        _remove(self._groups())
        for name, value in self._sysctls.items():
            Path(name).write_text(value)
        left = [path for path in self.units.rglob("*") if path.suffix != ".target"]
        assert left == [], f"left behind in {_UNITS}"

    def _groups(self) -> list[Path]:
        return [Path(place, self._name) for place in self._places]

    def _join_groups(self) -> None:
        """In the new process, before unshare(1): its cgroup namespace begins here."""
        for group in self._groups():
            group.mkdir()
            top = group.parent
            if (top / "cgroup.controllers").exists():
                for controller in (top / "cgroup.controllers").read_text().split():
                    with contextlib.suppress(OSError):
                        (top / "cgroup.subtree_control").write_text(f"+{controller}")
            elif (top / "cpuset.cpus").exists():
                for file in ("cpuset.mems", "cpuset.cpus"):  # a new one of v1 is empty
                    (group / file).write_text((top / file).read_text())
            (group / "cgroup.procs").write_text("0")

    def _mounts(self) -> Iterator[str]:
        if "/sys/fs/cgroup" not in self._places:
            yield "mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup"
        for place, (kind, options) in self._places.items():
            wanted = [one for one in options.split(",") if one not in ("rw", "relatime", "nosuid", "nodev", "noexec")]
            if kind == "cgroup" and any(one.startswith("name=") for one in wanted):
                wanted.insert(0, "none")
            words = ["-o", ",".join(wanted)] if kind == "cgroup" else []
            yield f"mkdir -p {place}\n{shlex.join(['mount', '-t', kind, *words, kind, place])}"

    def _wait_for_systemd(self) -> tuple[str, ...]:
        deadline = time.monotonic() + SECONDS
        while self._outer.poll() is None and time.monotonic() < deadline:
            if first := [pid for unshare in _children(self._outer.pid) for pid in _children(unshare)]:
                wrapper = ("nsenter", f"--target={first[0]}", "--mount", "--pid", "--cgroup", "--uts", "--")
                asked = [*wrapper, "systemctl", "is-active", "multi-user.target"]
                if subprocess.run(asked, capture_output=True, timeout=SECONDS, check=False).returncode == 0:
                    return wrapper
            time.sleep(0.05)
        self.close()
        raise AssertionError(f"systemd did not start: {self._log.read_text()}")


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:  # it has just ended
        return []


def _remove(groups: list[Path]) -> None:
    """With all below them, as soon as their processes have ended."""
    deadline = time.monotonic() + SECONDS
    while left := [group for group in groups if group.is_dir()]:
        assert time.monotonic() < deadline, left
        for top in left:
            for directory, _names, _files in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
        time.sleep(0.01)
