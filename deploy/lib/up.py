"""deploy/up: options, checks, installation, then the supervisor. Nothing is changed before every check has passed."""

from __future__ import annotations

import os
import select
import signal
import sys

from . import boot, install, locks, packages, policy, preflight, processes, site, unit, users
from . import instance as instances
from .console import Refused, say
from .instance import Instance
from .options import parse_up
from .services import keeper_words

READY_SECONDS = 90.0  # a little more than the supervisor's own patience


def main(words: list[str]) -> int:
    options = parse_up(words, os.environ)
    preflight.check_root()
    os.umask(0o022)
    instance = instances.asked(instances.load(options.place), options)
    preflight.check_all(instance, installed=install.is_installed(instance), admin_password_file=options.admin_password_file)
    _check_run_directory(instance)
    packages.install(preflight.missing_packages())
    descriptors = _take(instance)
    stop_leftovers(instance)
    install.sources(instance)
    install.venv(instance)
    install.npm(instance)
    install.busybox(instance)
    install.init(instance)
    instance = users.ensure(instance)
    instances.save(instance)
    policy.ensure(instance)
    install.make_web_directories(instance)
    site.prepare(instance, options.admin_password_file)
    if note := preflight.docker_note(instance.docker_host):
        say(note)
    if note := boot.follow(instance):
        say(note)
    return _detach(instance, descriptors) if options.detach else _become_supervisor(instance, descriptors)


def stop_leftovers(instance: Instance) -> None:
    """Web and worker whose supervisor was killed: nobody watches them any more."""
    for name in ("supervisor", "web", "worker"):
        path = instance.run / f"{name}.pid"
        if (process := processes.read_pid_file(path)) is not None:
            processes.stop(process, 10)
        path.unlink(missing_ok=True)


def _take(instance: Instance) -> list[int]:
    install.make_directories(instance)
    return locks.take(instance)


def _check_run_directory(instance: Instance) -> None:
    """Sandboxes that still run are known by the run directory that they were started with."""
    remembered = instances.remembered_run(instance.data)
    if remembered is not None and remembered != instance.run:
        before = Instance(instance.data, remembered)
        if processes.find(*keeper_words(before)):
            raise Refused(
                f"The panel at {instance.data} keeps sandboxes with the run directory {remembered}: "
                f"use --run {remembered}, or stop them first with deploy/down --all --data {instance.data}."
            )


def _supervisor_argv(instance: Instance, descriptors: list[int], *more: str) -> list[str]:
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    return [
        sys.executable,
        "-I",
        "-B",
        str(instance.app / "deploy/lib/main.py"),
        "supervise",
        "--data",
        str(instance.data),
        "--run",
        str(instance.run),
        "--locks",
        ",".join(map(str, descriptors)),
        *more,
    ]


def _become_supervisor(instance: Instance, descriptors: list[int]) -> int:
    os.chdir("/")
    argv = unit.enclose(instance, _supervisor_argv(instance, descriptors))
    os.execv(argv[0], argv)


def _detach(instance: Instance, descriptors: list[int]) -> int:
    """Fork the supervisor into a session of its own, and wait for its word."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.chdir("/")
            null = os.open("/dev/null", os.O_RDONLY)
            log = os.open(instance.logs / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            for source, target in ((null, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            os.set_inheritable(writing, True)
            argv = unit.enclose(instance, _supervisor_argv(instance, descriptors, "--ready-fd", str(writing)))
            os.execv(argv[0], argv)
        finally:
            os._exit(127)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], READY_SECONDS)
        word = os.read(reading, 4096).decode() if ready else ""
    except KeyboardInterrupt:
        os.kill(pid, signal.SIGTERM)
        raise
    if word == "ok":
        say(f"Terrarium serves at {instance.url}")
        return 0
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    raise Refused(word or f"The panel did not start: see {instance.logs / 'supervisor.log'}.")
