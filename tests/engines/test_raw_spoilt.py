"""Sandboxes whose record can't be read: nothing of them is lost, the list tells of them, and they can be removed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from containers_app import errors
from containers_app.engines.raw_removal import remove_everything
from containers_app.engines.raw_store import Store
from containers_app.kernel import cgroups
from containers_app.spec import LIMITS, Changes

from .conftest import Home, in_use, spec, until


def rewritten(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        record = json.loads(path.read_bytes())
        change(record)
        path.write_text(json.dumps(record))

    return rewrite


def hide(path: Path) -> None:
    """It can't be opened (ELOOP), as when the disk or a lack of descriptors keeps it from us."""
    path.rename(f"{path}.hidden")
    path.symlink_to(path)


SPOILT: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "garbage": lambda path: path.write_bytes(b"\0\xff" * 40),
    "of another shape": rewritten(lambda record: record.update(spec="box")),
    "in an unknown phase": rewritten(lambda record: record.update(phase="hovering")),
    "not to be opened": hide,
}


def files(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


@pytest.mark.parametrize("how", SPOILT)
async def test_what_is_there_and_what_runs_stays_and_is_found_again_with_the_record(
    home: Home, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = home.engine()
    await first.open(home.changes.append)
    first.groups.create("team", "ann", {})
    boxes = [await first.create(spec("plain"), "ann"), await first.create(spec("member", group="team"), "ann")]
    await first.execute(boxes[0].id, ("sh", "-c", "echo kept > /file"), 10)
    await first.close()
    records = [path for box in boxes for path in (home.data / "sandboxes" / box.id).glob("record.json*")]
    kept = {path: path.read_bytes() for path in records}
    for path in records:
        SPOILT[how](path)
    before = [files(home.data / "sandboxes" / box.id) for box in boxes]
    second = home.engine()
    await second.open(home.changes.append)
    for box, group in zip(boxes, ("", "team"), strict=True):
        found = second.get(box.id)
        assert (found.state, found.name, found.image, found.owner, found.group) == ("unknown", box.id, "unknown", "", group)
        assert "record.json can't be read: " in found.reason and found.reason in caplog.text
        assert os.path.exists(f"/proc/{box.pid}") and all(map(os.path.isdir, box.cgroups.values()))
    assert {one.id for one in second.all()} == {box.id for box in boxes} and second.owns(boxes[0].id)
    assert "2 whose record can't be read" in second.status().detail
    await second.close()
    assert [files(home.data / "sandboxes" / box.id) for box in boxes] == before
    for path, data in kept.items():
        path.unlink()
        path.write_bytes(data)
    async with in_use(home.engine(), home) as third:
        for box in boxes:
            assert (third.get(box.id).state, third.get(box.id).pid) == ("running", box.pid)
        assert (await third.execute(boxes[0].id, ("cat", "/file"), 10)).stdout == "kept\n"


def spoil(home: Home, sandbox: str) -> None:
    for path in (home.data / "sandboxes" / sandbox).glob("record.json*"):
        SPOILT["truncated"](path)


async def test_nothing_of_theirs_is_given_to_others_and_nothing_is_done_to_them(home: Home) -> None:
    first = home.engine()
    await first.open(home.changes.append)
    source = await first.create(spec("source", start=False), "")
    await first.images_of.commit(first._find(source.id).record, "mine", "ann", lambda _: None)
    first.groups.create("team", "ann", {})
    box = await first.create(spec(image="mine", group="team"), "")
    await first.remove(source.id, force=False)
    base = first._find(box.id).record.uid_base
    await first.close()
    spoil(home, box.id)
    async with in_use(home.engine(), home) as second:
        other = await second.create(spec("other"), "")
        assert second._find(other.id).record.uid_base != base
        with pytest.raises(errors.Conflict, match=f"used by {box.id}"):
            await second.images_of.remove("mine")
        with pytest.raises(errors.Conflict):
            second.groups.remove("team", [])
        for act in (
            second.start(box.id), second.stop(box.id, 0), second.kill(box.id, 9), second.restart(box.id, 0), second.pause(box.id),
            second.update(box.id, Changes(name="new")), second.update_limits(box.id, dict.fromkeys(LIMITS)),
            second.execute(box.id, ("true",), 10), second.open_terminal(box.id, (), 24, 80), second.export_container(box.id),
            second.clone(box.id, "copy", "", lambda _: None),
        ):  # fmt: skip
            with pytest.raises(errors.Conflict, match="can't be read") as refused:
                await act
            assert refused.value.code == "sandbox_spoilt" and "remove it" in refused.value.hint
        second.look_again(box.id)
        assert second.get(box.id).state == "unknown" and os.path.exists(f"/proc/{box.pid}")


async def test_one_can_be_removed_by_force_while_something_runs_in_it(home: Home) -> None:
    first = home.engine()
    await first.open(home.changes.append)
    box, still = await first.create(spec(), ""), await first.create(spec("still", start=False), "")
    await first.close()
    spoil(home, box.id)
    spoil(home, still.id)
    async with in_use(home.engine(), home) as second:
        with pytest.raises(errors.Conflict, match="runs") as refused:
            await second.remove(box.id, force=False)
        assert "--force" in refused.value.hint and os.path.exists(f"/proc/{box.pid}")
        await second.remove(box.id, force=True)
        await second.remove(still.id, force=False)
        assert second.all() == [] and box.id in home.changes and os.listdir(home.data / "sandboxes") == []
        await until(lambda: not os.path.exists(f"/proc/{box.pid}"))
        await until(lambda: not any(map(os.path.isdir, box.cgroups.values())))
        with pytest.raises(errors.NotFound):
            await second.remove(box.id, force=True)


async def test_they_go_with_everything(home: Home) -> None:
    first = home.engine()
    await first.open(home.changes.append)
    box = await first.create(spec(), "")
    await first.close()
    spoil(home, box.id)
    assert await remove_everything(tag=home.tag, data=str(home.data), run=str(home.run), cgroups=cgroups.choose()) == []
    await until(lambda: not os.path.exists(f"/proc/{box.pid}"))
    assert os.listdir(home.data / "sandboxes") == []


def add_fields(value: Any) -> Any:
    """What a later version might have written: another field in each object."""
    if isinstance(value, dict):
        return {**{name: add_fields(one) for name, one in value.items()}, "of_tomorrow": {"level": 3}}
    return [add_fields(one) for one in value] if isinstance(value, list) else value


async def test_fields_that_another_version_added_are_passed_over(home: Home) -> None:
    first = home.engine()
    await first.open(home.changes.append)
    rule = {"names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}
    box = await first.create(
        spec(
            mounts=[{"type": "tmpfs", "target": "/mnt"}], rlimits={"nofile": {"soft": 100, "hard": 200}},
            ports=[{"container_port": 80}], restart="always",
            security={"seccomp_profile": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}},
        ), "ann",
    )  # fmt: skip
    await until(lambda: first._find(box.id).record.version > 1)
    await first.close()
    (before,), _, _ = Store(str(home.data)).load()
    for path in (home.data / "sandboxes" / box.id).glob("record.json*"):
        record = json.loads(path.read_bytes())
        free = {name: record["spec"].pop(name) for name in ("env", "limits", "labels", "extra_hosts", "time_offsets", "rlimits")}
        requested = record.pop("requested")
        record = add_fields(record) | {"requested": requested}
        free["rlimits"]["nofile"] = add_fields(free["rlimits"]["nofile"])
        record["spec"] |= free
        path.write_text(json.dumps(record))
        with pytest.raises(msgspec.ValidationError, match="unknown field"):
            msgspec.json.decode(path.read_bytes(), type=type(before))
    (found,), half_made, spoilt = Store(str(home.data)).load()
    assert (found, half_made, spoilt) == (before, [], {})
    async with in_use(home.engine(), home) as second:
        assert (second.get(box.id).state, second.get(box.id).pid, second.get(box.id).owner) == ("running", box.pid, "ann")
