"""cgroup-manager.sh ("Container isolation"), the cgroups lab and the table of Docker's resource flags, through the API."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers_app.kernel.cgroups import choose, values
from tests.dockerd import Dockerd
from tests.engines.conftest import wait_until
from tests.groups import cpu_and_periods

from .conftest import Lab

MEGABYTE = 1 << 20


@pytest.fixture
def team(lab: Lab) -> Iterator[str]:
    """create: a group with the script's default limits."""
    limits = {"cpu": 0.5, "memory": "100M", "pids": 100, "cpu_weight": 100}
    answer = lab.client.post("groups", json={"name": "managed", "limits": limits})
    assert answer.status_code == 201, answer.text
    yield "managed"
    lab.remove()
    assert lab.client.delete("groups/managed").status_code in (204, 404)


def test_cgroup_manager_create_limits_add_run_monitor_and_cleanup(lab: Lab, team: str) -> None:
    box = lab.create("worker-1", group=team)
    assert lab.get(f"containers/{box['id']}/limits")["memory"]["effective"] == 100 * MEGABYTE
    changed = lab.client.patch(f"groups/{team}/limits", json={"cpu": 0.25, "memory": "64M", "pids": 50})
    assert changed.status_code == 200, changed.text
    kernel = {name: changed.json()[name]["kernel"] for name in ("cpu", "memory", "pids")}
    assert kernel == {"cpu": 0.25, "memory": 64 * MEGABYTE, "pids": 50}
    # io.max: cgroup v1 holds a group's own processes to a disk rate and nobody inside it, so there the sandbox has it.
    row = lab.get(f"groups/{team}/limits")["io_write_bytes"]
    rate = {row["parts"][0]: MEGABYTE}
    shaped = lab.client.patch(f"groups/{team}/limits", json={"io_write_bytes": rate})
    if row["locked"]:
        assert (shaped.status_code, shaped.json()["error"]["code"]) == (400, "limit_locked")
        shaped = lab.client.patch(f"containers/{box['id']}/limits", json={"io_write_bytes": rate})
    assert shaped.status_code == 200 and shaped.json()["io_write_bytes"]["kernel"] == rate, shaped.text
    assert lab.get(f"containers/{box['id']}/limits")["io_write_bytes"]["effective"] == rate
    added = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        answer = lab.client.post(f"groups/{team}/processes", json={"pid": added.pid})
        assert answer.status_code == 200 and answer.json()["processes"] == [added.pid], answer.text
        group = Path(box["cgroups"]["pids"]).parent
        assert f"{added.pid}\n" in "".join(path.read_text() for path in group.glob("*/cgroup.procs"))
    finally:
        added.kill()
        added.wait()
    usage = lab.get(f"groups/{team}")["usage"]
    assert usage["cpu"] >= 0 and usage["memory"] > 0 and usage["pids"] >= 1
    refused = lab.client.delete(f"groups/{team}")
    assert refused.status_code == 409  # rmdir of a cgroup in use
    lab.remove()
    assert lab.client.delete(f"groups/{team}").status_code == 204
    assert not any(Path(path).parent.exists() for path in box["cgroups"].values())


def test_the_lab_halves_a_core_and_the_kernel_files_say_so(lab: Lab) -> None:
    """cpu.cfs_quota_us 50000 of cpu.cfs_period_us 100000, or cpu.max where that is what there is."""
    box = lab.create("half", limits={"cpu": 0.5})
    group = Path(box["cgroups"]["cpu"])
    if (group / "cpu.max").exists():
        assert (group / "cpu.max").read_text() == "50000 100000\n"
    else:
        assert [(group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")] == ["50000\n", "100000\n"]
    assert str(box["pid"]) in (group / "cgroup.procs").read_text().split()


def test_the_lab_weighs_two_groups_by_their_shares(lab: Lab) -> None:
    """cpu.shares 512 beside 1024 on one CPU: half as much, in whichever unit the kernel counts weights."""
    burn = ["sh", "-c", "while :; do :; done"]
    light, heavy = (
        lab.create(f"shares-{shares}", command=burn, limits={"cpuset": "0", "cpu_weight": values.weight(shares)})
        for shares in (512, 1024)
    )
    file = Path(light["cgroups"]["cpu"], "cpu.shares")
    if file.exists():
        assert values.weight(int(file.read_text())) == values.weight(512)
        weighed = int(Path(heavy["cgroups"]["cpu"], "cpu.shares").read_text()) / int(file.read_text())
    else:
        weighed = values.weight(1024) / values.weight(512)
    cgroups = choose()
    begun = [cpu_and_periods(cgroups, box["cgroups"])[0] for box in (light, heavy)]
    used = [0.0, 0.0]
    while used[0] < 0.6:
        time.sleep(0.05)
        now = [cpu_and_periods(cgroups, box["cgroups"])[0] for box in (light, heavy)]
        used = [after - before for after, before in zip(now, begun, strict=True)]
    assert used[1] / used[0] == pytest.approx(weighed, rel=0.15)


def test_the_network_controllers_work_is_done_at_the_link(lab: Lab) -> None:
    """net_cls only tags packets for tc; the panel asks tc for the rate itself."""
    box = lab.create("shaped", limits={"net_in": "1M", "net_out": "2M"})
    limits = lab.get(f"containers/{box['id']}/limits")
    assert [limits[name]["kernel"] for name in ("net_in", "net_out")] == [MEGABYTE, 2 * MEGABYTE]
    assert not any(limits[name]["drift"] for name in ("net_in", "net_out"))


RUN_FLAGS = {  # docker run's flags → the limit, its value, and Docker's record when the panel has changed it
    "--cpus 0.5": ("cpu", 0.5, 0.25, "NanoCpus", "250000000"),
    "--cpu-quota 50000 --cpu-period 100000": ("cpu", 0.5, 0.25, "CpuQuota", "25000"),
    "--cpu-shares 512": ("cpu_weight", values.weight(512), 100, "CpuShares", "1024"),
    "--memory 64m": ("memory", 64 * MEGABYTE, 96 * MEGABYTE, "Memory", str(96 * MEGABYTE)),
    "--memory 64m --memory-swap 80m": ("swap", 16 * MEGABYTE, 32 * MEGABYTE, "MemorySwap", str(96 * MEGABYTE)),
    "--pids-limit 50": ("pids", 50, 40, "PidsLimit", "40"),
}


@pytest.mark.parametrize("flags", RUN_FLAGS)
def test_what_docker_run_was_told_reads_as_a_limit_and_is_changed_and_cleared_live(
    lab: Lab, dockerd: Dockerd, flags: str
) -> None:
    name, told, wanted, field, recorded = RUN_FLAGS[flags]
    made = dockerd.docker("run", "-d", *flags.split(), "busybox", "sleep", "1000")
    lab.made.append(made)
    wait_until(lambda: lab.client.get(f"containers/{made}").json().get("state") == "running")
    before = lab.get(f"containers/{made}/limits")[name]
    assert (before["requested"], before["kernel"], before["drift"]) == (told, told, False)
    for value in (wanted, None):
        answer = lab.client.patch(f"containers/{made}/limits", json={name: value})
        assert answer.status_code == 200, answer.text
        after = answer.json()[name]
        assert (after["requested"], after["drift"]) == (value, False)
        assert after["kernel"] == (100 if name == "cpu_weight" else value)
        if value is not None:
            assert dockerd.docker("inspect", "--format", f"{{{{.HostConfig.{field}}}}}", made) == recorded


@pytest.mark.parametrize(
    ("limits", "flag", "recorded"),
    [
        ({"cpu": 0.5}, "NanoCpus", 500_000_000),
        ({"cpu_weight": 100}, "CpuShares", 1024),
        ({"cpuset": "0"}, "CpusetCpus", "0"),
        ({"memory": "64M"}, "Memory", 64 * MEGABYTE),
        ({"memory": "64M", "swap": "16M"}, "MemorySwap", 80 * MEGABYTE),
        ({"memory_low": "32M"}, "MemoryReservation", 32 * MEGABYTE),
        ({"pids": 30}, "PidsLimit", 30),
        ({"io_read_bytes": "4M"}, "BlkioDeviceReadBps", 4 * MEGABYTE),
        ({"io_write_bytes": "4M"}, "BlkioDeviceWriteBps", 4 * MEGABYTE),
        ({"io_read_ops": 100}, "BlkioDeviceReadIOps", 100),
        ({"io_write_ops": 100}, "BlkioDeviceWriteIOps", 100),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_of_dockers_resource_flags(lab: Lab, dockerd, limits, flag, recorded) -> None:
    """--cpus, --cpu-shares, --cpuset-cpus, --memory, --memory-swap, --memory-reservation, --pids-limit, --device-…-bps, -iops."""
    box = lab.docker("flagged", limits=limits)
    told = dockerd.docker("inspect", "--format", f"{{{{json .HostConfig.{flag}}}}}", box["id"])
    assert str(recorded) in told
    name = list(limits)[-1]
    reading = lab.get(f"containers/{box['id']}/limits")[name]
    assert reading["kernel"] == reading["requested"] and not reading["drift"]
