"""The Django side of an installation: database, static files, first administrator. Each only when something changed.

manage.py runs as the web user in the web half's view of the files (webspace.py), never as root.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from . import install, webspace
from .console import Refused, say
from .instance import Instance

_ALPHABET = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # nothing that looks like something else


def prepare(instance: Instance, admin_password_file: Path | None) -> None:
    """Raises Refused with manage.py's last line when a step fails; the steps before it are kept."""
    database = instance.data / "web" / "db.sqlite3"
    key = f"{install.app_key()} {install.venv_key()} {install.npm_key()}"
    if install.read_stamp(instance, "migrate") != key or not database.exists():
        say("Preparing the database …")
        _manage(instance, "migrate", "--no-input", "--verbosity", "0")
        install.write_stamp(instance, "migrate", key)
    if install.read_stamp(instance, "static") != key or not (instance.data / "static").exists():
        say("Collecting the static files …")
        _collect_static(instance)
        install.write_stamp(instance, "static", key)
    if not install.read_stamp(instance, "admin"):
        _make_admin(instance, admin_password_file)
        install.write_stamp(instance, "admin", "made")


def _collect_static(instance: Instance) -> None:
    """By the web user into a directory of its own, which then becomes root's."""
    new = instance.data / ".static.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    os.chown(new, instance.uid, instance.gid)
    _manage(instance, "collectstatic", "--no-input", "--verbosity", "0", extra=(webspace.writable(new, "mnt/static"),))
    install.open_to_all(new)
    install.replace_tree(new, instance.data / "static")


def _make_admin(instance: Instance, file: Path | None) -> None:
    if file is not None and file.is_file():
        _manage(instance, "create_admin", "--username", "admin", "--password-stdin", words=file.read_text().strip())
        say(f"The first administrator is admin, with the password in {file}.")
        return
    password = "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))
    if file is not None:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as target:
            target.write(password + "\n")
    _manage(instance, "create_admin", "--username", "admin", "--password-stdin", "--one-time", words=password)
    if file is not None:
        say(f"The first administrator is admin; the one-time password is in {file}.")
    else:
        say(f"\nThe first administrator: admin\nOne-time password:       {password}     (shown this once)\n")


def _manage(instance: Instance, *argv: str, words: str = "", extra: tuple[webspace.Bind, ...] = ()) -> None:
    (instance.data / "static").mkdir(mode=0o755, exist_ok=True)

    def enter() -> None:
        webspace.enter(instance, extra)
        webspace.drop(instance.uid, instance.gid)

    ran = subprocess.run(
        ["/mnt/venv/bin/python", "/mnt/app/manage.py", *argv],
        preexec_fn=enter,
        env=webspace.environment(instance),
        input=words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if ran.returncode != 0:
        if "No space left" in ran.stdout or "disk is full" in ran.stdout:
            raise Refused(f"The disk is full at {instance.data}: free some space, then run this again.")
        lines = [line.strip() for line in ran.stdout.splitlines() if line.strip()] or [f"exit code {ran.returncode}"]
        raise Refused(f"manage.py {argv[0]} failed ({lines[-1][:300]}): see to it, then run this again.")
