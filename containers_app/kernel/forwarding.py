"""IP forwarding, per link: on for the bridge and the uplinks, and off again when the last instance has left.

A packet is forwarded when the link that it came in by has ``forwarding`` set (networking/ip-sysctl.rst), so a sandbox
needs it on the bridge and its replies need it on the uplink; the host-wide ``ip_forward`` is never written. What we
changed is noted in one file for all instances on this host, on a tmpfs as the settings last no longer than the kernel:
the instance that turned an uplink's forwarding on may leave while another one still uses it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..errors import KernelRefused

NOTE = "/run/terrarium-forwarding.json"
_CONF = "/proc/sys/net/ipv4/conf"
_CONF6 = "/proc/sys/net/ipv6/conf"
_SIX = "ipv6:"  # before a link's name in the note; no link that we name has a colon


@contextmanager
def host_lock(note: str) -> Iterator[None]:
    """One instance at a time: held on the note's directory, so that no lock file stays behind."""
    fd = os.open(os.path.dirname(note), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def open_forwarding(bridges: list[str], uplinks: list[str], note: str) -> list[str]:
    """Forward on these links; returns the uplinks that forward for our sake only. Under ``host_lock``."""
    for bridge in bridges:
        _write(f"{_CONF}/{bridge}/forwarding", "1")
    opened = _open(uplinks, note, "", f"{_CONF}/%s/forwarding")
    return [] if _forwards_by_itself() else [link for link in opened if link in uplinks]


def open_forwarding6(bridges: list[str], uplinks: list[str], note: str) -> tuple[list[str], str]:
    """The same for IPv6, and why its packets can't leave this host ("" when they can).

    Before Linux 6.17 (force_forwarding) there is only the switch for the whole host, and that turns a host that asks routers for
    its address into one that does not listen to them: never ours to turn.
    """
    by_itself, by_link = _read(f"{_CONF6}/all/forwarding") == "1", os.path.exists(f"{_CONF6}/all/force_forwarding")
    for bridge in bridges if by_link else ():  # from one of our networks to another's published port, too
        _write(f"{_CONF6}/{bridge}/force_forwarding", "1")
    if not uplinks:
        return [], "This host has no way out by IPv6."
    if by_itself:
        return [], ""
    if not by_link:
        return [], "This host does not forward IPv6: an administrator may set net.ipv6.conf.all.forwarding to 1."
    opened = _open(uplinks, note, _SIX, f"{_CONF6}/%s/force_forwarding")
    return [link for link in opened if link in uplinks], ""


def _open(uplinks: list[str], note: str, mark: str, path: str) -> list[str]:
    """Turn it on where it is off; returns the links of that family on which anybody of us has. ``mark`` is the family's."""
    noted = _read_note(note)
    fresh = [link for link in uplinks if _read(path % link) == "0"]
    if fresh:
        noted = sorted({*noted, *(mark + link for link in fresh)})
        write_atomically(note, json.dumps(noted))  # before the change: a crash between the two changes nothing
        for link in fresh:
            _write(path % link, "1")
    return [link.removeprefix(mark) for link in noted if link.startswith(_SIX) == bool(mark)]


def close_forwarding(note: str) -> None:
    """Put back what was changed, unless somebody (Docker, an administrator) has since turned the host into a router."""
    for link in _read_note(note):
        six = link.startswith(_SIX)
        path = f"{_CONF6}/{link.removeprefix(_SIX)}/force_forwarding" if six else f"{_CONF}/{link}/forwarding"
        if (six or not _forwards_by_itself()) and _read(path) == "1":
            _write(path, "0")
    if os.path.exists(note):
        os.unlink(note)


def _forwards_by_itself() -> bool:
    return _read("/proc/sys/net/ipv4/ip_forward") == "1"


def _read_note(note: str) -> list[str]:
    try:
        with open(note, encoding="utf-8") as file:
            links = json.load(file)
    except (FileNotFoundError, ValueError):
        return []
    return [link for link in links if isinstance(link, str) and "/" not in link] if isinstance(links, list) else []


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""  # the link has gone


def _write(path: str, value: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(value)
    except OSError as error:
        raise KernelRefused(
            f"{path} can't be set to {value}: {error.strerror}.", hint="The panel must run where /proc/sys is writable."
        ) from None


def write_atomically(path: str, text: str) -> None:
    """Mode 0600; a reader, or the next start after a power cut, sees the old text or the new one."""
    scratch = f"{path}.{os.getpid()}"
    try:
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError as error:
        with suppress(FileNotFoundError):
            os.unlink(scratch)
        hint = f"Look at df {os.path.dirname(path)}."
        raise KernelRefused(f"{path} can't be written: {error.strerror}.", hint=hint) from None
