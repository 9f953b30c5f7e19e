"""Programs that join only some of a sandbox's namespaces, with the host's files where "mnt" is not among them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from containers_app import errors
from containers_app.engines.policy import Allow
from containers_app.engines.raw import RawEngine
from containers_app.kernel import namespaces
from containers_app.spec import NAMESPACE_TYPES

from .conftest import Home, in_use, spec

LOOK = ("sh", "-c", f"for n in {' '.join(NAMESPACE_TYPES)}; do readlink /proc/self/ns/$n; done")


@pytest.fixture
async def open_host(home: Home) -> AsyncIterator[RawEngine]:
    engine = home.engine(Allow(host_image=True))
    await engine.open(home.changes.append)
    yield engine
    for container in engine.all():
        await engine.remove(container.id, force=True)
    await engine.close()


async def joined(engine: RawEngine, box: str, kinds: tuple[str, ...]) -> set[str]:
    """Of which types the program stood in the sandbox's namespaces."""
    found = await engine.execute(box, LOOK, 10, kinds)
    assert found.exit_code == 0, found
    theirs = namespaces.namespaces_of(engine.get(box).pid)
    return {kind for kind in NAMESPACE_TYPES if f"{kind}:[{theirs[kind]}]" in found.stdout.split()}


async def test_the_chosen_ones_and_the_user_namespace_are_joined_and_no_other(open_host: RawEngine) -> None:
    box = await open_host.create(spec(command=["sleep", "1000"]), "")
    assert await joined(open_host, box.id, ("mnt", "pid")) == {"mnt", "pid", "user"}
    assert await joined(open_host, box.id, ("net", "uts")) == {"net", "uts", "user"}
    assert await joined(open_host, box.id, ()) == set(NAMESPACE_TYPES)


async def test_the_hosts_own_program_works_on_the_sandboxes_network_and_can_change_no_file(open_host: RawEngine) -> None:
    box = await open_host.create(spec(command=["sleep", "1000"]), "")
    shown = await open_host.execute(box.id, ("sh", "-c", "hostname; cat /proc/net/fib_trie"), 10, ("net", "uts"))
    assert shown.stdout.startswith("box\n") and box.addresses[0].split("/")[0] in shown.stdout
    tried = "for f in /tmp /var/tmp /dev/shm /etc; do echo x > $f/terrarium-test && echo written; done; cat /etc/shadow"
    refused = await open_host.execute(box.id, ("sh", "-c", tried), 10, ("net",))
    assert "written" not in refused.stdout and "root:" not in refused.stdout
    assert refused.stderr.count("Read-only file system") == 4, refused.stderr
    assert not os.path.exists("/tmp/terrarium-test")
    mounted = await open_host.execute(box.id, ("mount", "-o", "remount,rw", "/"), 10, ("net",))
    assert mounted.exit_code != 0


async def test_the_hosts_files_are_the_policys_to_show(raw: RawEngine) -> None:
    box = await raw.create(spec(command=["sleep", "1000"]), "")
    with pytest.raises(errors.PolicyRefused) as refused:
        await raw.execute(box.id, ("true",), 10, ("net",))
    assert "host_image" in refused.value.hint
    assert (await raw.execute(box.id, ("hostname",), 10, ("mnt",))).stdout == f"{os.uname().nodename}\n"


async def test_the_hosts_own_namespaces_are_the_policys_to_lend(home: Home) -> None:
    async with in_use(home.engine(Allow(host_namespaces=("uts", "time", "cgroup"))), home) as engine:
        box = await engine.create(spec(command=["sleep", "1000"]), "")
        for left_out in ("net", "pid", "ipc"):
            rest = tuple(kind for kind in NAMESPACE_TYPES if kind != left_out)
            with pytest.raises(errors.PolicyRefused, match=left_out):
                await engine.execute(box.id, ("true",), 10, rest)
        assert (await engine.execute(box.id, ("true",), 10, ("mnt", "net", "pid", "ipc"))).exit_code == 0
