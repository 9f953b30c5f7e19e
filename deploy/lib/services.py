"""The three programs of a panel: what each is started with, and how it becomes what it is."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import processes, webspace
from .instance import Instance

_WORKER_ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
)


_CODE = "keeper.code"


@dataclass(frozen=True)
class Service:
    """``become`` runs in the new process and ends in exec. ``outlives`` the panel: not stopped with it."""

    name: str
    log: Path
    pid_file: Path
    become: Callable[[], None]
    outlives: bool = False


def services(instance: Instance) -> tuple[Service, ...]:
    def service(name: str, become: Callable[[Instance], None], log: Path, *, outlives: bool = False) -> Service:
        return Service(name, log, instance.run / f"{name}.pid", lambda: become(instance), outlives)

    return (
        service("keeper", _become_keeper, instance.data / "keeper.log", outlives=True),
        service("worker", _become_worker, instance.logs / "worker.log"),
        service("web", _become_web, instance.logs / "web.log"),
    )


def keeper_words(instance: Instance) -> tuple[str, ...]:
    """What the keeper's command line surely holds: for finding it when the pid file is lost."""
    return (str(instance.app / "containers_app/kernel/keeper.py"), "--run", str(instance.run))


def keeper_code(instance: Instance) -> str:
    """What the keeper would run now: a digest of all that it imports of ours, and the interpreter's version."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted((instance.app / "containers_app/kernel").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def keeper_is_current(instance: Instance) -> bool:
    """Whether the living one runs that, and not what was there before an upgrade: worker and keeper have to be of one mind."""
    try:
        return (instance.run / _CODE).read_text() == keeper_code(instance)
    except OSError:
        return False


def worker_argv(instance: Instance, *more: str) -> list[str]:
    return [
        str(instance.venv / "bin/python"),
        "-m",
        "containers_app.worker",
        "--data",
        str(instance.data),
        "--run",
        str(instance.run),
        "--docker-host",
        instance.docker_host,
        "--web-uid",
        str(instance.uid),
        "--node",
        instance.node,
        *more,
    ]


def root_environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _WORKER_ENVIRONMENT if name in os.environ}
    return (
        {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
        | kept
        | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    )


def start(service: Service) -> int:
    """Fork the program, in a session of its own so that the terminal's Ctrl-C is not its business. Returns its pid.

    What outlives the panel is forked twice: init, not we, is its parent. The pid file is written before exec, so that
    there is no moment in which it runs unknown.
    """
    reading, writing = os.pipe()
    first = os.fork()
    if first == 0:
        try:
            os.close(reading)
            os.setsid()
            if service.outlives and os.fork() != 0:
                os._exit(0)
            os.write(writing, f"{os.getpid()}\n".encode())
            os.close(writing)
            _exec(service)
        finally:
            os._exit(127)
    os.close(writing)
    with open(reading) as pipe:
        pid = int(pipe.readline() or first)
    if service.outlives:
        os.waitpid(first, 0)
    return pid


def _exec(service: Service) -> None:
    processes.write_pid_file(service.pid_file, os.getpid())
    log = os.open(service.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    null = os.open("/dev/null", os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.closerange(3, 1024)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o077)
    os.chdir("/")
    try:
        service.become()
    except OSError as error:
        os.write(2, f"{service.name} could not be started: {error}\n".encode())


def _become_keeper(instance: Instance) -> None:
    note = instance.run / f".{_CODE}.new"
    note.write_text(keeper_code(instance))
    note.replace(instance.run / _CODE)
    script, *rest = keeper_words(instance)
    os.execve(sys.executable, [sys.executable, "-I", "-S", script, *rest, "--data", str(instance.data)], root_environment())


def _become_worker(instance: Instance) -> None:
    os.chdir(instance.app)
    argv = worker_argv(instance)
    os.execve(argv[0], argv, root_environment())


def _become_web(instance: Instance) -> None:
    webspace.enter(instance)
    webspace.drop(instance.uid, instance.gid)
    python = "/mnt/venv/bin/python"
    argv = [
        python,
        "-m",
        "daphne",
        "--bind",
        instance.host,
        "--port",
        str(instance.port),
        "--no-server-name",
        "--verbosity",
        "0",
        "--websocket_timeout",
        "-1",
        "--ping-interval",
        "20",
        "--ping-timeout",
        "30",
        "--application-close-timeout",
        "5",
        "panel.asgi:application",
    ]
    os.execve(python, argv, webspace.environment(instance))
