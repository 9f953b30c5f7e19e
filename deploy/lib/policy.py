"""DATA/policy.toml: what the worker lets the web half ask for. Written once, then the administrator's."""

from __future__ import annotations

import re
from pathlib import Path

from .instance import Instance, write_file
from .users import COUNT

_TEXT = """\
# What the worker, which is root, allows to the web half, which is not. Whoever takes over the web half gets no more than
# this file says. Only root can change it; the worker reads it when it starts (deploy/down, then deploy/up).

[peers]
# The users that may connect to the worker's socket: root and the web half's own.
uids = [0, {uid}]

[uids]
# The range from which each sandbox gets 65,536 ids of its own, as registered in /etc/subuid and /etc/subgid.
base = {base}
count = {count}

[allow]
# Namespaces that a sandbox may share with the host. For "user" there is no_user_namespace; "mnt" is nobody's.
host_namespaces = ["net", "pid", "ipc", "uts", "time", "cgroup"]
# Directories of the host that may be bound into a sandbox, for example ["/srv/data"].
bind_paths = []
# Capabilities beyond the default set.
capabilities = false
# Sandboxes without a user namespace: their root is the host's root.
no_user_namespace = false
# Sandboxes without the filter of system calls.
seccomp_off = false
# Ports of this machine that sandboxes may publish, and the networks of this machine's addresses that they may do it on.
ports = ["1024-65535"]
port_addresses = ["0.0.0.0/0", "::/0"]
# Programs that run before all others (the limit rtprio), past any limit on their CPU time: they can hold up the whole machine.
real_time = false
# Programs that the kernel spares when memory is short (oom_score_adj below 0), at the cost of all others.
oom_score_below_zero = false
# Bind mounts that are the host's peers: what a sandbox mounts below them appears on the host.
shared_mounts = false
# Ids outside of [uids] that a sandbox's id map may lead to, for example ["1000", "2000-2999"]. 0 is the host's root.
id_maps = []
# Staff may move running processes of this machine into a sandbox's control group.
add_process = true
# The image "host": sandboxes that see this machine's programs and settings, read-only, as far as anyone may read them.
host_image = false
# Directories of the host in which there are root file systems or archives that may become images, for example ["/srv/roots"].
import_paths = []
# Registries that images may be fetched from; the worker asks no other host. With a port where it is not 443.
registries = ["docker.io", "ghcr.io", "quay.io"]
# Registries that speak plain http, for example ["127.0.0.1:5000"].
insecure_registries = []
# Tools that staff open beside a running container, in its namespaces; of one without a user namespace as the host's root.
toolbox = true

[limits]
# The largest limits that may be asked for, for example memory = "8G", cpu = 4, pids = 4096. Left out: what the host has.
# The largest image, unpacked, and the most files in one.
image_size = "8G"
image_entries = 1000000
"""


def ensure(instance: Instance) -> None:
    """Write it if there is none; else keep all but the ids, which are this machine's."""
    path = instance.data / "policy.toml"
    text = path.read_text() if path.exists() else _TEXT.format(uid=instance.uid, base=instance.ids_base, count=COUNT)
    wanted = _with_ids(text, instance)
    if not path.exists() or wanted != text:
        write_file(path, wanted, 0o600)


def _with_ids(text: str, instance: Instance) -> str:
    """``down --all`` frees the user and the range; a later deploy/up may get others."""
    known = instance.data / "stamps" / "web-uid"
    old = known.read_text().strip() if known.exists() else str(instance.uid)
    text = re.sub(rf"^(uids\s*=\s*\[[^\]]*)\b{old}\b", rf"\g<1>{instance.uid}", text, count=1, flags=re.M)
    text = re.sub(r"^base\s*=.*$", f"base = {instance.ids_base}", text, count=1, flags=re.M)
    _remember(known, instance.uid)
    return text


def _remember(path: Path, uid: int) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if not path.exists() or path.read_text() != f"{uid}\n":
        write_file(path, f"{uid}\n", 0o600)
