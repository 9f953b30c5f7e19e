"""Coming back when the host restarts: a service of systemd that executes deploy/up, once, at boot.

    /etc/systemd/system/terrarium-TAG.service    there and enabled from deploy/up --at-boot until deploy/down

It executes what is installed in the data directory, so a clone that moved or changed since is no matter, and the options are
those that instance.json remembers. It ends when the panel serves: the daemons are in the scope (unit.py), not in the service.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from . import unit
from .console import Refused
from .instance import Instance, write_file

_UNITS = Path("/etc/systemd/system")
_SECONDS = 60.0  # systemd reads all of its units anew
_TEXT = """\
# Written by deploy/up --at-boot, removed by deploy/down.
[Unit]
Description=Start of Terrarium at {data}
Wants=network-online.target
After=network-online.target docker.service
RequiresMountsFor={mounts}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=:/bin/bash {command}

[Install]
WantedBy=multi-user.target
"""


def check(instance: Instance) -> None:
    """Refuses what this machine can't do."""
    if instance.at_boot and not unit.is_systemd_host():
        raise Refused(
            "--at-boot needs systemd, which does not run this machine: use --no-at-boot and put "
            f"'@reboot {shlex.join(_command(instance))}' into root's crontab."
        )


def follow(instance: Instance) -> str:
    """Have systemd start the panel at boot, or not, as the instance says. Returns a line for the person, "" without systemd."""
    if not instance.at_boot:
        remove(instance)
        return "It stays down when this machine restarts; --at-boot has it come back." if unit.is_systemd_host() else ""
    path, text = _path(instance), _text(instance)
    if not path.exists() or path.read_text() != text or not _systemctl("is-enabled", path.name):
        write_file(path, text, 0o644)
        if not _systemctl("enable", path.name):  # and systemd reads all units anew
            raise Refused(f"systemctl enable {path.name} failed: try that by hand, or use --no-at-boot.")
    return f"It comes back when this machine restarts ({path.name})."


def remove(instance: Instance) -> bool:
    """Let the panel stay down. Nothing of it runs in the service, so stopping that ends nothing. Returns whether it was there."""
    path = _path(instance)
    link = _UNITS / "multi-user.target.wants" / path.name
    if not path.exists() and not link.is_symlink():
        return False
    if unit.is_systemd_host():
        _systemctl("disable", "--now", path.name)
    for one in (link, path):
        one.unlink(missing_ok=True)
    if unit.is_systemd_host():
        _systemctl("daemon-reload")
    return True


def _path(instance: Instance) -> Path:
    return _UNITS / f"terrarium-{instance.tag}.service"


def _command(instance: Instance) -> list[str]:
    up = instance.app / "deploy" / "up"
    return [str(up), "--data", str(instance.data), "--run", str(instance.run), "--detach"]


def _text(instance: Instance) -> str:
    return _TEXT.format(
        data=str(instance.data).replace("%", "%%"),
        mounts=" ".join(map(_quoted, (str(instance.data), str(instance.run)))),
        command=" ".join(map(_quoted, _command(instance))),
    )


def _quoted(word: str) -> str:
    """One word for systemd.syntax(7). A path of ours has no backslash, and ":" before the program leaves "$" alone.

    The program itself may have no quote in its name, so it is the shell of deploy/up.
    """
    return '"{}"'.format(word.replace('"', '\\"').replace("%", "%%"))


def _systemctl(*words: str) -> bool:
    """Whether it did as it was told."""
    try:
        ran = subprocess.run(
            ["systemctl", "--quiet", *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return ran.returncode == 0
