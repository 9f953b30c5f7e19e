"""Restart policies and toolboxes of sandboxes that lean on others."""

import os
import signal

from containers_app.engines.raw_restart import delay
from tests.engines.conftest import spec, until


def inode(raw, box, kind):
    return raw.get(box.id).namespaces[kind].inode


async def test_one_that_restarts_joins_what_its_provider_has_now(raw):
    provider = await raw.create(spec("provider", command=["sleep", "1000"]), "")
    joined = {"net": f"container:{provider.id}", "ipc": f"container:{provider.id}"}
    leaner = await raw.create(spec("leaner", command=["sleep", "1000"], namespaces=joined, restart="on-failure"), "")
    before = inode(raw, provider, "net")
    assert inode(raw, leaner, "net") == before
    await raw.restart(provider.id, 0)
    assert inode(raw, provider, "net") != before == inode(raw, leaner, "net")  # it keeps what it is in
    os.kill(raw.get(leaner.id).pid, signal.SIGKILL)
    await until(lambda: raw.get(leaner.id).state == "running" and raw.get(leaner.id).pid != leaner.pid)
    for kind in ("net", "ipc"):
        assert inode(raw, leaner, kind) == inode(raw, provider, kind)


async def test_one_whose_provider_has_ended_says_so_and_joins_it_again_when_it_is_back(raw):
    provider = await raw.create(spec("provider", command=["sleep", "1000"]), "")
    joined = {"pid": f"container:{provider.id}"}
    policy = {"policy": "on-failure"}
    leaner = await raw.create(spec("leaner", command=["sleep", "1000"], namespaces=joined, restart=policy), "")
    await raw.stop(provider.id, 0)  # a pid namespace ends with its first process, and everybody in it
    await until(lambda: "the last one failed" in raw.get(leaner.id).reason)
    assert raw.get(leaner.id).state == "exited" and provider.id in raw.get(leaner.id).reason
    await raw.start(provider.id)
    await until(lambda: raw.get(leaner.id).state == "running", seconds=2 * delay(8))
    assert inode(raw, leaner, "pid") == inode(raw, provider, "pid")
    assert "failed" not in raw.get(leaner.id).reason


async def test_one_with_attempts_gives_up_on_a_provider_that_does_not_come_back(raw):
    provider = await raw.create(spec("provider", command=["sleep", "1000"]), "")
    fields = {"namespaces": {"pid": f"container:{provider.id}"}, "restart": {"policy": "on-failure", "retries": 3}}
    leaner = await raw.create(spec("leaner", command=["sleep", "1000"], **fields), "")
    await raw.remove(provider.id, force=True)
    await until(lambda: "given up after 3 attempts" in raw.get(leaner.id).reason)
    assert raw.get(leaner.id).state == "exited"


async def test_a_toolbox_ends_with_its_target_and_does_not_keep_it_from_restarting(raw):
    target = await raw.create(spec("target", command=["sleep", "1000"], restart="always"), "")
    terminal = await raw.toolboxes.open(raw.get(target.id), "busybox", 24, 80)
    try:
        os.kill(target.pid, signal.SIGKILL)
        await until(lambda: raw.get(target.id).state == "running" and raw.get(target.id).pid != target.pid)
        assert raw.get(target.id).restart_count == 1
        await until(lambda: ended(terminal.fd))
    finally:
        os.close(terminal.fd)


def ended(fd):
    os.set_blocking(fd, False)
    try:
        return os.read(fd, 4096) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True  # EIO: nobody has the other end
