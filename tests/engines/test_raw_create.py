"""Creating sandboxes: the defaults are isolated, a refusal leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines.policy import Allow
from containers_app.engines.raw import RawEngine
from containers_app.errors import InvalidInput
from containers_app.kernel import namespaces
from containers_app.kernel.keeper_socket import MAX_MESSAGE
from containers_app.kernel.plan import Plan
from containers_app.spec import NAMESPACE_TYPES

from .conftest import Home, in_use, spec


async def test_a_default_sandbox_runs_in_namespaces_of_its_own(raw: RawEngine) -> None:
    box = await raw.create(spec(), "alice")
    assert box.state == "running" and box.owner == "alice" and box.pid > 1
    host = namespaces.initial()
    assert {kind for kind in NAMESPACE_TYPES if box.namespaces[kind].inode != host[kind]} == set(NAMESPACE_TYPES)


async def test_inside_the_host_name_the_processes_and_the_ids_are_its_own(raw: RawEngine) -> None:
    box = await raw.create(spec("web-1"), "")
    out = (
        await raw.execute(box.id, ("sh", "-c", "hostname; id -u; ps -o pid,comm | tail -n +2; cat /proc/self/uid_map"), 10)
    ).stdout
    lines = out.splitlines()
    assert lines[:2] == ["web-1", "0"]
    assert lines[2].split()[0] == "1" and len(lines) <= 7
    assert lines[-1].split() == ["0", box.user_map.split()[1], "65536"]


async def test_it_pings_the_bridge_and_has_a_default_route(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    result = await raw.execute(box.id, ("sh", "-c", "ping -c1 -W2 $(ip route | awk '/default/{print $3}')"), 10)
    assert "1 packets received" in result.stdout, result


async def test_two_sandboxes_have_different_addresses_and_user_ids(raw: RawEngine) -> None:
    one, two = await raw.create(spec("one"), ""), await raw.create(spec("two"), "")
    assert one.addresses != two.addresses
    assert one.user_map != two.user_map


async def test_two_sandboxes_cannot_reach_each_other(raw: RawEngine) -> None:
    one, two = await raw.create(spec("one"), ""), await raw.create(spec("two"), "")
    address = two.addresses[0].split("/")[0]
    result = await raw.execute(one.id, ("ping", "-c1", "-W1", address), 10)
    assert result.exit_code != 0 and "0 packets received" in result.stdout


async def test_files_of_the_image_belong_to_root_inside_and_the_layer_is_its_own(raw: RawEngine, home: Home) -> None:
    box = await raw.create(spec(), "")
    result = await raw.execute(box.id, ("sh", "-c", "stat -c %u /bin/busybox; echo x > /root/new && stat -c %u /root/new"), 10)
    assert result.stdout.split() == ["0", "0"], result
    assert not (home.data / "images/busybox/rootfs/root/new").exists()


async def test_the_limits_are_in_the_kernel_before_the_program_runs(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    assert {name: box.limits[name].kernel for name in ("cpu", "memory", "pids")} == {"cpu": 0.5, "memory": 64 << 20, "pids": 50}


async def test_no_descriptor_of_the_host_is_left_open_inside(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    names = {os.readlink(f"/proc/{box.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{box.pid}/fd")}
    assert len(names) == 2 and "/dev/null" in names
    assert all(name == "/dev/null" or name.endswith("/log") for name in names)


async def test_a_name_in_use_is_refused(raw: RawEngine) -> None:
    await raw.create(spec("one"), "")
    with pytest.raises(errors.Conflict) as refused:
        await raw.create(spec("one"), "")
    assert refused.value.code == "name_taken"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"image": "nosuch"}, errors.NotFound),
        ({"command": ["/bin/nosuch"]}, errors.KernelRefused),
        ({"cwd": "/nosuch"}, errors.KernelRefused),
        ({"namespaces": {"user": "host"}}, errors.PolicyRefused),
        ({"mounts": [{"source": "/etc", "target": "/host"}]}, errors.PolicyRefused),
        ({"namespaces": {"mnt": "host"}}, errors.Unsupported),
        ({"namespaces": {"pid": "container:other"}}, errors.Conflict),
        ({"namespaces": {"mnt": "container:other"}, "security": {"read_only_root": True}}, errors.Unsupported),
        ({"namespaces": {"mnt": "container:other"}, "dns": ["10.0.0.1"]}, errors.Unsupported),
        ({"namespaces": {"mnt": "container:other"}, "extra_hosts": {"db": "10.0.0.1"}}, errors.Unsupported),
        ({"namespaces": {"mnt": "path:/run/blue"}}, errors.PolicyRefused),
        ({"namespaces": {"uts": "host"}, "hostname": "inside"}, errors.InvalidInput),
        ({"namespaces": {"uts": "container:other"}, "hostname": "inside"}, errors.InvalidInput),
        ({"namespaces": {"net": "none"}, "dns": ["10.0.0.1"]}, errors.InvalidInput),
        ({"namespaces": {"net": "container:other"}, "network": "blue"}, errors.InvalidInput),
        ({"namespaces": {"net": "none"}, "limits": {"net_in": "1M"}}, errors.InvalidInput),
        ({"namespaces": {"net": "private"}, "limits": {"net_out": "1M"}}, errors.InvalidInput),
        ({"namespaces": {"net": "host"}, "limits": {"net_out": "1M"}}, errors.InvalidInput),
        ({"namespaces": {"net": "container:other"}, "limits": {"net_in": "1M"}}, errors.InvalidInput),
        ({"mounts": [{"type": "tmpfs", "target": "/x", "read_only": True}]}, errors.InvalidInput),
        ({"keep_limits": False}, errors.Unsupported),
        ({"image": "host"}, errors.PolicyRefused),
        ({"health": {"test": ["true"]}}, errors.Unsupported),
        ({"security": {"capabilities": ["CAP_SYS_ADMIN"]}}, errors.PolicyRefused),
    ],
)
async def test_what_cannot_be_is_refused_and_leaves_nothing(
    raw: RawEngine, home: Home, fields: dict[str, object], error: type[errors.TerrariumError]
) -> None:
    with pytest.raises(error) as refused:
        await raw.create(spec(**fields), "")
    assert refused.value.message and refused.value.hint
    assert raw.all() == []
    assert os.listdir(home.data / "sandboxes") == []


async def test_the_hosts_mount_namespace_is_nobodys_whatever_the_policy_and_the_hint_is_one_that_helps(home: Home) -> None:
    """Nor by the name of something that stands in it."""
    engine = home.engine(Allow(host_image=True))
    engine._joiner._resolve = lambda _: os.getpid()
    async with in_use(engine, home):
        for mode in ("host", "container:other"):
            with pytest.raises(errors.Unsupported, match="mount namespace of its own") as refused:
                await engine.create(spec(namespaces={"mnt": mode}), "")
            assert "policy" not in refused.value.hint and 'image "host"' in refused.value.hint
        assert engine.all() == []
        box = await engine.create(spec(image="host", command=["sleep", "1000"]), "")
        assert (await engine.execute(box.id, ("cat", "/etc/passwd"), 10)).stdout == Path("/etc/passwd").read_text()


async def test_a_sandbox_without_start_waits(raw: RawEngine) -> None:
    box = await raw.create(spec(start=False), "")
    assert (box.state, box.pid, box.cgroups) == ("created", 0, {})
    await raw.start(box.id)
    assert raw.get(box.id).state == "running"


async def test_somebody_who_is_not_root_reads_the_files_that_everybody_may(raw: RawEngine) -> None:
    box = await raw.create(spec(user="1000:1000"), "")
    result = await raw.execute(
        box.id, ("sh", "-c", "id -u; cat /etc/hostname /etc/passwd | head -2; ls / >/dev/null && echo listed"), 10
    )
    assert result.stdout.splitlines()[:2] == ["1000", "box"] and "listed" in result.stdout, result


async def test_a_launch_that_is_too_long_to_tell_the_keeper_is_refused_and_ends_no_other(raw: RawEngine) -> None:
    box = await raw.create(spec(command=["sleep", "1000"]), "")
    with pytest.raises(InvalidInput, match="too long"):
        await raw._runner.keeper.launch(Plan(id="x", run="y", kind="exec", log="x" * MAX_MESSAGE), [])
    assert raw._runner.keeper.connected and (await raw.execute(box.id, ("echo", "on"), 10)).stdout == "on\n"


async def test_paths_that_are_too_long_together_are_refused() -> None:
    with pytest.raises(InvalidInput, match="together"):
        spec(security={"masked_paths": ["/" + "x" * 1000] * 70})
