"""Custom id maps: what the kernel has, who owns the files, what the policy lends, and that no two sandboxes share an id."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines.policy import Allow
from containers_app.engines.raw import RawEngine

from .conftest import UID_BASE, Home, spec

FREE = UID_BASE + 65536 * 40  # in the policy's range, far from what is given out first


def line(inside: int, outside: int, count: int = 1) -> dict[str, int]:
    return {"inside": inside, "outside": outside, "count": count}


async def test_root_alone_can_be_mapped_and_owns_image_and_files(raw: RawEngine, home: Home) -> None:
    box = await raw.create(spec(id_map=[line(0, FREE)]), "")
    assert Path(f"/proc/{box.pid}/uid_map").read_text().split() == ["0", str(FREE), "1"]
    assert Path(f"/proc/{box.pid}/gid_map").read_text().split() == ["0", str(FREE), "1"]
    assert box.user_map == f"0 {FREE} 1"
    made = await raw.execute(box.id, ("sh", "-c", "touch /root/mine && stat -c %u:%g /bin/busybox /root/mine && id -u"), 10)
    assert made.stdout.split() == ["0:0", "0:0", "0"], made
    assert os.stat(home.data / "sandboxes" / box.id / "upper/root/mine").st_uid == FREE
    shown = raw.commands(box.id)
    at = shown.index(f"printf '0 {FREE} 1\\n' | tee /proc/$PID/uid_map > /proc/$PID/gid_map")
    assert shown[at - 1] == "echo deny > /proc/$PID/setgroups"
    assert Path(f"/proc/{box.pid}/setgroups").read_text() == "deny\n"
    assert any("setpriv" in line and "--keep-groups" in line for line in shown[at:])


async def test_a_map_of_several_lines_holds_for_users_and_groups(raw: RawEngine) -> None:
    id_map = [line(0, FREE, 10), line(1000, FREE + 5000, 100)]
    box = await raw.create(spec(id_map=id_map, user="1000:1001"), "")
    assert box.user_map == f"0 {FREE} 10, 1000 {FREE + 5000} 100"
    rows = Path(f"/proc/{box.pid}/status").read_text()
    assert f"Uid:\t{FREE + 5000}\t" in rows and f"Gid:\t{FREE + 5001}\t" in rows and "Groups:\t \n" in rows
    shown = await raw.execute(box.id, ("sh", "-c", "id -u; id -g; chown 5000 /tmp 2>&1"), 10)
    assert shown.stdout.split()[:2] == ["1000", "1001"] and "chown" in shown.stdout


@pytest.mark.parametrize("user", ["1000", "0:7"])
async def test_a_map_without_root_or_the_programs_user_is_refused(raw: RawEngine, user: str) -> None:
    for fields in ({"id_map": [line(0, FREE)], "user": user}, {"id_map": [line(5, FREE)]}):
        with pytest.raises(errors.InvalidInput) as refused:
            await raw.create(spec(**fields), "")
        assert refused.value.code == "invalid_id_map"


async def test_ids_of_another_sandbox_are_refused_and_never_given_out(raw: RawEngine) -> None:
    first = await raw.create(spec("first"), "")
    base = int(first.user_map.split()[1])
    with pytest.raises(errors.Conflict) as taken:
        await raw.create(spec("second", id_map=[line(0, base + 100)]), "")
    assert (taken.value.code, "first" in taken.value.message) == ("ids_taken", True)
    # What a map has taken in the middle of the next range, that range is not given out for.
    await raw.create(spec("third", id_map=[line(0, UID_BASE + 65536 + 7)], start=False), "")
    fourth = await raw.create(spec("fourth"), "")
    assert fourth.user_map == f"0 {UID_BASE + 2 * 65536} 65536"


@pytest.mark.parametrize("outside", [0, 1000, UID_BASE - 1])
async def test_ids_of_the_host_are_the_policys_to_lend(raw: RawEngine, outside: int) -> None:
    with pytest.raises(errors.PolicyRefused) as refused:
        await raw.create(spec(id_map=[line(0, outside)]), "")
    assert "id_maps" in refused.value.hint
    with pytest.raises(errors.PolicyRefused):  # from within the range out of it
        await raw.create(spec(id_map=[line(0, UID_BASE + 65536 * 63, 65537)]), "")


async def test_ids_that_root_has_listed_can_be_mapped(home: Home) -> None:
    engine = home.engine(Allow(id_maps=("61234", "61300-61399")))
    await engine.open(home.changes.append)
    box = await engine.create(spec(id_map=[line(0, 61234), line(1, 61300, 100)]), "")
    assert os.stat(f"/proc/{box.pid}").st_uid == 61234
    await engine.remove(box.id, force=True)
    await engine.close()


@pytest.mark.parametrize("text", ["x", "5-1", "-1", "1-", "4294967295", "²"])
def test_a_policy_with_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="id_maps"):
        Allow(id_maps=(text,))
