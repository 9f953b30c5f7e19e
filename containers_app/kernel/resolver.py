"""The host's name servers, as a sandbox can use them. Source: resolv.conf(5), systemd-resolved(8)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

# With systemd-resolved the first names only a stub on the host's loopback, the second the servers behind it.
FILES = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")


def name_servers(files: Sequence[str] = FILES, *, loopback: bool = False) -> list[IPv4Address | IPv6Address]:
    """Servers off this host, of the first file that names any; a loopback address is another one in another network namespace."""
    for path in files:
        named = [address for address in map(_address, _lines(path, "nameserver")) if address]
        found = [address for address in named if loopback or not address.is_loopback]
        if found:
            return found
    return []


def resolv_conf(dns: Sequence[str] = (), *, ipv6: bool = False, on_host: bool = False, files: Sequence[str] = FILES) -> str:
    """The text of a sandbox's /etc/resolv.conf: ``dns``, else the host's, those by IPv6 only where it can reach them.

    ``on_host``: in the host's network namespace, where what listens on the host's loopback is there too. Where none is left a
    comment says why: whoever wonders looks there.
    """
    search = [line for path in files[:1] for line in _lines(path, "search")]
    found = name_servers(files, loopback=on_host)
    usable = dns or [str(address) for address in found if ipv6 or address.version == 4]
    lines = [f"nameserver {address}" for address in usable] + [f"search {line}" for line in search[-1:]]
    if not usable:
        lines.insert(0, f"# the host names {_why_none(files, by_ipv6=bool(found))}")
    return "".join(f"{line}\n" for line in lines)


def _why_none(files: Sequence[str], *, by_ipv6: bool) -> str:
    if by_ipv6:
        return "only servers that are reached by IPv6"
    named = any(_address(line) for path in files for line in _lines(path, "nameserver"))
    return "only servers on its own loopback" if named else "no server"


def _lines(path: str, word: str) -> list[str]:
    """What follows ``word`` on each line that begins with it."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            split = (line.split(maxsplit=1) for line in file.read(65536).splitlines())
            return [words[1].strip() for words in split if len(words) == 2 and words[0] == word]
    except OSError:
        return []


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.split()[0])
    except ValueError:
        return None
