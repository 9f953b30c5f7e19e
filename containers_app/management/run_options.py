"""The options of ``sandbox run``: words of a command line → the body that ``POST /api/v1/containers`` would have."""

from __future__ import annotations

import json
from argparse import REMAINDER, ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from .service_command import Options, limit_changes, pairs

# option, metavar, help; each may be given several times
_LISTS = (
    ("limit", "NAME=VALUE", "for example memory=64M, or io_read_bytes.vda=4M for one disk"),
    ("namespace", "TYPE=MODE", "private, host, container:ID or path:/run/…, for example net=none"),
    ("env", "NAME=VALUE", "a variable of its environment"),
    ("label", "NAME=VALUE", "a label"),
    ("publish", "[[ADDRESS:]PORT:]PORT[/udp]", "a port inside that the host answers for"),
    ("dns", "ADDRESS", "a name server"),
    ("add-host", "NAME=ADDRESS", "a line of /etc/hosts"),
    ("mount", "KEY=VALUE,…", "for example type=bind,source=/srv,target=/data,read_only or type=tmpfs,target=/x,size=64M"),
    ("rlimit", "NAME=SOFT[:HARD]", "for example nofile=1024:4096; -1 is unlimited"),
    ("id-map", "INSIDE:OUTSIDE:COUNT", "a line of its user namespace's map"),
    ("time-offset", "CLOCK=SECONDS", "moves its clock monotonic or boottime"),
    ("capability", "NAME", 'one that it keeps, instead of the default set; "none" is no one'),
    ("mask", "PATH", "a path inside that is hidden"),
    ("read-only-path", "PATH", "a path inside that can't be written"),
)
# option, field of the body, help
_WORDS = (
    ("cwd", "cwd", "working directory"),
    ("user", "user", "UID or UID:GID"),
    ("hostname", "hostname", "host name"),
    ("stop-signal", "stop_signal", "signal that asks it to end, for example INT"),
    ("network", "network", "the bridge network of net=bridge"),
    ("group", "group", "the group whose budget it shares"),
)


def add_run_options(run: ArgumentParser) -> None:
    run.add_argument("name")
    run.add_argument("--engine", default="raw")
    run.add_argument("--image", default="busybox")
    for name, metavar, text in _LISTS:
        run.add_argument(f"--{name}", action="append", default=[], metavar=metavar, help=text)
    for name, _, text in _WORDS:
        run.add_argument(f"--{name}", help=text)
    run.add_argument("--init", action="store_true", help="a small first process that forwards signals and reaps")
    run.add_argument("--restart", metavar="POLICY[:RETRIES]", help="no, on-failure, unless-stopped or always")
    run.add_argument("--stop-timeout", type=float, metavar="SECONDS", help="from the stop signal to SIGKILL")
    run.add_argument("--oom-score-adj", type=int, metavar="NUMBER", help="from -1000 to 1000")
    run.add_argument("--seccomp", metavar="default|off|JSON", help="the system call filter, or a profile beside it")
    run.add_argument("--allow-new-privileges", action="store_true", help="set-user-id programs give it privileges")
    run.add_argument("--read-only", action="store_true", help="its root file system can't be written")
    run.add_argument(
        "--no-keep-limits", action="store_true", help="those that Docker's own record has no words for end with each run"
    )
    run.add_argument("--no-start", action="store_true", help="make it only")
    run.add_argument("command", nargs=REMAINDER, help="program and arguments; the image's own if left out")


def body(options: Options) -> dict[str, Any]:
    """What was given, and nothing else: the rest is the spec's own."""
    found: dict[str, Any] = {name: options[name] for name in ("name", "engine", "image", "command")}
    found |= {field: value for name, field, _ in _WORDS if (value := options[name.replace("-", "_")]) is not None}
    found |= {
        "limits": limit_changes(options["limit"]), "namespaces": pairs(options["namespace"]), "env": pairs(options["env"]),
        "labels": pairs(options["label"]), "ports": [port(text) for text in options["publish"]], "dns": options["dns"],
        "extra_hosts": pairs(options["add_host"]), "mounts": [mount(text) for text in options["mount"]],
        "rlimits": {name: _rlimit(value) for name, value in pairs(options["rlimit"]).items()},
        "id_map": [_id_map(text) for text in options["id_map"]],
        "time_offsets": {clock: _number(value) for clock, value in pairs(options["time_offset"]).items()},
        "security": _security(options), "init": options["init"], "start": not options["no_start"],
        "keep_limits": not options["no_keep_limits"],
    }  # fmt: skip
    if options["restart"] is not None:
        found["restart"] = restart(options["restart"])
    found |= {name: options[name] for name in ("stop_timeout", "oom_score_adj") if options[name] is not None}
    return found


def restart(text: str) -> dict[str, Any]:
    """``on-failure:5`` → its policy and retries."""
    policy, colon, retries = text.partition(":")
    return {"policy": policy, "retries": _number(retries) if colon else 0}


def port(text: str) -> dict[str, Any]:
    """``80``, ``8080:80``, ``127.0.0.1:8080:80/udp``, ``[::]:8080:80`` as with `docker run --publish`."""
    place, slash, protocol = text.partition("/")
    front, _, inside = place.rpartition(":")
    address, _, outside = front.rpartition(":")
    given = {"container_port": _number(inside), "protocol": protocol if slash else "tcp"}
    return given | {"host_port": _number(outside) if outside else 0, "host_ip": address.strip("[]")}


def mount(text: str) -> dict[str, Any]:
    """``type=bind,source=/srv,target=/data,read_only`` → a mount."""
    found: dict[str, Any] = {}
    for word in text.split(","):
        name, equals, value = word.partition("=")
        found[name] = value if equals else True
    return found


def _rlimit(text: str) -> dict[str, int]:
    soft, colon, hard = text.partition(":")
    return {"soft": _number(soft), "hard": _number(hard if colon else soft)}


def _id_map(text: str) -> dict[str, int]:
    words = text.split(":")
    if len(words) != 3:
        raise CommandError("An id map is INSIDE:OUTSIDE:COUNT, for example 0:100000:65536.")
    return dict(zip(("inside", "outside", "count"), map(_number, words), strict=True))


def _security(options: Options) -> dict[str, Any]:
    found: dict[str, Any] = {
        "no_new_privs": not options["allow_new_privileges"], "read_only_root": options["read_only"],
        "masked_paths": options["mask"], "read_only_paths": options["read_only_path"],
    }  # fmt: skip
    if options["capability"]:
        names = [name.upper() for name in options["capability"] if name != "none"]
        found["capabilities"] = [name if name.startswith("CAP_") else f"CAP_{name}" for name in names]
    chosen = options["seccomp"]
    if chosen in ("default", "off"):
        found["seccomp"] = chosen
    elif chosen is not None:
        found["seccomp_profile"] = _profile(chosen)
    return found


def _profile(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(f"The seccomp profile is no JSON: {error}.") from None


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise CommandError(f"{text or 'Nothing'} is not a whole number.") from None
