"""The panel's own unit, where systemd is the first process: a scope that holds its daemons and sandboxes (kernel/delegation.py).

So they are no part of the login session in which deploy/up was typed, and go on when that ends. The supervisor enters the
unit, or has it made, and all that it starts is born there. Elsewhere there is no unit, and nothing of this happens.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from containers_app.kernel import delegation, mountinfo

from .instance import Instance

_BOOTED = Path("/run/systemd/system")  # sd_booted(3)
_DROP_INS = Path("/run/systemd/system.control")  # what "systemctl --runtime set-property" wrote
_PROPERTIES = ("Delegate=yes", "TasksMax=infinity", "TimeoutStopSec=10s")
_STOP_SECONDS = 30.0  # systemd kills what it stops after TimeoutStopSec


def is_systemd_host() -> bool:
    return _BOOTED.is_dir()


def enclose(instance: Instance, argv: list[str]) -> list[str]:
    """What this process has to execute to be ``argv`` in the panel's unit. One that is there already is entered here."""
    starter = shutil.which("systemd-run")
    if not is_systemd_host() or starter is None or enter(instance, os.getpid()):
        return argv
    words = ["--scope", "--quiet", "--collect", "--slice=-.slice", f"--unit={delegation.unit_name(instance.tag)}"]
    words += [f"--description=Terrarium at {instance.data}", *(f"--property={one}" for one in _PROPERTIES)]
    return [starter, *words, "--", *argv]


def enter(instance: Instance, pid: int) -> bool:
    """Bring a process among the daemons of the panel's unit, in every hierarchy. False when there is none, or it just went."""
    entered = False
    for group in groups(instance):
        version2 = (group / "cgroup.controllers").exists()
        place = group / delegation.DAEMONS if version2 else group
        try:
            place.mkdir(exist_ok=True)
            (place / "cgroup.procs").write_text(f"{pid}\n")
        except OSError:
            return False
        entered = True
    return entered


def groups(instance: Instance) -> list[Path]:
    """The unit's own group in every hierarchy in which systemd made it one; [] where there is no such unit."""
    places = [Path(one.target) for one in mountinfo.mounts("self") if one.type in ("cgroup", "cgroup2")]
    return [group for place in places if (group := place / delegation.unit_name(instance.tag)).is_dir()]


def remove(instance: Instance) -> list[str]:
    """Stop the unit and whatever is left in it. Returns its groups that stay."""
    name = delegation.unit_name(instance.tag)
    if not is_systemd_host():
        return []
    with contextlib.suppress(subprocess.TimeoutExpired, FileNotFoundError):
        subprocess.run(
            ["systemctl", "stop", name], stdin=subprocess.DEVNULL, capture_output=True, timeout=_STOP_SECONDS, check=False
        )  # fails when the unit has gone with its last process
    shutil.rmtree(_DROP_INS / f"{name}.d", ignore_errors=True)
    deadline = time.monotonic() + _STOP_SECONDS
    while (left := groups(instance)) and time.monotonic() < deadline:
        time.sleep(0.02)  # systemd removes them when it gets to it
    return [str(group) for group in left]
