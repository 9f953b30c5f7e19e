"""What sandboxes may reach: one nftables table per instance, and the rules that let its packets past Docker's.

    sandbox → out by an uplink     accepted, masqueraded        sandbox → the bridge's gateway   ping only
    sandbox → another sandbox      refused (the port too)       sandbox → the host, TCP, UDP …   refused
    anything → sandbox             replies only                 host → sandbox                   accepted

A sandbox is added without touching a rule: all of them name the bridge or the subnet. An accept in our table ends our
chain only, so a packet still has to pass the host's other tables, and a drop there can't be overruled: where iptables
drops what is forwarded (Docker, ufw) two rules go there too, marked by a comment. IPv6 is off for sandboxes.
Sources: nft(8), iptables(8), the Docker manual's "Packet filtering and firewalls".
"""

from __future__ import annotations

import shlex
import shutil
import subprocess

from ..errors import KernelRefused, Unsupported

_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_CHAINS = ("DOCKER-USER", "FORWARD")


def table_name(tag: str) -> str:
    return f"terrarium_{tag}"


def ruleset(tag: str, bridge: str, subnet: str, gateway: str, uplinks: list[str], opened: list[str]) -> str:
    """The script for ``nft -f``; it replaces our table in one transaction.

    ``opened`` are the uplinks that forward only because we made them: nothing but our packets may use that.
    """
    table = table_name(tag)
    out = f"oifname {_names(uplinks)} accept" if uplinks else "# no way out of this host"
    guard = f"iifname {_names(opened)} oifname {_names(uplinks)} drop" if opened else "# the uplinks forwarded before us"
    return f"""
table inet {table}
delete table inet {table}
table inet {table} {{
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname "{bridge}" jump to_host
    }}
    chain to_host {{
        meta nfproto ipv6 drop
        ip saddr != {subnet} drop
        ct state established,related accept
        ip daddr {gateway} icmp type echo-request accept
        reject with icmpx admin-prohibited
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname "{bridge}" jump from_sandbox
        oifname "{bridge}" jump to_sandbox
        {guard}
    }}
    chain from_sandbox {{
        meta nfproto ipv6 drop
        ip saddr != {subnet} drop
        ct state established,related accept
        {out}
        reject with icmpx admin-prohibited
    }}
    chain to_sandbox {{
        ct state established,related accept
        reject with icmpx admin-prohibited
    }}
    chain leave {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {subnet} oifname != "{bridge}" masquerade
    }}
}}
"""


def apply(script: str) -> None:
    nft = _program("nft")
    if nft is None:
        raise Unsupported("The program nft is missing.", hint="Install it: apt-get install nftables.")
    done = subprocess.run([nft, "-f", "-"], input=script, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise KernelRefused(
            f"The firewall rules were refused: {_first_line(done.stderr)}",
            hint="The kernel needs nf_tables with inet, nat, masquerade and reject.",
        )


def remove_table(tag: str) -> None:
    """No error when there is none."""
    if _program("nft") is not None:
        table = table_name(tag)
        apply(f"table inet {table}\ndelete table inet {table}\n")


def let_past_iptables(tag: str, bridge: str) -> bool:
    """Put our rules where iptables drops what is forwarded, unless they are there. True when they are needed."""
    docker = _list_chain("DOCKER-USER")
    chain, rules = "DOCKER-USER", docker
    if not docker:
        chain, rules = "FORWARD", _list_chain("FORWARD")
        if not any(rule.startswith("-P FORWARD DROP") for rule in rules):
            return False
    mark = ["-m", "comment", "--comment", f"terrarium-{tag}"]
    outward = ["-i", bridge, *mark, "-j", "ACCEPT"]
    replies = ["-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", *mark, "-j", "ACCEPT"]
    ours = [shlex.split(rule) for rule in rules if f"terrarium-{tag}" in rule]
    for wanted in (outward, replies):
        if not any(rule[2:4] == wanted[:2] for rule in ours):
            _iptables("-I", chain, *wanted)
    return True


def remove_iptables_rules(tag: str) -> None:
    for chain in _CHAINS:
        for rule in _list_chain(chain):
            words = shlex.split(rule)
            if f"terrarium-{tag}" in words and words[0] == "-A":
                _iptables("-D", *words[1:])


def _list_chain(chain: str) -> list[str]:
    """The chain's rules as iptables writes them; none when there is no such chain or no iptables."""
    iptables = _program("iptables")
    if iptables is None:
        return []
    command = [iptables, "-w", "5", "-S", chain]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


def _iptables(*arguments: str) -> None:
    iptables = _program("iptables") or "iptables"
    done = subprocess.run([iptables, "-w", "5", *arguments], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise KernelRefused(
            f"A rule for sandboxes was refused by iptables: {_first_line(done.stderr)}",
            hint="Look at iptables -S FORWARD and iptables -S DOCKER-USER.",
        )


def _program(name: str) -> str | None:
    return shutil.which(name, path=_PATH)


def _names(links: list[str]) -> str:
    return "{ " + ", ".join(f'"{link}"' for link in links) + " }"


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[0]
