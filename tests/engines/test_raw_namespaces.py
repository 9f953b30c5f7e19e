"""Namespaces that a sandbox shares: each type with another sandbox and with the host, seen from inside and from outside."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines.base import Container, LogQuery
from containers_app.engines.policy import Allow
from containers_app.engines.raw import RawEngine
from containers_app.kernel import namespaces
from containers_app.spec import NAMESPACE_TYPES

from .conftest import Home, in_use, spec, until

SLEEP = ["sleep", "1000"]


async def say(raw: RawEngine, box: Container, script: str) -> str:
    result = await raw.execute(box.id, ("sh", "-c", script), 10)
    assert result.exit_code == 0, result
    return result.stdout.strip()


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def inodes(box: Container) -> dict[str, int]:
    """The kernel's word, not the panel's."""
    return {kind: os.stat(f"/proc/{box.pid}/ns/{kind}").st_ino for kind in NAMESPACE_TYPES}


def joining(*kinds: str, to: str = "one") -> dict[str, str]:
    return {"net": "none"} | dict.fromkeys(kinds, f"container:{to}")


PAIRS = [*((kind,) for kind in NAMESPACE_TYPES), *itertools.combinations(NAMESPACE_TYPES, 2), NAMESPACE_TYPES]


@pytest.mark.parametrize("kinds", PAIRS, ids="+".join)
async def test_every_combination_of_joined_namespaces_is_joined_and_the_others_are_its_own(
    raw: RawEngine, kinds: tuple[str, ...]
) -> None:
    one = await raw.create(spec("one", command=SLEEP), "")
    two = await raw.create(spec("two", command=SLEEP, namespaces=joining(*kinds)), "")
    first, second, host = inodes(one), inodes(two), namespaces.initial()
    assert {kind for kind in NAMESPACE_TYPES if first[kind] == second[kind]} == set(kinds)
    assert not any(second[kind] == host[kind] for kind in NAMESPACE_TYPES)
    assert {kind: view.inode for kind, view in two.namespaces.items()} == second
    # A program that is started in it later stands in the same namespaces; /proc may show another pid namespace than its own.
    if "mnt" not in kinds or "pid" in kinds:
        shown = await say(raw, two, f"for n in {' '.join(NAMESPACE_TYPES)}; do readlink /proc/self/ns/$n; done")
        assert shown.split() == [f"{kind}:[{second[kind]}]" for kind in NAMESPACE_TYPES]


async def test_a_joined_pid_namespace_shows_and_signals_the_others_processes_where_the_user_is_shared(raw: RawEngine) -> None:
    one = await raw.create(spec("one", command=["sh", "-c", "sleep 1234 & wait"]), "")
    two = await raw.create(spec("two", command=["sleep", "4321"], namespaces=joining("pid", "user")), "")
    assert two.user_map == one.user_map != ""
    listed = await say(raw, two, "ps -o pid,args")
    assert "sleep 1234" in listed and "sleep 4321" in listed
    assert "sleep 4321" in await say(raw, one, "ps -o args")
    await say(raw, two, "kill $(ps -o pid,args | awk '/[ ]sleep 1234$/{print $1}')")
    await until(lambda: raw.get(one.id).state == "exited")


async def test_a_joined_pid_namespace_of_another_users_can_be_seen_and_not_touched(raw: RawEngine) -> None:
    await raw.create(spec("one", command=SLEEP), "")
    two = await raw.create(spec("two", command=["sleep", "4321"], namespaces=joining("pid")), "")
    assert (await say(raw, two, "ps -o pid,args | head -2")).endswith("1 sleep 1000")
    refused = await raw.execute(
        two.id, ("sh", "-c", "kill 1; ls /proc/1/root; cat /proc/1/environ; echo x > /proc/sys/kernel/hostname"), 10
    )
    assert refused.stdout == "" and refused.stderr.count("denied") + refused.stderr.count("not permitted") == 3, refused
    assert "Read-only" in refused.stderr


async def test_the_end_of_a_pid_namespaces_first_process_ends_all_in_it_and_is_told(raw: RawEngine) -> None:
    one = await raw.create(spec("one", command=SLEEP), "")
    two = await raw.create(spec("two", command=SLEEP, namespaces=joining("pid")), "")
    await raw.kill(one.id, 9)
    await until(lambda: raw.get(two.id).state == "exited")
    assert raw.get(two.id).reason == "killed by SIGKILL, as all in a pid namespace are when its first process ends"


async def test_a_joined_network_shows_the_same_devices_in_sysfs_and_by_ip(raw: RawEngine) -> None:
    one = await raw.create(spec("one", command=SLEEP), "")
    two = await raw.create(spec("two", command=SLEEP, namespaces=joining("net")), "")
    look = "ls /sys/class/net; ip -4 -o address show eth0"
    assert await say(raw, one, look) == await say(raw, two, look)
    assert one.addresses[0] in await say(raw, two, look)
    await say(raw, one, "nc -l -p 7000 -e echo hello >/dev/null 2>&1 &")
    assert await say(raw, two, "for i in 1 2 3 4 5; do nc 127.0.0.1 7000 && break; sleep 0.1; done") == "hello"


async def test_joined_ipc_shares_queues_and_shared_memory(raw: RawEngine) -> None:
    one = await raw.create(spec("one", command=SLEEP), "")
    for name, kinds in (("two", ("ipc",)), ("three", ("ipc", "user"))):
        box = await raw.create(spec(name, command=SLEEP, namespaces=joining(*kinds)), "")
        assert "mqueue" in await say(raw, box, "mount | grep /dev/mqueue")
        run("nsenter", "-t", str(one.pid), "-i", "ipcmk", "-M", "64", "-p", "666")
        look = "tail -n +2 /proc/sysvipc/shm | wc -l"
        assert await say(raw, box, look) == await say(raw, one, look) != "0"


async def test_joined_host_names_are_one(raw: RawEngine) -> None:
    one = await raw.create(spec("one", hostname="shared-host", command=SLEEP), "")
    two = await raw.create(spec("two", command=SLEEP, namespaces=joining("uts")), "")
    assert await say(raw, two, "hostname") == "shared-host"
    run("nsenter", "-t", str(one.pid), "-u", "hostname", "changed")
    assert await say(raw, one, "hostname") == await say(raw, two, "hostname") == "changed"


async def test_a_joined_mount_namespace_has_the_others_files_and_mounts(raw: RawEngine, home: Home) -> None:
    one = await raw.create(spec("one", command=SLEEP, mounts=[{"type": "tmpfs", "target": "/shared"}]), "")
    two = await raw.create(spec("two", command=SLEEP, namespaces=joining("mnt", "user", "pid")), "")
    await say(raw, one, "echo word > /shared/file; echo word > /root/file")
    assert await say(raw, two, "cat /shared/file /root/file; stat -c %u /root/file") == "word\nword\n0"
    assert os.listdir(home.data / "sandboxes" / two.id / "upper") == ["etc"]
    await raw.stop(one.id, 1)
    assert raw.get(one.id).state == "exited"


async def test_in_a_joined_mount_namespace_of_another_users_the_files_are_nobodys(raw: RawEngine) -> None:
    one = await raw.create(spec("one", command=SLEEP), "")
    await say(raw, one, "echo secret > /root/file; chmod 600 /root/file")
    two = await raw.create(spec("two", command=SLEEP, namespaces=joining("mnt")), "")
    refused = await raw.execute(two.id, ("sh", "-c", "stat -c %u /bin/busybox; cat /root/file; touch /x"), 10)
    assert refused.stdout == "65534\n" and refused.stderr.count("denied") == 2, refused


async def test_a_joined_user_namespace_lends_its_ids_to_the_files_too(raw: RawEngine, home: Home) -> None:
    one = await raw.create(spec("one", start=False), "")
    two = await raw.create(spec("two", start=False, namespaces=joining("user")), "")
    base = int(one.user_map.split()[1])
    assert (home.data / "sandboxes" / two.id / "upper").stat().st_uid == base
    await raw.start(one.id)
    await raw.start(two.id)
    assert await say(raw, two, "echo x > /root/new; stat -c %u /root/new /bin/busybox /etc/hosts") == "0\n0\n0"
    assert (home.data / "sandboxes" / two.id / "upper/root/new").stat().st_uid == base


async def test_without_its_target_it_does_not_start_and_says_why(raw: RawEngine) -> None:
    one = await raw.create(spec("one", command=SLEEP, start=False), "")
    two = await raw.create(spec("two", command=SLEEP, start=False, namespaces=joining("net", to=one.id)), "")
    with pytest.raises(errors.Conflict) as refused:
        await raw.start(two.id)
    assert "not running" in refused.value.message and refused.value.hint == "Start that one first."
    await raw.start(one.id)
    await raw.start(two.id)
    await raw.stop(two.id, 0)
    await raw.remove(one.id, force=True)
    with pytest.raises(errors.Conflict, match="is gone"):
        await raw.start(two.id)
    assert raw.get(two.id).state == "exited"


async def test_who_joined_keeps_the_network_when_the_other_stops_restarts_and_goes(raw: RawEngine) -> None:
    one = await raw.create(spec("one", command=SLEEP), "")
    two = await raw.create(spec("two", command=SLEEP, namespaces=joining("net", "user")), "")  # user: for the right to ping
    before = inodes(two)
    gateway = "ping -c1 -W2 $(ip route | awk '/default/{print $3}') >/dev/null && ip -4 -o address show eth0"
    await raw.restart(one.id, 0)
    again = raw.get(one.id)
    assert again.addresses != one.addresses and inodes(again)["net"] != before["net"]
    assert one.addresses[0] in await say(raw, two, gateway)
    assert again.addresses[0] in await say(raw, again, gateway)
    await raw.remove(one.id, force=True)
    three = await raw.create(spec("three", command=SLEEP), "")
    assert three.addresses != one.addresses, "its address is still in use"
    assert inodes(two) == before and one.addresses[0] in await say(raw, two, gateway)


async def test_a_namespace_by_path_is_joined(raw: RawEngine) -> None:
    name = f"terrarium-test-{os.getpid()}"
    run("ip", "netns", "add", name)
    try:
        box = await raw.create(spec(command=SLEEP, namespaces={"net": f"path:/run/netns/{name}"}), "")
        assert inodes(box)["net"] == os.stat(f"/run/netns/{name}").st_ino
        assert await say(raw, box, "ls /sys/class/net") == "lo"
        with pytest.raises(errors.InvalidInput, match="not a uts namespace"):
            await raw.create(spec("two", namespaces={"uts": f"path:/run/netns/{name}"}), "")
        await raw.remove(box.id, force=True)
    finally:
        run("ip", "netns", "delete", name)


@pytest.fixture
def place() -> Iterator[Path]:
    """A file to bind a namespace on."""
    path = Path(f"/run/terrarium-test-{os.getpid()}")
    path.touch()
    yield path
    subprocess.run(["umount", "-q", str(path)], check=False)
    path.unlink()


MADE = {  # option of unshare(1); what is done in the new namespace; a look at that; the answer to it
    "mnt": ("--mount", "mount -t tmpfs none /mnt && echo word > /mnt/file && chmod 644 /mnt/file", "cat /mnt/file", "word"),
    "uts": ("--uts", "hostname by-path", "hostname", "by-path"),
    "ipc": ("--ipc", "ipcmk -M 12345 -p 666 >&2", "awk 'NR > 1 {print $4}' /proc/sysvipc/shm", "12345"),
    "pid": ("--pid", ":", "cat /proc/1/comm", "sleep"),
    "cgroup": ("--cgroup", ":", ":", ""),
    "time": ("--time --boottime 864000", ":", "grep -c 'boottime *864000' /proc/self/timens_offsets", "1"),
}


@pytest.mark.parametrize("kind", MADE)
async def test_a_namespace_of_each_type_by_path_is_joined_and_the_others_are_its_own(home: Home, place: Path, kind: str) -> None:
    options, prepare, look, answer = MADE[kind]
    argv = ["unshare", *options.split(), "--fork", "--kill-child", "sh", "-c", f"{prepare}; echo ready; exec sleep 1000"]
    async with in_use(home.engine(Allow(host_image=True)), home) as raw:
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as unshare:
            try:
                assert unshare.stdout is not None and unshare.stdout.readline() == b"ready\n"
                (child,) = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split()
                run("mount", "--bind", f"/proc/{child}/ns/{kind}", str(place))
                inode, host = os.stat(place).st_ino, namespaces.initial()
                assert inode != host[kind]
                box = await raw.create(spec(command=SLEEP, namespaces={"net": "none", kind: f"path:{place}"}), "")
                assert inodes(box)[kind] == box.namespaces[kind].inode == inode
                assert not {name for name, own in inodes(box).items() if own == host[name]}
                told = await say(raw, box, f"for n in {' '.join(NAMESPACE_TYPES)}; do readlink /proc/self/ns/$n; done; {look}")
                assert told.splitlines() == [*(f"{name}:[{own}]" for name, own in inodes(box).items()), *answer.split()]
            finally:
                unshare.kill()
        await raw.remove(box.id, force=True)


async def test_a_user_namespace_by_path_lends_its_ids_as_long_as_somebody_is_in_it(raw: RawEngine, place: Path) -> None:
    one = await raw.create(spec("one", command=SLEEP), "")
    run("mount", "--bind", f"/proc/{one.pid}/ns/user", str(place))
    two = await raw.create(spec("two", command=SLEEP, namespaces={"net": "none", "user": f"path:{place}"}), "")
    assert two.user_map == one.user_map and inodes(two)["user"] == inodes(one)["user"]
    for box in (one, two):
        await raw.kill(box.id, 9)
    with pytest.raises(errors.Unsupported, match="Nobody is in"):
        await raw.start(two.id)


@pytest.mark.parametrize(("ids", "error"), [("0 0 65536", errors.PolicyRefused), ("0 1000000 1", errors.Unsupported)])
async def test_a_user_namespace_with_the_hosts_ids_or_too_few_is_refused(
    raw: RawEngine, place: Path, ids: str, error: type[errors.TerrariumError]
) -> None:
    with subprocess.Popen(["unshare", "--user", "sleep", "1000"]) as process:
        try:
            await until(lambda: os.stat(f"/proc/{process.pid}/ns/user").st_ino != namespaces.initial()["user"])
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{process.pid}/{name}").write_text(ids)
            run("mount", "--bind", f"/proc/{process.pid}/ns/user", str(place))
            with pytest.raises(error):
                await raw.create(spec(command=SLEEP, namespaces={"user": f"path:{place}"}), "")
        finally:
            process.kill()
    assert raw.all() == []


@pytest.mark.parametrize(
    ("kind", "look", "answer"),
    [
        ("net", "ls /sys/class/net; ip -o link | cut -d: -f2 | cut -d@ -f1", None),
        ("uts", "hostname", os.uname().nodename),
        ("pid", f"cat /proc/{os.getpid()}/comm", Path("/proc/self/comm").read_text().strip()),
        ("ipc", "cat /proc/sysvipc/shm | wc -l", str(len(Path("/proc/sysvipc/shm").read_text().splitlines()))),
        ("time", "cat /proc/self/timens_offsets", Path("/proc/self/timens_offsets").read_text().strip()),
        ("cgroup", "cat /proc/self/cgroup", None),
    ],
)
async def test_each_namespace_of_the_host_can_be_shared_and_shows_the_hosts(
    raw: RawEngine, kind: str, look: str, answer: str | None
) -> None:
    box = await raw.create(spec(command=SLEEP, namespaces={"net": "none", kind: "host"}), "")
    host = namespaces.initial()
    assert {name for name, inode in inodes(box).items() if inode == host[name]} == {kind}
    assert box.namespaces[kind].initial
    shown = await say(raw, box, look)
    if kind == "net":
        links = sorted(os.listdir("/sys/class/net"))
        assert sorted(line.strip() for line in shown.splitlines()) == sorted(2 * links)
    elif kind == "cgroup":
        assert f"/terrarium-{box.id}" in shown.replace(f"-{raw._tag}/", "-")
    else:
        assert shown == answer


async def test_all_namespaces_of_the_host_but_mount_and_user_at_once(raw: RawEngine) -> None:
    modes = dict.fromkeys(("net", "uts", "pid", "ipc", "time", "cgroup"), "host")
    box = await raw.create(spec(command=SLEEP, namespaces=modes), "")
    assert inodes(box) == namespaces.initial() | {kind: inodes(box)[kind] for kind in ("mnt", "user")}
    refused = await raw.execute(box.id, ("sh", "-c", f"kill {os.getpid()}; hostname x; ip link set lo down; ls /proc/1/root"), 10)
    assert refused.stdout == "" and refused.stderr.count("\n") == 4, refused
    assert "Read-only" in (await raw.execute(box.id, ("sh", "-c", "echo 1 > /proc/sys/kernel/panic"), 10)).stderr
    await raw.stop(box.id, 5)
    assert raw.get(box.id).reason == "stopped with SIGTERM"


async def test_what_leads_to_the_hosts_own_is_held_against_the_policy_at_each_launch(home: Home) -> None:
    engine = home.engine(Allow(host_namespaces=("uts",)))
    await engine.open(home.changes.append)
    try:
        one = await engine.create(spec("one", command=SLEEP, namespaces={"uts": "host"}), "")
        two = await engine.create(spec("two", command=SLEEP, namespaces={"uts": "container:one", "net": "none"}), "")
        assert two.namespaces["uts"].initial and two.namespaces["uts"].mode == "container:one"
        engine._joiner._policy = home.engine(Allow(host_namespaces=()))._policy
        with pytest.raises(errors.PolicyRefused, match="uts"):
            await engine.restart(two.id, 0)
        assert one.pid
    finally:
        for container in engine.all():
            await engine.remove(container.id, force=True)
        await engine.close()


async def test_clocks_are_moved_before_the_first_process_and_for_all_that_follow(raw: RawEngine) -> None:
    box = await raw.create(
        spec(command=["sh", "-c", "cut -d. -f1 /proc/uptime; sleep 1000"], time_offsets={"monotonic": -5, "boottime": 864000}), ""
    )
    assert await say(raw, box, "awk '{print $1, $2, $3}' /proc/self/timens_offsets") == "monotonic -5 0\nboottime 864000 0"
    days = 864000 + time.clock_gettime(time.CLOCK_BOOTTIME)
    await until(lambda: (Path(raw._store.home(box.id)) / "log").read_text().strip() != "")
    assert 0 <= days - int((await raw.logs(box.id, LogQuery(1))).text) < 5
    assert 0 <= int(await say(raw, box, "cut -d. -f1 /proc/uptime")) - days + 2 < 5
    assert inodes(box)["time"] != namespaces.initial()["time"]
    friend = await raw.create(spec("friend", command=SLEEP, namespaces=joining("time", to="box")), "")
    assert "864000" in await say(raw, friend, "cat /proc/self/timens_offsets")


async def test_a_clock_cannot_be_moved_below_zero(raw: RawEngine) -> None:
    with pytest.raises(errors.InvalidInput, match="less than zero"):
        await raw.create(spec(time_offsets={"boottime": -(10**9)}), "")
    assert raw.all() == []


@pytest.fixture
async def with_host_files(home: Home) -> AsyncIterator[RawEngine]:
    async with in_use(home.engine(Allow(host_image=True)), home) as engine:
        yield engine


@pytest.fixture
def secret() -> Iterator[Path]:
    path = Path(f"/etc/terrarium-test-{os.getpid()}")
    path.write_text("secret")
    path.chmod(0o600)
    yield path
    path.unlink()


async def test_the_hosts_own_files_can_be_used_and_neither_changed_nor_its_secrets_read(
    with_host_files: RawEngine, secret: Path
) -> None:
    raw = with_host_files
    box = await raw.create(spec(image="host", command=SLEEP), "")
    script = f"cat {secret}; cat /etc/shadow; touch /etc/x /usr/x; stat -c %u /etc/passwd {secret};"
    script += " ls -A /home /root /srv /tmp /run /var/log"
    result = await raw.execute(box.id, ("bash", "-c", script), 10)
    assert result.stderr.count("denied") == 2 and result.stderr.count("Read-only") == 2, result
    assert result.stdout.splitlines()[:2] == ["65534", "65534"] and "secret" not in result.stdout
    assert [line for line in result.stdout.splitlines()[2:] if line and not line.endswith(":")] == []
    assert await say(raw, box, "touch /tmp/x /root/x && ls /tmp") == "x"
    assert (
        await say(
            raw,
            box,
            "find / -xdev -perm -4000 -newer /nowhere 2>/dev/null; awk '$4 !~ /nosuid/ && $2 ~ /^.(usr|etc)$/' /proc/self/mounts",
        )
        == ""
    )
