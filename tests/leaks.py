"""What of ours is on this machine now, so that a test can prove that it left nothing behind.

Everything that we make carries a name (``terrarium…``, ``tr<tag>…``), lies below the tests' own directory, or is a
descendant of the tests' process. Another panel on the machine, and another test run, are told apart by their data directory.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from containers_app.kernel import nftables

_BRIDGE = re.compile(r"tr[0-9a-f]{6}")
_NFT, _IPTABLES = (
    shutil.which("nft") or "/usr/sbin/nft",
    shutil.which("iptables") or "/usr/sbin/iptables",
)  # a test may change PATH
PATIENCE = 20.0  # seconds for what is already dying: cgroups and links go a moment after their last process
_known_tables: dict[int, list[str]] = {}  # the firewall's generation → what it holds of ours


@dataclass
class Watch:
    """``base`` is the tests' directory; ``kept`` are tags of panels that live longer than one test."""

    base: Path
    kept: set[str] = field(default_factory=set)

    def now(self) -> set[str]:
        """One line for each thing of ours. It is asked twice by each test, so all command lines are read but once."""
        commands = dict(_command_lines())
        ours = {
            *self._mounts(),
            *_cgroups(),
            *_links(),
            *_tables(),
            *_network_namespaces(),
            *_users(),
            *_directories(),
            *_units(),
            *self._processes(commands),
        }
        foreign = _foreign_tags(self.base, commands)
        spares = tuple(self._spares())
        return {
            line
            for line in ours
            if not any(tag in line for tag in foreign) and not self._is_kept(line) and not line.endswith(spares)
        }

    def left_since(self, before: set[str], pids_before: set[int]) -> set[str]:
        """What came and did not go; waits for what is on its way out."""
        deadline = time.monotonic() + PATIENCE
        pause = 0.01
        while left := {*(self.now() - before), *_new_descendants(pids_before)}:
            if time.monotonic() > deadline:
                return left
            time.sleep(pause)
            pause = min(pause * 2, 0.25)
        return set()

    def _is_kept(self, line: str) -> bool:
        """A living panel's own bridge, table and group; what is inside of them is its sandboxes'."""
        roots = (
            f"link tr{tag}|table (inet|bridge) terrarium_{tag}|cgroup \\S*/terrarium-{tag}|rule .*tr{tag}\\b.*"
            for tag in self.kept
        )
        return any(re.fullmatch(root, line) for root in roots)

    def _spares(self) -> set[str]:
        """How the control groups and links of the tests' panels' spares are called: those come and go by themselves."""
        found = {place.name for place in self.base.glob("*/data/spares/*")}
        return {f"/{spare}" for spare in found} | {f"-{spare[:6]}" for spare in found}

    def _mounts(self) -> Iterator[str]:
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            place = line.split()[4]
            if place.startswith(f"{self.base}/") and "/docker" not in place:  # dockerd's own come and go with its containers
                yield f"mount {place}"

    def _processes(self, commands: dict[int, str]) -> Iterator[str]:
        """Those that were daemonised, by their command lines, so that a restart by a supervisor is no difference."""
        for line in commands.values():
            if f"{self.base}/" in line and "containerd" not in line and "dockerd" not in line and "docker-proxy" not in line:
                yield f"process {re.sub(' --web-uid [0-9]+', '', line)}"  # freed and taken again, it may be another


def _foreign_tags(base: Path, commands: dict[int, str]) -> set[str]:
    homes = {line.split(":")[5].removesuffix("/web") for line in _lines("/etc/passwd") if line.startswith("terrarium")}
    datas = {match[1] for line in commands.values() if (match := re.search(r"--data (\S+)", line))}
    foreign = {place for place in homes | datas if not place.startswith(f"{base}/")}
    return {hashlib.sha256(place.encode()).hexdigest()[:6] for place in foreign} | _foreign_docker_tags(commands)


def _foreign_docker_tags(commands: dict[int, str]) -> set[str]:
    """Of another test run's Docker daemon, which carries its tag in its bridge's name."""
    bridges = {pid: match[1] for pid, line in commands.items() if (match := re.search(r"--bridge tr([0-9a-f]{6})-d", line))}
    ours = descendants() if bridges else set()
    return {tag for pid, tag in bridges.items() if pid not in ours}


def descendants() -> set[int]:
    """Living processes below the tests' own."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _text(f"/proc/{entry}/stat").rpartition(") ")[2].split()
            if fields and fields[0] not in "ZX":
                children.setdefault(int(fields[1]), []).append(int(entry))
    found: set[int] = set()
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found.update(below)
        todo += below
    return found


def _new_descendants(before: set[int]) -> Iterator[str]:
    """Those that are not below a process that was there before, such as the session's browser."""
    for pid in descendants() - before:
        ancestor = pid
        while ancestor not in before and ancestor not in (os.getpid(), 0, 1):
            fields = _text(f"/proc/{ancestor}/stat").rpartition(") ")[2].split()
            ancestor = int(fields[1]) if fields else 0
        if ancestor == os.getpid():
            yield f"child {_text(f'/proc/{pid}/cmdline').replace(chr(0), ' ').strip() or pid}"


def _command_lines() -> Iterator[tuple[int, str]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (line := _text(f"/proc/{entry}/cmdline")):
            yield int(entry), line.replace("\0", " ").strip()


def _cgroups() -> Iterator[str]:
    for line in _lines("/proc/self/mounts"):
        place, kind = line.split()[1:3]
        if kind in ("cgroup", "cgroup2"):
            for top in filter(_is_ours, Path(place).glob("terrarium-*")):
                for directory, _names, _files in os.walk(top):
                    yield f"cgroup {directory}"


def _is_ours(top: Path) -> bool:
    """Groups of the tests' own, without a panel, carry the number of the run's process: that may be another one's."""
    found = re.match(r"terrarium-t([0-9a-f]+)", top.name)
    return found is None or int(found[1], 16) == os.getpid() or not os.path.exists(f"/proc/{int(found[1], 16)}")


def _links() -> Iterator[str]:
    for name in os.listdir("/sys/class/net"):
        if re.fullmatch(r"tr[0-9a-f]{6}(-.*)?", name):
            yield f"link {name}"


def _tables() -> list[str]:
    """Two programs are asked only when somebody has changed something: each test asks twice."""
    if _text("/proc/net/ip_tables_names").strip():  # the older iptables counts for itself
        return list(_read_tables())
    if (number := nftables.generation()) not in _known_tables:
        _known_tables.clear()
        _known_tables[number] = list(_read_tables())
    return _known_tables[number]


def _read_tables() -> Iterator[str]:
    for line in _output(_NFT, "list", "tables"):
        if "terrarium" in line:
            yield line.strip()
    for line in _output(_IPTABLES, "-w", "-S"):
        if re.search(r"\btr[0-9a-f]{6}\b", line):
            yield f"rule {line.strip()}"


def _network_namespaces() -> Iterator[str]:
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        yield f"netns {name}"


def _users() -> Iterator[str]:
    for file in ("passwd", "group", "subuid", "subgid"):
        for line in _lines(f"/etc/{file}"):
            if line.startswith("terrarium"):
                yield f"{file} {line.split(':')[0]}"


def _directories() -> Iterator[str]:
    for top in ("/run", "/var/lib", "/sys/fs/bpf"):
        for name in os.listdir(top) if os.path.isdir(top) else []:
            # What all panels of a host share about forwarding belongs there as long as any of them has its bridge.
            shared = name == "terrarium-forwarding.json" and any(_BRIDGE.fullmatch(link) for link in os.listdir("/sys/class/net"))
            if name.startswith("terrarium") and not shared:
                yield f"directory {top}/{name}"


def _units() -> Iterator[str]:
    """What starts a panel at boot, and the links that enable it."""
    for path in Path("/etc/systemd/system").rglob("*terrarium-*"):
        yield f"unit {path}"


def _output(*argv: str) -> list[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()


def _lines(path: str) -> list[str]:
    return _text(path).splitlines()


def _text(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read().decode(errors="replace")
    except OSError:
        return ""
