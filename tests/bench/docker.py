"""deploy/bench docker: the Docker engine against the daemon's own command line and API, on a private daemon, in the same rounds.

The list has 200 containers, of which 190 were never started; ``docker ps`` shows the same ones: against it, the list as the
worker has it, and as a panel beside that daemon gives it over HTTP on a kept connection, parsed. A terminal counts until the
first byte of its program. Create and start is that of a container with no network, by our engine and by one call each of the API.
"""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this folder, where we would be taken for the SDK
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import docker as sdk

from containers_app.engines.docker import DockerEngine
from containers_app.kernel import cgroups
from tests.bench.panel import Api
from tests.bench.table import Row, interleave, median, show
from tests.dockerd import Dockerd
from tests.engines.conftest import Home, new_home
from tests.engines.docker_engine import docker_spec
from tests.panel import Panel, free_port

LISTED, RUNNING, ROUNDS = 200, 10, 15


class Ours:
    def __init__(self, engine: DockerEngine, runner: asyncio.Runner) -> None:
        self._engine, self._runner, self._number = engine, runner, count()

    def look(self) -> None:
        assert len(self._engine.all()) >= LISTED

    def attach(self) -> None:
        terminal = self._runner.run(self._engine.open_terminal("running-0", ("echo", "here"), 24, 80))
        assert os.read(terminal.fd, 64).startswith(b"here") and os.isatty(terminal.fd)
        os.close(terminal.fd)

    def execute(self) -> None:
        assert self._runner.run(self._engine.execute("running-0", ("true",), 10)).exit_code == 0

    def create(self) -> None:
        self._runner.run(self._engine.create(docker_spec(f"ours-{next(self._number)}", namespaces={"net": "none"}), ""))


class OverHttp:
    def __init__(self, panel: Panel) -> None:
        self._api = Api(panel)

    def look(self) -> None:
        status, listed = self._api.call("GET", "/containers?limit=1000")
        items: Any = listed["items"]
        assert status == 200 and len(items) >= LISTED


class Theirs:
    def __init__(self, daemon: Dockerd) -> None:
        self._daemon, self._api, self._number = daemon, sdk.APIClient(daemon.url, timeout=60), count()

    def _docker(self, *words: str, stdin: Any = subprocess.DEVNULL) -> None:
        subprocess.run(["docker", "-H", self._daemon.url, *words], check=True, capture_output=True, stdin=stdin)

    def look(self) -> None:
        self._docker("ps", "-a")

    def attach(self) -> None:
        master, slave = pty.openpty()
        try:
            self._docker("exec", "-it", "running-0", "echo", "here", stdin=slave)
        finally:
            os.close(master)
            os.close(slave)

    def execute(self) -> None:
        self._docker("exec", "running-0", "true")

    def create_by_api(self) -> None:
        host = self._api.create_host_config(network_mode="none")
        name = f"api-{next(self._number)}"
        self._api.start(self._api.create_container("busybox", ["sleep", "1000"], name=name, host_config=host)["Id"])

    def create_by_command(self) -> None:
        self._docker("run", "-d", "--network", "none", "--name", f"cli-{next(self._number)}", "busybox", "sleep", "1000")


def measure(home: Home, daemon: Dockerd, panel: Panel) -> list[Row]:
    api = sdk.APIClient(daemon.url, timeout=60)
    for number in range(LISTED):
        name = f"running-{number}" if number < RUNNING else f"listed-{number}"
        made = api.create_container("busybox", ["sleep", "1000"], name=name)["Id"]
        if number < RUNNING:
            api.start(made)
    engine = DockerEngine("docker", daemon.url, "bench", cgroups.choose(), str(home.data / "kept"), str(home.run))
    with asyncio.Runner() as runner:
        runner.run(engine.open(lambda _: None))
        panel.up()
        ours, theirs, http = Ours(engine, runner), Theirs(daemon), OverHttp(panel)
        try:
            took = interleave(
                {
                    "list, in the worker": ours.look, "list, over HTTP": http.look, "docker ps": theirs.look,
                    "execute true": ours.execute, "docker exec": theirs.execute,
                    "terminal": ours.attach, "docker exec -it": theirs.attach, "create and start": ours.create,
                    "API": theirs.create_by_api, "docker run": theirs.create_by_command,
                },
                ROUNDS,
            )  # fmt: skip
        finally:
            runner.run(engine.close())
    pairs = (
        ("list, in the worker", "docker ps"), ("list, over HTTP", "docker ps"), ("execute true", "docker exec"),
        ("create and start", "docker run"), ("create and start", "API"), ("terminal", "docker exec -it"),
    )  # fmt: skip
    medians = {name: median(times) for name, times in took.items()}
    rows = [Row(name, medians[name], "ms") for name in dict.fromkeys(peer for _, peer in pairs)]
    return rows + [Row(f"ours: {mine}", medians[mine], "ms", peer, medians[mine] / medians[peer]) for mine, peer in pairs]


def main() -> None:
    with new_home() as home:
        daemon = Dockerd(Path(tempfile.mkdtemp(prefix="terrarium-dockerd-")))
        panel = Panel(Path(tempfile.mkdtemp(prefix="terrarium-bench-")), free_port(), daemon.url)
        try:
            daemon.prepare()
            daemon.start()
            daemon.import_busybox()
            rows = measure(home, daemon, panel)
            show(f"Docker beside {LISTED} containers (goals: create and start 1.1 × API, terminal 0.5 × docker exec -it)", rows)
        finally:
            panel.down("--all", "--purge")
            shutil.rmtree(panel.base)
            daemon.close()


if __name__ == "__main__":
    main()
