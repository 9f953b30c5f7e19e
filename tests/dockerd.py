"""A real Docker daemon of the tests' own: private socket, data root, exec root, bridge and parent cgroup.

It is Debian's docker.io with no firewall rules (`--iptables=false`) and an image ``busybox:latest`` imported from the machine's
static busybox. ``kill`` and ``restart`` are for tests of a daemon in trouble; its containers live on (`--live-restore`).
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import os
import select
import shlex
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BUSYBOX = Path("/bin/busybox")
START_SECONDS = 60.0
STOP_SECONDS = 60.0
SHARED = ("/run/containerd/s", "/run/containerd", "/run/docker/plugins", "/run/docker")  # made by every daemon, wherever it runs
NEEDED = ("dockerd", "containerd", "runc", "docker")


class Dockerd:
    """``url`` is what engines and the command line are given. Everything lies below ``home``, but for ``link`` and ``group``."""

    shared = SHARED
    programs: tuple[str, ...] = ("containerd", "dockerd", "docker-")  # what the daemon starts: so their names begin

    def __init__(self, home: Path, *options: str) -> None:
        self.home, self.options = home, options
        tag = os.urandom(3).hex()
        self.url = f"unix://{home}/docker.sock"
        self.link = f"tr{tag}-d"
        self.group = f"terrarium-{tag}-docker"
        self._address = ipaddress.ip_address("10.213.0.1") + 256 * int(tag[-2:], 16)
        self.network = ipaddress.ip_network(f"{self._address}/24", strict=False)
        self._new = [place for place in self.shared if not os.path.exists(place)]
        self._shell: subprocess.Popen[str] | None = None  # parent of each daemon: a new one is no new child of the tests'
        self.pid = 0
        self._pidfd = -1

    def _tell(self, command: str) -> str:
        """One line for the shell, one line of answer."""
        assert self._shell is not None and self._shell.stdin is not None and self._shell.stdout is not None
        self._shell.stdin.write(command + "\n")
        self._shell.stdin.flush()
        return self._shell.stdout.readline().strip()

    def prepare(self) -> None:
        """The bridge and the parent cgroup: there before the daemon, so that a test's own left-overs stand out."""
        _run("ip", "link", "add", self.link, "type", "bridge")
        _run("ip", "address", "add", f"{self._address}/24", "dev", self.link)
        _run("ip", "link", "set", self.link, "up")
        for root in hierarchies():
            (root / self.group).mkdir()
            for name in ("cpuset.mems", "cpuset.cpus"):  # a new v1 cpuset is empty: joining it gives ENOSPC
                file = root / self.group / name
                if (root / "cgroup.clone_children").exists() and file.exists():
                    file.write_text((root / name).read_text())

        self._shell = subprocess.Popen(
            ["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )

    def command(self) -> list[str]:
        command = ["dockerd", "--host", self.url, "--data-root", str(self.home / "data"), "--exec-root", str(self.home / "exec")]
        command += ["--pidfile", str(self.home / "pid"), "--bridge", self.link, "--cgroup-parent", f"/{self.group}"]
        command += ["--exec-opt", "native.cgroupdriver=cgroupfs", "--live-restore", "--log-level", "warn"]
        command += ["--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false", "--userland-proxy=false"]
        return [*command, *self.options]

    def start(self) -> None:
        self.pid = int(self._tell(f"{shlex.join(self.command())} </dev/null >>{self.home}/log 2>&1 & echo $!"))
        self._pidfd = os.pidfd_open(self.pid)
        _wait(self._answers, START_SECONDS, self._log)

    def _log(self) -> str:
        return (self.home / "log").read_text(errors="replace")[-2000:]

    def _ended(self, seconds: float = 0) -> bool:
        """Whether the daemon has ended; waits so long for it."""
        return bool(select.select([self._pidfd], [], [], seconds)[0])

    def _reap(self) -> None:
        assert self._ended(STOP_SECONDS), self._log()
        os.close(self._pidfd)
        self._tell(f"wait {self.pid}; echo reaped")
        self.pid, self._pidfd = 0, -1

    def _answers(self) -> bool:
        assert not self._ended(), self._log()
        return subprocess.run(["docker", "-H", self.url, "version"], capture_output=True, check=False).returncode == 0

    def _started(self) -> list[int]:
        """What the daemon has started: containerd and shims carry a path below ``home`` in their command line."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    line = Path(f"/proc/{entry}/cmdline").read_bytes()
                    name = Path(f"/proc/{entry}/comm").read_text()
                    if f"{self.home}/".encode() in line and name.startswith(self.programs):
                        found.append(int(entry))
        return found

    def docker(self, *args: str, check: bool = True, input: bytes | None = None) -> str:
        """The command line client; its standard output, stripped."""
        done = subprocess.run(["docker", "-H", self.url, *args], capture_output=True, check=False, input=input)
        assert not check or done.returncode == 0, f"docker {' '.join(args)}: {done.stderr.decode(errors='replace')}"
        return done.stdout.decode(errors="replace").strip()

    def import_busybox(self) -> None:
        self.docker("import", "--change", 'CMD ["sh"]', "-", "busybox:latest", input=_busybox_tar())

    def kill(self) -> None:
        """SIGKILL to the daemon, as if it crashed. Its containers live on; its containerd dies with it (PDEATHSIG)."""
        os.kill(self.pid, signal.SIGKILL)
        self._reap()
        # The next daemon would wait for that containerd where process 1 does not reap, as in some virtual machines.
        (self.home / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    def pause(self) -> None:
        """Make it hang: it holds its socket and never answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        self._terminate()
        self.start()

    def _terminate(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, signal.SIGTERM)
            self._reap()

    def remove_containers(self) -> None:
        if ids := self.docker("ps", "-aq").split():
            self.docker("rm", "-f", "-v", *ids)

    def close(self) -> None:
        """Containers, daemon, its containerd, mounts, cgroups, link: all gone, whatever state the tests left it in."""
        if self._shell is not None:
            if not self.pid:
                self.start()
            if not self._ended():  # else it never came up, and there is nothing of its
                os.kill(self.pid, signal.SIGCONT)
                self.remove_containers()
                self._terminate()
            self._shell.communicate(timeout=STOP_SECONDS)
        for pid in self._started():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _wait(lambda: not self._started(), STOP_SECONDS, lambda: str(self._started()))
        for place in sorted(_mounts_below(self.home), reverse=True):
            _run("umount", "--lazy", place)
        for root in hierarchies():
            for directory, _names, _files in os.walk(root / self.group, topdown=False):
                os.rmdir(directory)
        subprocess.run(["ip", "link", "delete", self.link], capture_output=True, check=False)
        for place in self._new:
            with contextlib.suppress(OSError):  # not there, or another daemon uses it by now
                os.rmdir(place)
        shutil.rmtree(self.home)


def _busybox_tar() -> bytes:
    """bin/busybox and a link for each of its commands, and the directories that programs expect."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("bin", "etc", "root", "tmp", "var"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(directory)
        tar.add(BUSYBOX, "bin/busybox")
        for name in subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split():
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        for name, text in (("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("etc/group", "root:x:0:\n")):
            file = tarfile.TarInfo(name)
            file.size = len(text)
            tar.addfile(file, io.BytesIO(text.encode()))
    return packed.getvalue()


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def _wait(condition: Callable[[], object], seconds: float, why: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


def hierarchies() -> list[Path]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return list(dict.fromkeys(Path(line.split()[1]) for line in lines if line.split()[2] in ("cgroup", "cgroup2")))


def _mounts_below(home: Path) -> list[str]:
    places = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [place for place in places if place.startswith(f"{home}/")]


@contextlib.contextmanager
def started(*options: str, kind: type[Dockerd] = Dockerd) -> Iterator[Dockerd]:
    """A daemon with an image busybox and such options beside its own, until the end of the block."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    assert not missing, f"{missing[0]} is not installed; on Debian: apt-get install docker.io"
    assert BUSYBOX.exists(), "there is no /bin/busybox; on Debian: apt-get install busybox-static"
    # not below pytest's own directory: the path of a unix socket may be 107 bytes long at most
    daemon = kind(Path(tempfile.mkdtemp(prefix="terrarium-dockerd-")), *options)
    try:
        daemon.prepare()
        daemon.start()
        daemon.import_busybox()
        yield daemon
    finally:
        daemon.close()


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Dockerd]:
    with started() as daemon:
        yield daemon
