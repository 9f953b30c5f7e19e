"""A real panel for the tests: set up and served by deploy/up, on a port and in directories of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NO_DOCKER = "unix:///run/terrarium-tests-have-no-docker.sock"
PASSWORD = "correct-horse-battery-staple"
UP_SECONDS = 300.0  # with pip and npm over a slow network


def deploy(
    program: str,
    *words: str,
    env: Mapping[str, str] | None = None,
    root: Path = ROOT,
    timeout: float = UP_SECONDS,
    wrapper: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Run deploy/PROGRAM to its end, with nothing of the tests' own environment. ``wrapper`` is put before it."""
    ours = ("TERRARIUM_", "PYTHON", "PYTEST", "DJANGO", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | dict(env or {})
    command = [*wrapper, str(root / "deploy" / program), *words]
    with open(os.devnull) as nothing:
        return subprocess.run(
            command, env=environment, cwd="/", stdin=nothing, capture_output=True, text=True, timeout=timeout, check=False
        )


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Panel:
    """One installation. ``base`` holds its data and run directories and is open to root only."""

    base: Path
    port: int
    docker_host: str = NO_DOCKER

    @property
    def data(self) -> Path:
        return self.base / "data"

    @property
    def run(self) -> Path:
        return self.base / "run"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def tag(self) -> str:
        return hashlib.sha256(os.fsencode(os.path.realpath(self.data))).hexdigest()[:6]

    @property
    def place(self) -> tuple[str, ...]:
        return ("--data", str(self.data), "--run", str(self.run))

    @property
    def up_words(self) -> tuple[str, ...]:
        return (
            *self.place,
            "--port",
            str(self.port),
            "--docker-host",
            self.docker_host,
            "--admin-password-file",
            str(self.base / "password"),
            "--detach",
        )

    def up(self) -> None:
        (self.base / "password").write_text(PASSWORD)
        ran = deploy("up", *self.up_words)
        assert ran.returncode == 0, ran.stdout + ran.stderr + self.log_tails()

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=30) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def ensure_up(self) -> None:
        if not self.is_up():
            self.up()

    def down(self, *words: str) -> None:
        ran = deploy("down", *self.place, *words)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    def manage(self, *words: str) -> str:
        """What the command printed."""
        ran = deploy("manage", *self.place, *words)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def pid(self, name: str) -> int:
        """Of ``supervisor``, ``keeper``, ``worker`` or ``web``."""
        return int((self.run / f"{name}.pid").read_text().split()[0])

    def log_tails(self) -> str:
        logs = [*self.data.glob("logs/*.log"), self.data / "keeper.log"]
        return "".join(f"\n--- {log.name}\n{log.read_text()[-2000:]}" for log in logs if log.exists())

    def seed(self, other: Panel, *packages: str) -> None:
        """Take over the other's packages, all or these, so that only the first panel of a run asks the network for them."""
        self.data.mkdir(mode=0o700, parents=True)
        for name in (".terrarium", *(packages or ("venv", "npm"))):
            source = other.data / name
            if source.is_dir():
                shutil.copytree(source, self.data / name, symlinks=True, copy_function=_link)
            else:
                shutil.copy2(source, self.data / name)


def _link(source: str, target: str) -> None:
    """The same file under a second name: nothing writes to it, and each name goes with its own panel."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system
        shutil.copy2(source, target)
