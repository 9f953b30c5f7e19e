"""Totals as text that Prometheus reads, in cAdvisor's names and labels, so that cAdvisor's dashboards work as they are.

Format: Prometheus text exposition 0.0.4. Names, types and labels: cAdvisor, docs/storage/prometheus.md. ``engine`` is our
own label. The whole host is id="/", without a name. What is not known has no sample, rather than a 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from .worker.protocol import Metrics, Totals

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CPU_PERIOD = 100_000  # µs; the quota is told in the period that containers are given

Value = float | None
Labels = Mapping[str, str]
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")

# metric, type, help, the group's value
_SINGLE: tuple[tuple[str, str, str, Callable[[Totals], Value]], ...] = (
    ("container_start_time_seconds", "gauge", "Start of the container, in seconds since 1970.", lambda one: one.started_at),
    ("container_cpu_cfs_periods_total", "counter", "CPU periods that have passed.", lambda one: one.periods),
    ("container_cpu_cfs_throttled_periods_total", "counter", "CPU periods in which it was held back.",
     lambda one: one.throttled_periods),
    ("container_cpu_cfs_throttled_seconds_total", "counter", "Time for which it was held back.", lambda one: one.throttled),
    ("container_memory_usage_bytes", "gauge", "Memory in use, with all file cache.", lambda one: one.memory),
    ("container_memory_working_set_bytes", "gauge", "Memory in use, without inactive file cache.", lambda one: one.working_set),
    ("container_memory_rss", "gauge", "Memory that no file backs, in bytes.", lambda one: one.anonymous),
    ("container_memory_cache", "gauge", "File cache, in bytes.", lambda one: one.files),
    ("container_oom_events_total", "counter", "Processes killed for want of memory.", lambda one: one.oom_kills),
    ("container_processes", "gauge", "Processes.", lambda one: one.processes),
    ("container_threads", "gauge", "Threads, those of all processes.", lambda one: one.threads),
    ("container_threads_max", "gauge", "Limit of threads; 0 for none.", lambda one: one.pids_limit),
    ("container_spec_cpu_period", "gauge", "CPU period, in microseconds.",
     lambda one: CPU_PERIOD if one.cpu_limit is not None else None),
    ("container_spec_cpu_quota", "gauge", "CPU time in each period, in microseconds; only where there is a limit.",
     lambda one: round(one.cpu_limit * CPU_PERIOD) if one.cpu_limit else None),
    ("container_spec_cpu_shares", "gauge", "CPU shares; 1024 is usual.", lambda one: one.cpu_shares),
    ("container_spec_memory_limit_bytes", "gauge", "Memory limit; 0 for none.", lambda one: one.memory_limit),
    ("container_spec_memory_reservation_limit_bytes", "gauge", "Memory that is kept for it; 0 for none.",
     lambda one: one.memory_low),
)  # fmt: skip

# metric, help, field of NetworkTotals
_NETWORK = tuple(
    (f"container_network_{way}_{what}_total", f"{text} {how}.", f"{field}{part}")
    for way, how, field in (("receive", "received", "received"), ("transmit", "sent", "sent"))
    for what, text, part in (
        ("bytes", "Bytes", ""), ("packets", "Packets", "_packets"), ("errors", "Errors while packets were", "_errors"),
        ("packets_dropped", "Packets dropped while they were", "_dropped"),
    )
)  # fmt: skip

Sample = tuple[Labels, Value]


def exposition(metrics: Metrics) -> str:
    return "".join(line for family in _families(metrics) for line in family)


def _families(metrics: Metrics) -> Iterator[Iterator[str]]:
    groups = [(one, labels_of(one)) for one in metrics.groups]
    version = {"cadvisorRevision": "", "cadvisorVersion": "", "kernelVersion": metrics.kernel, "osVersion": "Linux"}
    yield family("cadvisor_version_info", "gauge", "Always 1; its labels say what is measured.", [(version, 1)])
    yield family("machine_cpu_cores", "gauge", "CPUs that are online.", [({}, metrics.cpus)])
    yield family("machine_memory_bytes", "gauge", "Memory of the machine.", [({}, metrics.memory_total)])
    yield family("machine_swap_bytes", "gauge", "Swap space of the machine.", [({}, metrics.swap_total)])
    seen = [(labels, metrics.time) for _, labels in groups]
    yield family("container_last_seen", "gauge", "When it was last seen running, in seconds since 1970.", seen)
    cpu = [(labels | {"cpu": "total"}, one.cpu) for one, labels in groups]
    yield family("container_cpu_usage_seconds_total", "counter", "CPU time used.", cpu)
    for name, kind, text, value in _SINGLE:
        yield family(name, kind, text, [(labels, value(one)) for one, labels in groups])
    for name, text, field in _NETWORK:
        samples = [
            (labels | {"interface": network.interface}, getattr(network, field))
            for one, labels in groups
            for network in one.networks
        ]
        yield family(name, "counter", text, samples)
    for name, text, field in (
        ("container_fs_reads_bytes_total", "Bytes read from the device.", "read"),
        ("container_fs_writes_bytes_total", "Bytes written to the device.", "written"),
    ):
        disks = [(labels | {"device": disk.device}, getattr(disk, field)) for one, labels in groups for disk in one.disks]
        yield family(name, "counter", text, disks)


def labels_of(one: Totals) -> dict[str, str]:
    """As cAdvisor labels them, the container's own as container_label_NAME."""
    own = {"container_label_" + _NOT_IN_A_NAME.sub("_", name): value for name, value in sorted(one.labels.items())}
    return {**own, "id": one.group, "name": one.name, "image": one.image, "engine": one.engine}


def family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    """The lines of one metric; none when nothing is known."""
    first = True
    for labels, value in samples:
        if value is None:
            continue
        if first:
            first = False
            yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
        written = ",".join(f'{key}="{word.translate(_ESCAPES)}"' for key, word in labels.items())
        yield f"{name}{{{written}}} {value!r}\n" if written else f"{name} {value!r}\n"
