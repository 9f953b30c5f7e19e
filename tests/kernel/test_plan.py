"""The launch plan: a list of steps that can be sent, carried out and told."""

from __future__ import annotations

import json

import pytest

from containers_app.engines import raw_plan
from containers_app.kernel import identity, joining, overlay, plan, rootfs, security
from containers_app.kernel.network import Attachment
from containers_app.spec import parse_container

PLACE = raw_plan.Place(
    id="0123456789ab", run="aa", home="/data/sandboxes/0123456789ab", image="/data/images/busybox/rootfs",
    image_env={"FROM_IMAGE": "1"}, uid_base=1000000, uid_count=65536,
    cgroup2="/sys/fs/cgroup/unified/x", tasks=("/sys/fs/cgroup/pids/x/tasks",),
)  # fmt: skip


def made(**fields: object) -> plan.Plan:
    own = {"command": ["sleep", "infinity"], "cwd": "/", "user": "0:0"}
    spec = parse_container({"name": "web-1", **own, "namespaces": {"net": "none"}, **fields})
    return raw_plan.launch_plan(spec, PLACE)


def steps(launch: plan.Plan, kind: type) -> list[object]:
    return [step for step in (*launch.parent, *launch.link, *launch.root, *launch.child) if isinstance(step, kind)]


def test_a_plan_survives_the_way_to_the_keeper() -> None:
    launch = made(mounts=[{"type": "tmpfs", "target": "/work", "size": "1M"}])
    assert plan.decode(json.loads(json.dumps(plan.encode(launch)))) == launch


def test_an_operation_that_is_not_registered_does_not_run() -> None:
    fields = json.loads(json.dumps(plan.encode(made())))
    fields["child"].append(["Reboot"])
    with pytest.raises(KeyError):
        plan.decode(fields)


def test_every_registered_operation_can_be_told() -> None:
    launch = made(mounts=[{"type": "bind", "source": "/srv", "target": "/srv"}, {"type": "tmpfs", "target": "/w"}])
    for step in (*launch.parent, *launch.root, *launch.child):
        assert all(isinstance(line, str) for line in step.describe())
    told = "\n".join(launch.describe())
    assert "unshare --fork --mount" in told and "pivot_root" in told and "sleep infinity" in told


def test_the_child_joins_its_cgroups_before_its_ids_are_mapped_and_drops_its_powers_last() -> None:
    launch = made()
    told = launch.describe()
    assert (launch.cgroup2, launch.tasks) == (PLACE.cgroup2, PLACE.tasks) and isinstance(launch.parent[0], identity.WriteIdMaps)
    assert told.index(f"echo $PID > {PLACE.tasks[0]}") < told.index(launch.parent[0].describe()[0])
    assert isinstance(launch.child[-2], security.Confine) and isinstance(launch.child[-1], security.RunProgram)
    kinds = [type(step) for step in launch.child]
    assert kinds.index(identity.NewCgroupNamespace) < kinds.index(rootfs.MountCgroup) < kinds.index(rootfs.Pivot)
    assert kinds.index(rootfs.HidePaths) < kinds.index(rootfs.Pivot)


def test_a_bridge_brings_a_link_and_addresses_and_none_only_the_loopback() -> None:
    attachment = Attachment("10.1.0.2", 20, "10.1.0.1", "02:00:00:00:00:02", "trtest-2", "lo")
    spec = parse_container({"name": "web-1", "cwd": "/", "user": "0:0"})
    bridged = raw_plan.launch_plan(spec, raw_plan.msgspec.structs.replace(PLACE, attachment=attachment))
    assert len(steps(bridged, identity.AttachLink)) == 1
    assert "10.1.0.2/20" in "\n".join(bridged.describe())
    assert steps(made(), identity.AttachLink) == [] and len(steps(made(), identity.ConfigureNetwork)) == 1


def test_environment_is_ours_then_the_images_then_the_users() -> None:
    (program,) = steps(made(env={"PATH": "/mine", "X": "1"}), security.RunProgram)
    assert isinstance(program, security.RunProgram)
    values = dict(pair.split("=", 1) for pair in program.env)
    assert (values["PATH"], values["X"], values["FROM_IMAGE"], values["HOSTNAME"]) == ("/mine", "1", "1", "web-1")


def test_the_user_namespace_is_joined_last_and_views_are_made_while_the_host_s_root_is_still_in_charge() -> None:
    modes = dict.fromkeys(("net", "ipc", "uts", "cgroup", "pid", "user"), "container:other")
    launch = made(namespaces=modes, time_offsets={"boottime": 60})
    assert launch.needs_helper and set(launch.namespaces) == {"mnt"}
    told = [(type(step), getattr(step, "kind", "")) for step in launch.before]
    joins = [(joining.JoinNamespace, kind) for kind in ("net", "ipc", "uts", "cgroup", "pid")]
    views = [(joining.PrepareView, kind) for kind in ("net", "ipc", "cgroup", "pid")]
    assert told == [*joins, *views, (joining.NewTimeNamespace, ""), (joining.JoinNamespace, "user")]
    assert [step.index for step in launch.before if isinstance(step, joining.JoinNamespace)] == [1, 2, 3, 4, 5, 6]
    assert {step.kind for step in launch.child if isinstance(step, joining.AttachView)} == {"net", "ipc", "cgroup", "pid"}
    assert plan.decode(json.loads(json.dumps(plan.encode(launch)))) == launch
    assert "nsenter --user --target $FIRST" in "\n".join(launch.describe())


def test_who_joins_a_mount_namespace_has_no_root_of_its_own() -> None:
    launch = made(namespaces={"net": "none", "mnt": "container:other", "pid": "container:other"})
    kinds = {type(step) for step in (*launch.parent, *launch.root, *launch.child)}
    assert not kinds & {overlay.PrepareOverlay, rootfs.EnterRoot, rootfs.Pivot, rootfs.MountProc, joining.AttachView}
