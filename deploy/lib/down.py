"""deploy/down: stop web and worker; with ``--all`` also every sandbox and all that the panel put on this machine.

What was to start at boot does so no more (boot.py). Works whatever of it still runs or exists, and twice.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from containers_app.kernel import file_tree

from . import boot, locks, preflight, processes, sweep, unit, users
from .console import Refused, say
from .instance import MARKER, Instance, load, owner_of_run
from .options import parse_down
from .services import keeper_words, root_environment, worker_argv

STOP_SECONDS = 25.0  # the supervisor gives its programs 10
REMOVE_SECONDS = 300.0


def main(words: list[str]) -> int:
    options = parse_down(words, os.environ)
    preflight.check_root()
    instance = load(options.place)
    _check_ours(instance)
    stopped = _stop_panel(instance)
    at_boot = boot.remove(instance)
    if not options.remove_all:
        say("The panel is stopped; its sandboxes keep running." if stopped else f"No panel runs at {instance.data}.")
        if at_boot:
            say("It stays down when this machine restarts; the next deploy/up has it come back again.")
        return 0
    left = remove_everything(instance)
    if left:
        raise Refused(f"This is still there: {', '.join(left)}; run deploy/down --all again, or remove it by hand.")
    if options.purge:
        _purge(instance.data)
    say(f"Removed. The data is still in {instance.data}." if instance.data.exists() else "Removed.")
    return 0


def remove_everything(instance: Instance) -> list[str]:
    """All but the data directory. Returns what could not be removed."""
    complaint = _remove_sandboxes(instance)
    for process in processes.find(*keeper_words(instance)):
        processes.stop(process, 10)
    left = sweep.cgroups(instance) + unit.remove(instance)
    left += sweep.mounts(instance) + sweep.links(instance) + sweep.rules(instance)
    if complaint and not left:
        say(f"The worker's own cleaning failed ({complaint}); deploy/down did it instead.")
    if not left:
        if (instance.run / MARKER).exists():
            shutil.rmtree(instance.run)
        users.remove(instance)
    return left


def _check_ours(instance: Instance) -> None:
    owner = owner_of_run(instance.run)
    if owner is not None and owner != instance.data:
        raise Refused(
            f"The run directory {instance.run} belongs to the panel with the data directory {owner}: name that with --data."
        )


def _stop_panel(instance: Instance) -> bool:
    """Through the supervisor, which holds the lock; then whatever was left by one that was killed."""
    found = False
    names = ("supervisor", "web", "worker")
    holder = locks.holder(instance.data)
    for name in names:
        path = instance.run / f"{name}.pid"
        if (process := processes.read_pid_file(path)) is not None:
            found = True
            processes.stop(process, STOP_SECONDS)
        with contextlib.suppress(OSError):
            path.unlink()
    if not found and holder is not None and locks.holder(instance.data) is not None:
        raise Refused(
            f"deploy/up is at work on {instance.data} (pid {holder.pid}): wait for it or interrupt it, then run this again."
        )
    return found


def _remove_sandboxes(instance: Instance) -> str:
    """By the worker, which knows what it made. Returns "" or why it could not."""
    argv = worker_argv(instance, "--remove-everything")
    if not Path(argv[0]).exists() or not instance.app.exists() or not instance.run.exists():
        return ""
    say("Stopping and removing the sandboxes …")
    try:
        ran = subprocess.run(
            argv,
            cwd=instance.app,
            env=root_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=REMOVE_SECONDS,
            check=False,
            preexec_fn=lambda: unit.enter(instance, os.getpid()),  # it looks for control groups where it is itself
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {REMOVE_SECONDS:g} seconds"
    if ran.returncode == 0:
        return ""
    return next((line.strip() for line in reversed(ran.stdout.splitlines()) if line.strip()), f"exit code {ran.returncode}")


def _purge(data: Path) -> None:
    """Only a directory that carries our marker; renamed first, so that half of it is never taken for a whole."""
    if not (data / MARKER).exists():
        return
    if sweep.mounts_below(data):
        raise Refused(f"Something is still mounted below {data}: unmount it, then run this again.")
    if os.path.ismount(data):
        for entry in data.iterdir():
            if entry.name != "lost+found":
                _remove(entry)
        return
    doomed = data.with_name(f".{data.name}.removed-{time.time_ns()}")
    data.rename(doomed)
    _remove(doomed)


def _remove(path: Path) -> None:
    try:
        file_tree.remove(str(path))
    except OSError as error:
        raise Refused(f"{path} can't be removed whole: {error}. Remove it by hand.") from None
