"""Files of state that were cut short while no worker ran: what runs runs on, and can be used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines.policy import Allow
from containers_app.spec import NetworkSpec

from .conftest import Home, in_use, spec

SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "garbage": lambda data: b"\0\xff" * 40,
}
EXEC = ("sh", "-c", "hostname; ls /bin/sh")


def spoil(place: Path, how: str) -> None:
    for path in place.parent.glob(f"{place.name}*"):
        path.write_bytes(SPOILT[how](path.read_bytes()))


@pytest.mark.parametrize("how", SPOILT)
async def test_a_sandbox_in_a_group_whose_record_is_lost_runs_on_in_it(home: Home, how: str) -> None:
    first = home.engine()
    await first.open(home.changes.append)
    first.groups.create("team", "ann", {"pids": 40})
    first.groups.update_limits("team", {"memory": 128 << 20})
    box = await first.create(spec(group="team"), "ann")
    await first.close()
    spoil(home.data / "groups" / "team.json", how)
    async with in_use(home.engine(), home) as second:
        found = second.get(box.id)
        assert (found.state, found.pid, found.group) == ("running", box.pid, "team")
        assert second.groups.names() == ["team"] and os.path.exists(f"/proc/{box.pid}")
        assert second.read_limits(box.id)["pids"].effective == second.groups.read_limits("team")["pids"].requested == 40
        assert (await second.execute(box.id, EXEC, 20)).stdout == "box\n/bin/sh\n"
        other = await second.create(spec("other", group="team"), "ann")
        assert second.groups.read_usage("team").pids == 2 and other.state == "running"


@pytest.mark.parametrize("how", SPOILT)
async def test_a_sandbox_in_a_network_whose_state_is_lost_keeps_its_place(home: Home, how: str) -> None:
    first = home.engine()
    await first.open(home.changes.append)
    await first.wire.create_network(NetworkSpec(name="blue"))
    before = {one["name"]: one for one in await first.networks()}
    boxes = [await first.create(spec(name or "plain", network=name), "") for name in ("", "blue")]
    await first.close()
    spoil(home.data / "state" / "network.json", how)
    async with in_use(home.engine(), home) as second:
        for box in boxes:
            assert (second.get(box.id).state, second.get(box.id).pid) == ("running", box.pid)
        after = {one["name"]: one for one in await second.networks()}
        for name in ("default", "blue"):
            assert [one["name"] for one in after[name].pop("containers")] == [name.replace("default", "plain")]
            assert after[name] == {fact: value for fact, value in before[name].items() if fact != "containers"}
            gateway = after[name]["gateway"]
            pinged = await second.execute(name.replace("default", "plain"), ("ping", "-c", "1", "-W", "5", gateway), 10)
            assert pinged.exit_code == 0, pinged


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("image", ["busybox", "host", "mine"])
async def test_a_sandbox_whose_images_facts_are_lost_runs_on_and_can_be_entered(home: Home, how: str, image: str) -> None:
    first = home.engine(Allow(host_image=True))
    await first.open(home.changes.append)
    source = await first.create(spec("source", start=False), "")
    await first.images_of.commit(first._find(source.id).record, "mine", "ann", lambda _: None)
    box = await first.create(spec(image=image), "")
    await first.close()
    spoil(home.data / "images" / image / "image.json", how)
    async with in_use(home.engine(Allow(host_image=True)), home) as second:
        found = second.get(box.id)
        assert (found.state, found.pid) == ("running", box.pid)
        assert (await second.execute(box.id, EXEC, 20)).stdout == "box\n/bin/sh\n"
        await second.restart(box.id, 0)
        assert (await second.execute(box.id, EXEC, 20)).stdout == "box\n/bin/sh\n"
        if image != "mine":  # the panel's own are described anew
            assert (await second.create(spec("other", image=image), "")).state == "running"
            return
        with pytest.raises(errors.Conflict, match="can't be read") as refused:
            await second.create(spec("other", image=image), "")
        assert refused.value.code == "image_spoilt" and "run on" in refused.value.hint
        (row,) = [row for row in await second.images() if row["name"] == "mine"]
        assert "can't be read" in row["source"] and row["in_use_by"] == ["box"]
        with pytest.raises(errors.Conflict, match="used by box"):
            await second.images_of.remove("mine")
        with pytest.raises(errors.Conflict, match="already"):
            second.images_of.check_free("mine")
        await second.remove(box.id, force=True)
        await second.images_of.remove("mine")
        second.images_of.check_free("mine")
        assert [row["name"] for row in await second.images()] == ["busybox", "host"]
