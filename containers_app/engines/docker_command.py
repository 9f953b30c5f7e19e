"""A container's Config and HostConfig → the `docker run` that makes the same. Source of the flags: docker-run(1)."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from . import docker_limits

Record = Mapping[str, Any]
_NANOSECONDS = 10**9

# A field of HostConfig → its flag; what is empty, 0, "default" or Docker's word for no limit needs none.
_HOST_FLAGS = (
    ("NetworkMode", "--network"), ("PidMode", "--pid"), ("IpcMode", "--ipc"), ("UTSMode", "--uts"), ("UsernsMode", "--userns"),
    ("CgroupnsMode", "--cgroupns"), ("CgroupParent", "--cgroup-parent"), ("CpuShares", "--cpu-shares"),
    ("CpuQuota", "--cpu-quota"), ("CpuPeriod", "--cpu-period"), ("CpusetCpus", "--cpuset-cpus"), ("CpusetMems", "--cpuset-mems"),
    ("Memory", "--memory"), ("MemoryReservation", "--memory-reservation"), ("MemorySwap", "--memory-swap"),
    ("PidsLimit", "--pids-limit"), ("BlkioWeight", "--blkio-weight"), ("OomScoreAdj", "--oom-score-adj"),
    ("VolumeDriver", "--volume-driver"),
)  # fmt: skip
_HOST_LISTS = (
    ("CapDrop", "--cap-drop"), ("CapAdd", "--cap-add"), ("SecurityOpt", "--security-opt"), ("Binds", "--volume"),
    ("VolumesFrom", "--volumes-from"), ("Dns", "--dns"), ("DnsSearch", "--dns-search"), ("DnsOptions", "--dns-option"),
    ("ExtraHosts", "--add-host"), ("GroupAdd", "--group-add"), ("DeviceCgroupRules", "--device-cgroup-rule"),
)  # fmt: skip
_HOST_TABLES = (("Sysctls", "--sysctl"), ("StorageOpt", "--storage-opt"))  # name → value
_DEVICE_RATES = (
    ("BlkioDeviceReadBps", "--device-read-bps"), ("BlkioDeviceWriteBps", "--device-write-bps"),
    ("BlkioDeviceReadIOps", "--device-read-iops"), ("BlkioDeviceWriteIOps", "--device-write-iops"),
)  # fmt: skip
_HOST_SWITCHES = (
    ("ReadonlyRootfs", "--read-only"), ("Privileged", "--privileged"), ("Init", "--init"), ("AutoRemove", "--rm"),
    ("PublishAllPorts", "--publish-all"), ("OomKillDisable", "--oom-kill-disable"),
)  # fmt: skip
_CONFIG_FLAGS = (("User", "--user"), ("WorkingDir", "--workdir"), ("Domainname", "--domainname"), ("StopSignal", "--stop-signal"))
_CONFIG_SWITCHES = (("Tty", "-t"), ("OpenStdin", "-i"))
_ALWAYS_PRIVATE = ("--pid", "--uts", "--userns")  # unless they say otherwise; Podman records it, Docker refuses the word
_DEFAULT_SHM = 64 << 20  # bytes


def run_command(name: str, config: Record, host: Record, start: bool = True) -> str:
    """``config`` and ``host``: the Config and HostConfig of a create's body or of an inspected container."""
    words = ["docker", "run", "-d"] if start else ["docker", "create"]
    words += ["--name", name]
    words += _limits(host) + _confinement(host) + _network(config, host) + _life(config, host) + _files(config, host)
    for value in config.get("Env") or ():
        words += ["--env", str(value)]
    for key, value in (config.get("Labels") or {}).items():
        words += ["--label", f"{key}={value}"]
    words += _flags(config, _CONFIG_FLAGS)
    words += [flag for field, flag in _CONFIG_SWITCHES if config.get(field)]
    entrypoint = list(config.get("Entrypoint") or ())
    words += ["--entrypoint", str(entrypoint[0])] if entrypoint else []
    return shlex.join([*words, str(config.get("Image", "")), *map(str, entrypoint[1:]), *map(str, config.get("Cmd") or ())])


def _flags(record: Record, table: Iterable[tuple[str, str]]) -> list[str]:
    found = []
    for field, flag in table:
        value = record.get(field)
        if value == "private" and flag in _ALWAYS_PRIVATE:
            continue
        if value and value not in ("default", docker_limits.UNLIMITED) and not (value == -1 and field == "MemoryReservation"):
            found += [flag, str(value)]
    return found


def _limits(host: Record) -> list[str]:
    both = host.get("NanoCpus") and host.get("CpuQuota")  # Podman says it twice, but it may be asked for once only
    words = ["--cpus", _decimal(host["NanoCpus"])] if host.get("NanoCpus") and not both else []
    words += _flags(host, _HOST_FLAGS)
    if (swappiness := host.get("MemorySwappiness")) is not None and swappiness >= 0:
        words += ["--memory-swappiness", str(swappiness)]
    for limit in host.get("Ulimits") or ():
        name = str(limit.get("Name")).removeprefix("RLIMIT_").lower()  # Podman has the kernel's names
        words += ["--ulimit", f"{name}={limit.get('Soft')}:{limit.get('Hard')}"]
    for field, flag in _DEVICE_RATES:
        for rate in host.get(field) or ():
            words += [flag, f"{rate.get('Path')}:{rate.get('Rate')}"]
    for device in host.get("BlkioWeightDevice") or ():
        words += ["--blkio-weight-device", f"{device.get('Path')}:{device.get('Weight')}"]
    return words


def _confinement(host: Record) -> list[str]:
    words: list[str] = []
    for field, flag in _HOST_LISTS:
        for value in host.get(field) or ():
            words += [flag, str(value)]
    for field, flag in _HOST_TABLES:
        for key, value in (host.get(field) or {}).items():
            words += [flag, f"{key}={value}"]
    if host.get("MaskedPaths") == [] and not host.get("Privileged"):
        words += ["--security-opt", "systempaths=unconfined"]
    return words + [flag for field, flag in _HOST_SWITCHES if host.get(field)]


def _network(config: Record, host: Record) -> list[str]:
    """No host name where it is another's: the command line refuses it beside --uts host and --network container:ID."""
    words: list[str] = []
    for port, bindings in (host.get("PortBindings") or {}).items():
        for one in bindings or ():
            address, chosen = str(one.get("HostIp") or ""), str(one.get("HostPort") or "")
            address = f"[{address}]" if ":" in address else address
            place = f"{address}:{chosen}:" if address else f"{chosen}:" if chosen else ""
            words += ["--publish", place + str(port)]
    for port in config.get("ExposedPorts") or {}:
        words += [] if port in (host.get("PortBindings") or {}) else ["--expose", str(port)]
    borrowed = host.get("UTSMode") == "host" or str(host.get("NetworkMode")).startswith("container:")
    if config.get("Hostname") and not borrowed:
        words += ["--hostname", str(config["Hostname"])]
    return words


def _life(config: Record, host: Record) -> list[str]:
    words: list[str] = []
    policy = host.get("RestartPolicy") or {}
    if policy.get("Name") not in (None, "", "no"):
        retries = policy.get("MaximumRetryCount") or 0
        words += ["--restart", f"{policy['Name']}:{retries}" if retries else str(policy["Name"])]
    if config.get("StopTimeout") is not None:
        words += ["--stop-timeout", str(config["StopTimeout"])]
    health = config.get("Healthcheck") or {}
    test = list(health.get("Test") or ())
    if test[:1] == ["NONE"]:
        return [*words, "--no-healthcheck"]
    if test[:1] == ["CMD-SHELL"]:  # the form "CMD" can only come from the image, where it still is
        words += ["--health-cmd", str(test[1])]
    for field, flag in (("Interval", "interval"), ("Timeout", "timeout"), ("StartPeriod", "start-period")):
        words += [f"--health-{flag}", _decimal(health[field]) + "s"] if health.get(field) else []
    return words + (["--health-retries", str(health["Retries"])] if health.get("Retries") else [])


def _files(config: Record, host: Record) -> list[str]:
    words: list[str] = []
    for mount in host.get("Mounts") or ():
        words += ["--mount", _mount(mount)]
    for target, options in (host.get("Tmpfs") or {}).items():
        words += ["--tmpfs", f"{target}:{options}" if options else str(target)]
    for device in host.get("Devices") or ():
        words += ["--device", f"{device.get('PathOnHost')}:{device.get('PathInContainer')}:{device.get('CgroupPermissions')}"]
    named = {str(bind).split(":")[1] for bind in host.get("Binds") or () if ":" in str(bind)}
    named |= {str(mount.get("Target")) for mount in host.get("Mounts") or ()}
    for target in config.get("Volumes") or {}:
        words += [] if target in named else ["--volume", str(target)]
    if (size := host.get("ShmSize")) and size != _DEFAULT_SHM:
        words += ["--shm-size", str(size)]
    return words


def _mount(mount: Record) -> str:
    words = [f"type={mount.get('Type')}"]
    words += [f"source={mount['Source']}"] if mount.get("Source") else []
    words += [f"target={mount.get('Target')}"] + (["readonly"] if mount.get("ReadOnly") else [])
    if propagation := (mount.get("BindOptions") or {}).get("Propagation"):
        words.append(f"bind-propagation={propagation}")
    if size := (mount.get("TmpfsOptions") or {}).get("SizeBytes"):
        words.append(f"tmpfs-size={size}")
    if mode := (mount.get("TmpfsOptions") or {}).get("Mode"):
        words.append(f"tmpfs-mode={mode:o}")
    return ",".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    """--mount is read as one line of CSV (RFC 4180)."""
    return '"' + word.replace('"', '""') + '"' if "," in word or '"' in word else word


def _decimal(nano: int) -> str:
    """10⁻⁹ units → units, exactly."""
    return f"{nano // _NANOSECONDS}.{nano % _NANOSECONDS:09}".rstrip("0").rstrip(".")
