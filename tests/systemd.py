"""systemd as the first process of a pid namespace, which is all that it asks for, with no units but those of a test.

    Machine ── groups of its own in every hierarchy ── pid, mount, cgroup namespace ── /lib/systemd/systemd

The network, the users and the files are the host's. What runs there is seen by the host and gone with its systemd.
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
_TARGET = "[Unit]\nDefaultDependencies=no\n"

# A file system of cgroups shows the namespace's root as its own root only when it is mounted inside.
_SCRIPT = """\
set -e
mount --make-rslave /
mount -t tmpfs -o mode=755 tmpfs /run
umount -l {tops}
{mounts}
exec {systemd}
"""


def words(units: Path, unit: str) -> list[str]:
    """What executes systemd as the first process, to start ``unit`` of the directory ``units``; it finds no others."""
    path = f"/run/systemd/system.control:/run/systemd/transient:{units}"
    environment = ["container=terrarium-tests", f"PATH={os.environ['PATH']}", f"SYSTEMD_UNIT_PATH={path}"]
    return [
        "env", "-i", *environment, "SYSTEMD_LOG_TARGET=console",
        "/lib/systemd/systemd", "--system", f"--unit={unit}", "--show-status=no",
    ]  # fmt: skip


class Machine:
    """``wrapper`` goes before the words of a program that is to run there. ``close`` ends everything and leaves no group."""

    def __init__(self, directory: Path) -> None:
        self._name = f"systemd-tests-{os.getpid()}"
        self._log = directory / "systemd.log"
        self._sysctls = {name: Path(name).read_text() for name in _RAISED}
        (directory / "machine.target").write_text(_TARGET)
        mounted = [line.split()[1:4] for line in Path("/proc/self/mounts").read_text().splitlines()]
        self._places = {place: (kind, options) for place, kind, options in mounted if kind in ("cgroup", "cgroup2")}
        apart = ("--pid", "--fork", "--mount", "--mount-proc", "--cgroup", "--uts", "--kill-child")
        script = _SCRIPT.format(
            tops=shlex.join(self._places),
            mounts="\n".join(self._mounts()),
            systemd=shlex.join(words(directory, "machine.target")),
        )
        with self._log.open("wb") as log:
            self._outer = subprocess.Popen(
                ["unshare", *apart, "sh", "-c", script],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self._join_groups, start_new_session=True,
            )  # fmt: skip
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

    def close(self) -> None:
        self._outer.send_signal(signal.SIGKILL)  # and with it, systemd; and with that, all that runs there
        self._outer.wait()
        for name, value in self._sysctls.items():
            Path(name).write_text(value)
        deadline = time.monotonic() + SECONDS
        while left := [top for top in self._groups() if top.is_dir()]:
            assert time.monotonic() < deadline, left
            for top in left:
                for directory, _names, _files in os.walk(top, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(directory)
            time.sleep(0.01)

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
            children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
            if children:
                wrapper = ("nsenter", f"--target={children[0]}", "--mount", "--pid", "--cgroup", "--uts", "--")
                asked = [*wrapper, "systemctl", "is-active", "machine.target"]
                if subprocess.run(asked, capture_output=True, timeout=SECONDS, check=False).returncode == 0:
                    return wrapper
            time.sleep(0.05)
        self.close()
        raise AssertionError(f"systemd did not start: {self._log.read_text()}")
