"""One panel on this machine: its directories, names and remembered options.

DATA/.terrarium       marker: this directory is ours       RUN/.terrarium   marker; holds the data directory's path
DATA/instance.json    what deploy/up was told last time    RUN/lock         held by the running panel; says where it serves
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .console import Refused
from .options import DEFAULT_DATA, DEFAULT_RUN, Place, UpOptions, check_pair

MARKER = ".terrarium"
DOCKER_SOCKET = "unix:///var/run/docker.sock"


@dataclass(frozen=True)
class Instance:
    """``uid``, ``gid`` are the web user's and ``ids_base`` the first of its sub-ids; -1 while there is no such user.

    ``public_url``: scheme and name (and port) of the proxy in front, as a browser's Origin tells them; "" where there is none.
    """

    data: Path
    run: Path
    port: int = 8000
    host: str = "127.0.0.1"
    docker_host: str = DOCKER_SOCKET
    node: str = ""
    allowed_hosts: str = ""
    public_url: str = ""
    at_boot: bool = False
    uid: int = -1
    gid: int = -1
    ids_base: int = -1

    @property
    def tag(self) -> str:
        return hashlib.sha256(os.fsencode(self.data)).hexdigest()[:6]

    @property
    def user(self) -> str:
        return "terrarium" if self.data == DEFAULT_DATA else f"terrarium-{self.tag}"

    @property
    def app(self) -> Path:
        return self.data / "app"

    @property
    def venv(self) -> Path:
        return self.data / "venv"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def url(self) -> str:
        """Where browsers find it; where no proxy is known, those on this machine."""
        if self.public_url:
            return f"{self.public_url}/"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def public_name(self) -> str:
        """The public URL's host as a Host header has it, without the port."""
        name = urlsplit(self.public_url).hostname or ""
        return f"[{name}]" if ":" in name else name

    def browser_hosts(self) -> str:
        """The Host names that the web half answers to, as a comma list; ``*`` when every address is served."""
        if self.host in ("0.0.0.0", "::"):
            return "*"
        own = socket.gethostname()
        names = [
            "localhost",
            "127.0.0.1",
            "[::1]",
            own,
            f"[{self.host}]" if ":" in self.host else self.host,
            *self.allowed_hosts.split(","),
            self.public_name,
        ]
        return ",".join(dict.fromkeys(name.strip() for name in names if name.strip()))


def load(place: Place) -> Instance:
    """The panel at this place as it was remembered, or with the defaults. Writes nothing."""
    remembered = _read(place.data / "instance.json")
    remembered.pop("run", None)
    run = place.run or remembered_run(place.data) or DEFAULT_RUN
    check_pair(place.data, run)
    return Instance(place.data, run, **remembered)  # type: ignore[arg-type]


def remembered_run(data: Path) -> Path | None:
    """The run directory of the last deploy/up on this data directory."""
    if run := _read(data / "instance.json").get("run"):
        return Path(str(run))
    return _marked(data)  # one that was interrupted wrote no more than the marker


def asked(known: Instance, options: UpOptions) -> Instance:
    """What deploy/up was asked for, over what is remembered."""
    names = ("port", "host", "docker_host", "node", "allowed_hosts", "public_url", "at_boot")
    wanted = {name: getattr(options, name) for name in names}
    instance = dataclasses.replace(known, **{name: value for name, value in wanted.items() if value is not None})
    return instance if instance.node else dataclasses.replace(instance, node=socket.gethostname().split(".")[0] or "local")


def save(instance: Instance) -> None:
    fields = dataclasses.asdict(instance)
    del fields["data"]
    write_file(instance.data / "instance.json", json.dumps(fields | {"run": str(instance.run)}, indent=1) + "\n", 0o600)


def owner_of_run(run: Path) -> Path | None:
    """The data directory of the panel whose run directory this is."""
    return _marked(run)


def write_file(path: Path, text: str, mode: int) -> None:
    """Whole or not at all: a temporary name beside it, then a rename."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with open(descriptor, "w") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)


def _marked(directory: Path) -> Path | None:
    """The other of the two directories, as the marker in this one names it."""
    try:
        text = (directory / MARKER).read_text().strip()
    except OSError:
        return None
    return Path(text) if text else None


def _read(path: Path) -> dict[str, str | int]:
    try:
        raw = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except PermissionError:
        raise Refused("This needs root: run it with sudo.") from None
    except ValueError:
        raise Refused(f"{path} is damaged: remove it and run deploy/up again with the same options.") from None
    known = {field.name for field in dataclasses.fields(Instance)} | {"run"}
    if not isinstance(raw, dict):
        raise Refused(f"{path} is damaged: remove it and run deploy/up again with the same options.")
    return {name: value for name, value in raw.items() if name in known and isinstance(value, (str, int))}
