"""A keeper and a worker of their own, killed and started again as deploy/lib/supervise.py would, and what of theirs is where."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from containers_app.engines.raw_removal import group_names
from containers_app.kernel import cgroups
from tests.engines.conftest import KEEPER, Home

ROOT = Path(__file__).parents[2]
UID_BASE, UID_COUNT = 1_500_000_000, 65536 * 64
POLICY = f"[peers]\nuids = [0]\n[uids]\nbase = {UID_BASE}\ncount = {UID_COUNT}\n"
BACK_OFF = 0.05  # seconds; the supervisor's own begins with 0.2


class Instance:
    def __init__(self, home: Home) -> None:
        self.home, self.socket = home, home.run / "web/worker.sock"
        (home.data / "policy.toml").write_text(POLICY)
        self.worker: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start_keeper(self) -> None:
        """Without waiting: it may be killed again before it listens."""
        words = ("--run", str(self.home.run), "--data", str(self.home.data))
        self.home.keeper = subprocess.Popen([sys.executable, "-I", "-S", str(KEEPER), *words], start_new_session=True)

    def start_worker(self) -> None:
        docker = f"unix://{self.home.run}/none"
        place = ("--data", self.home.data, "--run", self.home.run, "--docker-host", docker, "--node", "here")
        with open(self.home.run / "worker.log", "ab") as log:
            self.worker = subprocess.Popen(
                [sys.executable, "-m", "containers_app.worker", *map(str, place)], cwd=ROOT, stderr=log, start_new_session=True
            )
        self.starts += 1

    async def supervise(self) -> None:
        while True:
            if self.home.keeper is None or self.home.keeper.poll() is not None:
                self.start_keeper()
            if self.worker is None or self.worker.poll() is not None:
                self.start_worker()
            await asyncio.sleep(BACK_OFF)

    def kill(self, *who: str) -> None:
        for name in who:
            if name == "forker":
                with contextlib.suppress(OSError):  # there is none at this moment
                    os.kill(self._forker(), signal.SIGKILL)
                continue
            process = self.worker if name == "worker" else self.home.keeper
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGKILL)

    def _forker(self) -> int:
        """The eldest of the keeper's children that are not programs yet: where it was killed just now, a launch under way."""
        keeper = f"/proc/{self.home.keeper.pid}" if self.home.keeper is not None else ""
        for pid in Path(f"{keeper}/task/{keeper[6:]}/children").read_text().split():
            if os.readlink(f"/proc/{pid}/exe") == os.readlink(f"{keeper}/exe"):
                return int(pid)
        raise ProcessLookupError

    def stop_worker(self) -> None:
        if self.worker is not None and self.worker.poll() is None:
            self.worker.terminate()
            self.worker.wait(20)

    def log(self) -> str:
        return (self.home.run / "worker.log").read_text(errors="replace")

    # ── what is there ────────────────────────────────────────────────────────────────────────────────────────────────

    def on_disk(self) -> set[str]:
        return set(os.listdir(self.home.data / "sandboxes"))

    def groups(self) -> set[str]:
        """The control groups of sandboxes, by id, and "group.NAME" of groups; the spares left out."""
        return {name.rpartition("/")[2] for name in group_names(cgroups.choose(), self.home.tag)} - self.home.spares()

    def links(self) -> dict[str, set[str]]:
        """The instance's bridges, the devices of rates out, and the sandboxes' links but those of spares."""
        spares = {f"tr{self.home.tag}-{spare[:6]}" for spare in self.home.spares()}
        names = {name for name in os.listdir("/sys/class/net") if name.startswith(f"tr{self.home.tag}")}
        bridges = {name for name in names if os.path.isdir(f"/sys/class/net/{name}/bridge")}
        ifbs = {name for name in names if name.startswith(f"tr{self.home.tag}-i")}
        return {"bridges": bridges, "ifbs": ifbs, "links": names - bridges - ifbs - spares}

    def processes(self) -> dict[int, str]:
        """Host pid → the sandbox in whose control group it stands ("" for none), of all that have an id of this instance's."""
        found, spares = {pid: self._group_of(pid) for pid in self._with_our_ids()}, self.home.spares()
        return {pid: group for pid, group in found.items() if group not in spares}

    @staticmethod
    def _with_our_ids() -> Iterator[int]:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    text = Path(f"/proc/{entry}/status").read_text()
                except OSError:
                    continue
                uid = int(text.partition("\nUid:\t")[2].split("\t")[0])
                if UID_BASE <= uid < UID_BASE + UID_COUNT and "\nState:\tZ" not in text and "\nState:\tX" not in text:
                    yield int(entry)

    def _group_of(self, pid: int) -> str:
        group = rf"/terrarium-{self.home.tag}/(?:group\.[^/]+/)?([0-9a-f]+)$"
        try:
            found = re.search(group, Path(f"/proc/{pid}/cgroup").read_text(), re.MULTILINE)
        except OSError:
            return ""
        return found[1] if found else ""

    def mounts(self) -> list[str]:
        """Of our data directory, in the host's mount namespace and the keeper's."""
        assert self.home.keeper is not None
        files = ("/proc/self/mountinfo", f"/proc/{self.home.keeper.pid}/mountinfo")
        return [line for file in files for line in Path(file).read_text().splitlines() if str(self.home.data) in line]

    def rules(self) -> str:
        command = ["nft", "--stateless", "list", "table", "inet", f"terrarium_{self.home.tag}"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def ports(self) -> set[int]:
        """The host's ports that the rules lead to sandboxes."""
        return {int(port) for port in re.findall(r"dport (\d+) dnat", self.rules())}
