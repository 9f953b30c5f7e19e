"""/metrics: who may read it, and that it is what Prometheus and cAdvisor's dashboards expect."""

import asyncio
import os
import re
import time
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from containers_app.exposition import exposition
from containers_app.kernel.cgroups import choose
from containers_app.models import ApiToken
from containers_app.spec import LimitReading
from containers_app.worker.protocol import DiskTotals, Metrics, NetworkTotals, Totals

NAME = re.compile(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)\n")
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_]\w*="(\\[\\"n]|[^"\\\n])*",?)*\})? [0-9.e+-]+\n')
NASTY = 'quote " back \\ line \n ünïcode } = ,'


def parsed(text):
    """name → {labels as a frozenset: value}. Strict where prometheus_client is not: order, repetitions, every line's form."""
    described, families = [], {}
    for line in text.splitlines(keepends=True):
        match = NAME.fullmatch(line)
        if match:
            described.append((match[1], match[2]))
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            assert described[-2:] == [("HELP", sample[1]), ("TYPE", sample[1])], line
    assert len(described) == len(set(described))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series = families.setdefault(sample.name, {})
            assert frozenset(sample.labels.items()) not in series, sample
            assert (family.type == "counter") == sample.name.endswith("_total"), sample.name
            series[frozenset(sample.labels.items())] = sample.value
    return families


def one(families, metric, **labels):
    found = [value for series, value in families[metric].items() if labels.items() <= dict(series).items()]
    assert len(found) == 1, (metric, labels, found)
    return found[0]


async def fetch(user, method="GET", **headers):
    token = (await sync_to_async(ApiToken.issue)(user, "prometheus"))[1]
    return await AsyncClient().generic(method, "/metrics", headers={"authorization": f"Bearer {token}", **headers})


@pytest.fixture
def group(worker):
    """A real control group; what runs in it is the engine's process."""
    cgroups = choose()
    name = f"terrarium-t{os.getpid():x}m"
    paths = cgroups.create(name, {"memory": 64 << 20, "cpu": 0.5, "pids": 20})
    yield cgroups, name, paths
    cgroups.kill(paths)
    cgroups.remove(paths)


async def test_staff_read_it_by_token_or_session(staff, worker, browser):
    answer = await fetch(staff)
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    families = parsed(answer.content.decode())
    assert one(families, "machine_cpu_cores") == os.cpu_count()
    assert one(families, "machine_memory_bytes") > 1 << 28
    assert one(families, "container_cpu_usage_seconds_total", id="/", name="") > 0
    assert one(families, "container_memory_usage_bytes", id="/") > 1 << 20
    await browser.log_in("staff")
    assert (await browser.get("/metrics")).status_code == 200


async def test_others_do_not(olga, worker, browser):
    answer = await fetch(olga)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    await browser.log_in("olga")
    assert (await browser.get("/metrics")).status_code == 403


async def test_it_is_only_read(staff, worker):
    assert (await fetch(staff, "HEAD")).status_code == 200
    answer = await fetch(staff, "POST")
    assert (answer.status_code, answer["Allow"]) == (405, "GET")


async def test_without_a_worker_it_is_a_503(staff, no_worker):
    assert (await fetch(staff)).status_code == 503


async def test_a_container_has_the_kernels_own_totals(staff, as_staff, worker, group, tmp_path):
    cgroups, name, paths = group
    script = f"while [ ! -e {tmp_path}/inside ]; do sleep 0.01; done; for i in $(seq 20000); do :; done; exec sleep 1000"
    body = {"name": "web-1", "image": "busybox:1", "command": ["sh", "-c", script], "start": False}
    id = (await as_staff.post("/containers", body)).body["id"]
    worker.engine.change(id, labels={"com.example/part": NASTY, "com.example.part": "same"})
    await as_staff.post(f"/containers/{id}/start")
    pid = worker.engine.processes[id].pid
    for file in cgroups.procs_files(paths):
        with open(file, "w") as procs:
            procs.write(str(pid))
    (tmp_path / "inside").touch()
    limits = {limit: LimitReading(kernel, kernel, effective, "") for limit, (kernel, effective) in cgroups.read(paths).items()}
    worker.engine.change(id, cgroups=paths, limits=limits)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}/comm").read_text() != "sleep\n" and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    families = parsed((await fetch(staff)).content.decode())
    own = {"id": f"/{name}", "name": "web-1", "image": "busybox:1", "engine": "raw"}
    assert 0 < one(families, "container_cpu_usage_seconds_total", cpu="total", **own) < 5
    assert one(families, "container_cpu_cfs_periods_total", **own) >= 0
    assert one(families, "container_cpu_cfs_throttled_periods_total", **own) >= 0
    assert one(families, "container_cpu_cfs_throttled_seconds_total", **own) >= 0
    assert one(families, "container_spec_cpu_period", **own) == 100_000
    assert one(families, "container_spec_cpu_quota", **own) == 50_000
    assert 2 <= one(families, "container_spec_cpu_shares", **own) <= 262_144
    assert one(families, "container_spec_memory_limit_bytes", **own) == 64 << 20
    used = one(families, "container_memory_usage_bytes", **own)
    assert 0 < one(families, "container_memory_working_set_bytes", **own) <= used < 64 << 20
    assert 0 <= one(families, "container_memory_rss", **own) <= used
    assert one(families, "container_oom_events_total", **own) == 0
    assert one(families, "container_processes", **own) == one(families, "container_threads", **own) == 1
    assert one(families, "container_threads_max", **own) == 20
    assert abs(one(families, "container_start_time_seconds", **own) - time.time()) < 30
    assert abs(one(families, "container_last_seen", **own) - time.time()) < 30
    assert not [series for series in families.get("container_network_receive_bytes_total", ()) if ("name", "web-1") in series]
    await as_staff.post(f"/containers/{id}/kill")
    assert "web-1" not in (await fetch(staff)).content.decode()


def test_labels_are_escaped_and_what_is_not_known_is_left_out():
    totals = Totals(
        group="/terrarium/1", name="n", image=NASTY, engine="docker", labels={"a.b": NASTY, "a-b": "x", "ü": "y"}, cpu=1e-9,
        networks=(NetworkTotals("eth0", 1, 2, 3, 4, 5, 6, 7, 8), NetworkTotals("eth1", 9, 0, 0, 0, 0, 0, 0, 0)),
        disks=(DiskTotals("/dev/sda", 1 << 60, 0),),
    )  # fmt: skip
    families = parsed(exposition(Metrics(1.5, "6.1", 2, 3, 0, (totals,))))
    series = dict(next(iter(families["container_cpu_usage_seconds_total"])))
    assert (series["image"], series["container_label_a_b"], series["container_label__"]) == (NASTY, NASTY, "y")
    assert one(families, "container_cpu_usage_seconds_total") == 1e-9
    assert one(families, "container_network_receive_bytes_total", interface="eth1") == 9
    assert one(families, "container_network_transmit_packets_dropped_total", interface="eth0") == 8
    assert one(families, "container_fs_reads_bytes_total", device="/dev/sda") == 1 << 60
    assert one(families, "container_fs_writes_bytes_total", device="/dev/sda") == 0
    assert "container_memory_usage_bytes" not in families
