"""The words after deploy/up, down and manage, each also taken from the environment (``--port`` is ``TERRARIUM_PORT``)."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NoReturn, TypeVar

from .console import Refused

DEFAULT_DATA = Path("/var/lib/terrarium")
DEFAULT_RUN = Path("/run/terrarium")
_SOCKET_PATH_MAX = 107  # bytes, unix(7): sun_path is 108 with its closing zero
_DOCKER_URL = re.compile(r"(?:(?!raw=)[a-z][a-z0-9-]{0,31}=)?(?:unix:///[^\s,]+|tcp://[^\s,/]+)", re.ASCII)
_NODE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9.-]{0,62}", re.ASCII)
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PUBLIC_URL = re.compile(rf"(https?)://({_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::([0-9]{{1,5}}))?/?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Which panel is meant. ``run`` is None when the person did not say: then the data directory remembers it."""

    data: Path
    run: Path | None


@dataclass(frozen=True)
class UpOptions:
    """None means: as last time, or the default."""

    place: Place
    port: int | None
    host: str | None
    docker_host: str | None
    node: str | None
    allowed_hosts: str | None
    public_url: str | None
    admin_password_file: Path | None
    at_boot: bool | None
    detach: bool


@dataclass(frozen=True)
class DownOptions:
    place: Place
    remove_all: bool
    purge: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message[0].upper()}{message[1:].rstrip('.')}; {self.prog} --help lists the options.", exit_code=2)


def parse_up(words: list[str], environ: Mapping[str, str]) -> UpOptions:
    """Raises Refused with exit code 2 for anything that can't be meant."""
    parser = _Parser("deploy/up", description="Set up what is missing and serve the panel.", allow_abbrev=False)
    _add_place(parser)
    parser.add_argument("--port", help="TCP port to serve on (8000)")
    parser.add_argument("--host", help="address to serve on (127.0.0.1); 0.0.0.0 is every address of this machine")
    parser.add_argument(
        "--docker-host",
        metavar="[NAME=]URL",
        action="append",
        help="a Docker daemon (unix:///var/run/docker.sock); several with commas or by giving it again",
    )
    parser.add_argument("--node", metavar="NAME", help="this machine's name in the panel (its host name)")
    parser.add_argument("--allowed-hosts", metavar="NAMES", help="comma list of further names that browsers may use")
    parser.add_argument(
        "--public-url",
        metavar="URL",
        help="where browsers find the panel behind a proxy on this machine, such as https://panel.example; none: no proxy",
    )
    parser.add_argument(
        "--admin-password-file",
        metavar="FILE",
        help="read the first admin's password from FILE; when there is no such file, write the one-time password to it",
    )
    parser.add_argument(
        "--at-boot",
        action=argparse.BooleanOptionalAction,
        help="come back when this machine restarts, until deploy/down; a service of systemd sees to it (no)",
    )
    parser.add_argument("--detach", action="store_true", help="return as soon as the panel serves")
    given = parser.parse_args(words)
    value = _reader(given, environ)
    return UpOptions(
        place=_place(value),
        port=_checked(value("port"), _port),
        host=_checked(value("host"), _host),
        docker_host=_checked(value("docker_host"), _docker_urls),
        node=_checked(value("node"), _node),
        allowed_hosts=value("allowed_hosts"),
        public_url=_checked(value("public_url"), _public_url),
        admin_password_file=_checked(value("admin_password_file"), lambda text: Path(os.path.abspath(text))),
        at_boot=_checked(value("at_boot"), _truth),
        detach=given.detach or _truth(environ.get("TERRARIUM_DETACH", "")),
    )


def parse_down(words: list[str], environ: Mapping[str, str]) -> DownOptions:
    parser = _Parser(
        "deploy/down", description="Stop the panel. Sandboxes keep running unless --all is given.", allow_abbrev=False
    )
    _add_place(parser)
    parser.add_argument(
        "--all", action="store_true", help="also stop and remove every sandbox and all that the panel put on this machine"
    )
    parser.add_argument("--purge", action="store_true", help="also remove the data directory; implies --all")
    given = parser.parse_args(words)
    return DownOptions(_place(_reader(given, environ)), remove_all=given.all or given.purge, purge=given.purge)


def parse_manage(words: list[str], environ: Mapping[str, str]) -> tuple[Place, list[str]]:
    """Our own options come first; everything from the command's name on is manage.py's."""
    parser = _Parser("deploy/manage", description="manage.py with the panel's settings.", allow_abbrev=False)
    _add_place(parser)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="manage.py's command and its words")
    given = parser.parse_args(words)
    return _place(_reader(given, environ)), list(given.command) or ["help"]


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help=f"data directory ({DEFAULT_DATA})")
    parser.add_argument("--run", metavar="DIR", help=f"directory of sockets and pid files ({DEFAULT_RUN})")


def _reader(given: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[str], str | None]:
    def value(name: str) -> str | None:
        text = getattr(given, name)
        if text is None:
            text = environ.get(f"TERRARIUM_{name.upper()}") or None
        elif isinstance(text, list):
            text = ",".join(text)
        if text == "":
            raise Refused(f"--{name.replace('_', '-')} is empty: leave it out or give it a value.", exit_code=2)
        return text if text is None else str(text)

    return value


def _place(value: Callable[[str], str | None]) -> Place:
    data, run = value("data"), value("run")
    place = Place(_directory("--data", data) if data else DEFAULT_DATA, _directory("--run", run) if run else None)
    if place.run is not None:
        check_pair(place.data, place.run)
    return place


def check_pair(data: Path, run: Path) -> None:
    """Neither directory may lie inside the other: each is removed on its own."""
    if data == run or data in run.parents or run in data.parents:
        raise Refused(
            f"The data directory {data} and the run directory {run} must not lie inside each other: choose two.", exit_code=2
        )
    if len(os.fsencode(run / "web" / "worker.sock")) > _SOCKET_PATH_MAX:
        raise Refused(
            f"The run directory's path {run} is too long for a socket: choose one of at most "
            f"{_SOCKET_PATH_MAX - len('/web/worker.sock')} bytes with --run.",
            exit_code=2,
        )


def _directory(option: str, text: str) -> Path:
    if any(character in text for character in ":,\\\n\r\t\0") or not text.isprintable():
        # overlayfs reads ':' ',' and '\' as separators in the names of its layers
        raise Refused(
            f"{option} {text!r} holds a colon, comma, backslash or control character: choose a plainer path.", exit_code=2
        )
    path = Path(os.path.realpath(text))
    if len(path.parts) < 3:
        raise Refused(
            f"{option} {path} is a directory of the system: choose one of the panel's own, such as {DEFAULT_DATA}.", exit_code=2
        )
    return path


def _checked(text: str | None, parse: Callable[[str], T]) -> T | None:
    return None if text is None else parse(text)


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 1 <= int(text) <= 65535:
        raise Refused(f"{text!r} is not a port: give a number from 1 to 65535, for example --port 8000.", exit_code=2)
    return int(text)


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,253}", text, re.ASCII):
        raise Refused(f"{text!r} is not an address: give one such as --host 127.0.0.1.", exit_code=2)
    return text


def _docker_urls(text: str) -> str:
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not _DOCKER_URL.fullmatch(word):
            raise Refused(
                f"{word!r} is not a Docker URL: give one such as --docker-host unix:///var/run/docker.sock.", exit_code=2
            )
        if words.count(word) > 1:
            raise Refused(f"--docker-host {word!r} is there twice: give each daemon once.", exit_code=2)
    return ",".join(words)


def _node(text: str) -> str:
    if not _NODE.fullmatch(text):
        raise Refused(f"{text!r} is not a node's name: use letters, digits, '-' and '.'.", exit_code=2)
    return text


def _public_url(text: str) -> str:
    """As a browser's Origin says it: small letters, an address in its usual form, no default port. "" for none."""
    if text == "none":
        return ""
    refusal = Refused(
        f"{text!r} is not a public URL: give http or https and a name, no path, such as --public-url https://panel.example.",
        exit_code=2,
    )
    if (found := _PUBLIC_URL.fullmatch(text.lower())) is None:
        raise refusal
    scheme, name, port = found.groups()
    number = _DEFAULT_PORTS[scheme] if port is None else int(port)
    try:
        if name.startswith("["):
            name = f"[{IPv6Address(name[1:-1])}]"
        elif name.rpartition(".")[2].isdigit():  # a browser reads what ends in a number as an address
            name = str(IPv4Address(name))
    except ValueError:
        raise refusal from None
    if not 1 <= number <= 65535:
        raise refusal
    return f"{scheme}://{name}" if number == _DEFAULT_PORTS[scheme] else f"{scheme}://{name}:{number}"


def _truth(text: str) -> bool:
    return text.lower() in ("1", "true", "yes", "on")
