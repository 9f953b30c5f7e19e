"""What sandboxes may reach: nftables tables of the instance, and the rules that let its packets past Docker's.

    sandbox → out by an uplink     accepted, masqueraded        sandbox → the bridge's gateway   ping only
    sandbox → another sandbox      refused (the port too)       sandbox → the host, TCP, UDP …   refused
    anything → sandbox             replies, published ports     host → sandbox                   accepted

All by the addresses that packets come from, which are their senders' own: a table beside it sees to that (spoofing.py).
The same for IPv4 and IPv6; an internal network has no way out, in one that is not isolated the sandboxes reach each other.
A sandbox is added without touching a rule (all of them name the bridge or the subnet), unless it publishes ports: those are
destination rules, for packets that come to an address of this host and for what this host sends itself.
An accept in our table ends our chain only, so a packet still has to pass the host's other tables, and a drop there can't be
overruled: where iptables drops what is forwarded (Docker, ufw) two rules for each bridge go there too, marked by a comment.
Sources: nft(8), iptables(8), iptables-extensions(8), the Docker manual's "Packet filtering and firewalls".
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import KernelRefused, Unsupported
from . import spoofing
from .network import Network
from .ports import Published

_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_CHAINS = ("DOCKER-USER", "FORWARD")
_PROGRAMS = ("iptables", "ip6tables")


def table_name(tag: str) -> str:
    return f"terrarium_{tag}"


@dataclass(frozen=True, slots=True)
class Way:
    """How one family's packets leave this host: ``family`` is "ipv4" or "ipv6".

    ``opened`` are the uplinks that forward only because we made them: nothing but our packets may use that.
    """

    family: str
    uplinks: list[str]
    opened: list[str]


def ruleset(tag: str, networks: Sequence[Network], ways: Sequence[Way], published: Sequence[Published]) -> str:
    """The script for ``nft -f``; it replaces our tables in one transaction."""
    table = table_name(tag)
    base = {
        "input": ("filter hook input priority filter", [_jump(one, "iifname", "to_host") for one in networks]),
        "forward": ("filter hook forward priority filter", [*_forward(networks), *_guards(ways)]),
        "leave": ("nat hook postrouting priority srcnat", [rule for one in networks for rule in _leave(one)]),
        "martian": ("filter hook prerouting priority raw", [f'iifname "tr{tag}*" ip daddr 127.0.0.0/8 drop']),
    }
    chains = {name: rules for one in networks for name, rules in _of_network(one, ways).items()}
    if published:
        base["arrive"] = ("nat hook prerouting priority dstnat", ["fib daddr type local jump ports"])
        base["answer"] = ("nat hook output priority -100", ["ip6 daddr != ::1 fib daddr type local jump ports"])
        base["answer"][1].append("meta nfproto ipv4 fib daddr type local jump ports")
        isolated = {one.name: one.bridge for one in networks if one.isolated}
        ports = [rule for one in published for rule in port_rules(one, isolated.get(one.network, ""))]
        chains = {"ports": ports} | chains  # before whoever jumps there
    lines = [f"table inet {table}", f"delete table inet {table}", f"table inet {table} {{"]
    for name, rules in chains.items():
        lines += [f"    chain {name} {{", *(f"        {rule}" for rule in rules), "    }"]
    for name, (hook, rules) in base.items():
        lines += [f"    chain {name} {{", f"        type {hook}; policy accept;", *(f"        {rule}" for rule in rules), "    }"]
    return "\n".join([*lines, "}", *spoofing.rules(table, f"tr{tag}-", networks), ""])


def _chain(network: Network, what: str) -> str:
    return f"{what}_{network.bridge.replace('-', '_')}"


def _jump(network: Network, side: str, what: str) -> str:
    return f'{side} "{network.bridge}" jump {_chain(network, what)}'


def _forward(networks: Sequence[Network]) -> list[str]:
    rules = [f'iifname "{one.bridge}" oifname "{one.bridge}" accept' for one in networks if not one.isolated]
    rules += [_jump(one, "iifname", "from") for one in networks]
    return rules + [_jump(one, "oifname", "to") for one in networks]


def _guards(ways: Sequence[Way]) -> list[str]:
    return [
        f"meta nfproto {way.family} iifname {_names(way.opened)} oifname {_names(way.uplinks)} drop"
        for way in ways
        if way.opened and way.uplinks
    ]


def _of_network(network: Network, ways: Sequence[Way]) -> dict[str, list[str]]:
    """The three chains of a network: what it may send to the host and through it, and what may come to it."""
    own = [f"ip saddr != {network.subnet} drop"]
    own.append(f"ip6 saddr != {network.subnet6} drop" if network.subnet6 is not None else "meta nfproto ipv6 drop")
    pings = [f"ip daddr {network.gateway} icmp type echo-request accept"]
    neighbours = []
    if network.subnet6 is not None:
        pings.append(f"ip6 daddr {network.gateway6} icmpv6 type echo-request accept")
        neighbours = ["icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"]
    known, refuse = "ct state established,related accept", "reject with icmpx admin-prohibited"
    out = [f"meta nfproto {way.family} oifname {_names(way.uplinks)} accept" for way in ways if way.uplinks]
    out = [*out, "ct status dnat accept"] if network.nat else ["# internal: no way out"]
    return {
        _chain(network, "to_host"): [*own, *neighbours, known, *pings, refuse],
        _chain(network, "from"): [*own, known, *out, refuse],
        _chain(network, "to"): [known, *(["ct status dnat accept"] if network.nat else []), refuse],
    }


def _leave(network: Network) -> list[str]:
    """Under the host's address: what leaves it, and what comes back to the same bridge by a published port."""
    if not network.nat:
        return []
    bridge, rules = network.bridge, [f'oifname "{network.bridge}" ip saddr 127.0.0.0/8 masquerade']
    families = [("ip", str(network.subnet))] + ([("ip6", str(network.subnet6))] if network.subnet6 is not None else [])
    for family, subnet in families:
        rules.append(f'{family} saddr {subnet} oifname != "{bridge}" masquerade')
        rules.append(f'{family} saddr {subnet} oifname "{bridge}" ct status dnat masquerade')
    return rules


def masqueraded(tag: str) -> set[str]:
    """The bridges that a way leads off by the rules that stand, by the first of ``_leave``."""
    nft = _program("nft")
    command = [nft or "nft", "list", "chain", "inet", table_name(tag), "leave"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False) if nft else None
    return set(re.findall(r'oifname "([^"]+)" ip saddr 127\.0\.0\.0/8 masquerade', done.stdout)) if done else set()


def bridged_packets_pass(program: str) -> bool:
    """Whether what is only bridged goes through the rules of iptables or ip6tables too (br_netfilter)."""
    try:
        with open(f"/proc/sys/net/bridge/bridge-nf-call-{program}", encoding="ascii") as file:
            return file.read().strip() == "1"
    except FileNotFoundError:
        return False


def port_rules(port: Published, bridge: str = "") -> list[str]:
    """A destination rule for each family that it is published in.

    ``bridge`` is the one whose isolated ports it is on: a sandbox of the same network gets no further where br_netfilter is at
    work, which bridges what turns out to be for the bridge that it came from. It is refused then, rather than lost.
    Source: networking/ip-sysctl.rst (bridge-nf-call-iptables).
    """
    rules = []
    for family, nfproto, every, address, program in (
        ("ip", "ipv4", "0.0.0.0", port.address, "iptables"),
        ("ip6", "ipv6", "::", f"[{port.address6}]" if port.address6 else "", "ip6tables"),
    ):
        if not address or (port.host_ip and (":" in port.host_ip) != (family == "ip6")):
            continue
        at = f"{family} daddr {port.host_ip}" if port.host_ip not in ("", every) else f"meta nfproto {nfproto}"
        at = f'iifname != "{bridge}" {at}' if bridge and bridged_packets_pass(program) else at
        rules.append(f"{at} {port.protocol} dport {port.host_port} dnat {family} to {address}:{port.container_port}")
    return rules


def let_loopback_in(bridge: str, on: bool) -> None:
    """Whether packets of 127.0.0.1 may go to the bridge, as a port published there needs it. Ours drops those that come from it.

    Source: networking/ip-sysctl.rst, route_localnet.
    """
    path = f"/proc/sys/net/ipv4/conf/{bridge}/route_localnet"
    with open(path, "r+", encoding="ascii") as file:
        if file.read().strip() != str(int(on)):
            file.seek(0)
            file.write(str(int(on)))


def apply(script: str) -> None:
    nft = _program("nft")
    if nft is None:
        raise Unsupported("The program nft is missing.", hint="Install it: apt-get install nftables.")
    done = subprocess.run([nft, "-f", "-"], input=script, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise KernelRefused(
            f"The firewall rules were refused: {_first_line(done.stderr)}",
            hint="The kernel needs nf_tables with inet, bridge, nat, masquerade, fib and reject.",
        )


def remove_tables(tag: str) -> None:
    """No error when there is none."""
    if _program("nft") is not None:
        table = table_name(tag)
        apply("".join(f"table {family} {table}\ndelete table {family} {table}\n" for family in ("inet", "bridge")))


def let_past_iptables(tag: str, bridges: Sequence[str], *, ipv6: bool) -> bool:
    """Put our rules where iptables drops what is forwarded, unless they are there. True when they are needed."""
    needed = [_let_past(program, tag, bridges) for program in _PROGRAMS[: 2 if ipv6 else 1]]
    return any(needed)


def _let_past(program: str, tag: str, bridges: Sequence[str]) -> bool:
    chains = _list_chains(program)
    chain = "DOCKER-USER" if "DOCKER-USER" in chains else "FORWARD"
    rules = chains.get(chain, [])
    if chain == "FORWARD" and "-P FORWARD DROP" not in rules:
        return False
    mark = ["-m", "comment", "--comment", f"terrarium-{tag}"]
    ours = [words for rule in rules if f"terrarium-{tag}" in (words := shlex.split(rule))]
    for words in ours:
        if words[3] not in bridges:  # of a network that has been removed
            _iptables(program, "-D", *words[1:])
    for bridge in bridges:
        outward = ["-i", bridge, *mark, "-j", "ACCEPT"]
        inward = ["-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED,DNAT", *mark, "-j", "ACCEPT"]
        for wanted in (outward, inward):
            if not any(words[2:4] == wanted[:2] for words in ours):
                _iptables(program, "-I", chain, *wanted)
    return True


def remove_iptables_rules(tag: str) -> None:
    for program in _PROGRAMS:
        chains = _list_chains(program)
        for chain in _CHAINS:
            for rule in chains.get(chain, []):
                words = shlex.split(rule)
                if f"terrarium-{tag}" in words and words[0] == "-A":
                    _iptables(program, "-D", *words[1:])


def _list_chains(program: str) -> dict[str, list[str]]:
    """Chain of the filter table → its rules as iptables writes them; none when there is no such table or no iptables."""
    iptables = _program(program)
    if iptables is None:
        return {}
    done = subprocess.run([iptables, "-w", "5", "-S"], capture_output=True, text=True, timeout=30, check=False)
    found: dict[str, list[str]] = {}
    for rule in done.stdout.splitlines() if done.returncode == 0 else []:
        found.setdefault(rule.split()[1], []).append(rule)
    return found


def _iptables(program: str, *arguments: str) -> None:
    command = [_program(program) or program, "-w", "5", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise KernelRefused(
            f"A rule for sandboxes was refused by {program}: {_first_line(done.stderr)}",
            hint=f"Look at {program} -S FORWARD and {program} -S DOCKER-USER.",
        )


def _program(name: str) -> str | None:
    return shutil.which(name, path=_PATH)


def _names(links: list[str]) -> str:
    return "{ " + ", ".join(f'"{link}"' for link in links) + " }"


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[0]
