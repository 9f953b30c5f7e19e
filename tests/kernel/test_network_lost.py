"""A state file of the networks that was cut short takes no network from those who are in it."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from containers_app.errors import KernelRefused
from containers_app.kernel import networks
from containers_app.kernel.network import DEFAULT, Attachment
from tests.kernel.netns import attach, fresh_host, inside, pings, run, start_namespace

SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "garbage": lambda data: b"\0\xff" * 40,
    "another shape": lambda data: b'{"version": 9, "networks": [{"name": "blue"}]}',
}


@pytest.fixture
def host() -> Iterator[None]:
    with fresh_host():
        yield


@pytest.fixture
def tag() -> str:
    return secrets.token_hex(3)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    return str(tmp_path / "network.json"), str(tmp_path / "forwarding.json")


def spoil(place: Path, how: str, *, but_last: bool = False) -> None:
    for path in place.parent.glob(place.name if but_last else f"{place.name}*"):
        path.write_bytes(SPOILT[how](path.read_bytes()))


def opened(*where: str, held: dict[str, Attachment] | None = None) -> networks.Networks:
    found = networks.open_networks(*where, held=held)
    found.assert_rules()
    return found


def told(found: networks.Networks) -> dict[str, tuple[object, ...]]:
    return {name: (one.bridge, one.subnet, one.subnet6, one.nat, one.isolated) for name, one in found.all.items()}


@pytest.mark.parametrize("how", [*SPOILT, "gone"])
def test_networks_with_somebody_in_them_are_there_again_as_they_were(
    host: None, tag: str, files: tuple[str, str], how: str, spawn: object, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(tag, *files)
    for name, nat, isolated in (("blue", True, True), ("inner", False, False), ("empty", True, True)):
        first.create(name, nat=nat, isolated=isolated)
    before = told(first)
    held = {name: first.get(name).attachment(()) for name in (DEFAULT, "blue", "inner")}
    members = {name: start_namespace(spawn) for name in held}
    for name, process in members.items():
        attach(process, held[name])
    if how == "gone":
        for path in Path(files[0]).parent.glob("network.json*"):
            path.unlink()
    else:
        spoil(Path(files[0]), how)
    for _ in range(2):  # as the sandboxes tell, and then as it has been written
        again = opened(tag, *files, held=held)
        assert told(again) == {name: one for name, one in before.items() if name != "empty"}
        assert again.prefix6 == first.prefix6
        for name, process in members.items():
            with inside(process):
                assert pings(held[name].gateway)
    assert caplog.text.count("the network blue was lost") == 1 and "without a way out" in caplog.text
    assert set(networks.links(tag)) >= {held["blue"].link, held["blue"].bridge}


@pytest.mark.parametrize("how", SPOILT)
def test_where_the_last_version_is_spoilt_the_one_before_counts(
    host: None, tag: str, files: tuple[str, str], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(tag, *files)
    first.create("blue")
    before = told(first)
    first.create("green")
    spoil(Path(files[0]), how, but_last=True)
    again = opened(tag, *files)
    assert told(again) == before and caplog.text == ""
    again.create("green")
    assert told(opened(tag, *files)).keys() == {DEFAULT, "blue", "green"}


def test_without_the_firewalls_rules_a_lost_network_has_no_way_out(host: None, tag: str, files: tuple[str, str]) -> None:
    first = opened(tag, *files)
    blue = first.create("blue")
    held = {"blue": blue.attachment(())}
    assert run("nft", "flush", "ruleset").returncode == 0
    spoil(Path(files[0]), "empty")
    assert told(opened(tag, *files, held=held))["blue"] == (*told(first)["blue"][:3], False, True)


def test_a_network_that_was_lost_with_its_bridge_is_made_again(host: None, tag: str, files: tuple[str, str]) -> None:
    """After a restart of the host: those who were in it keep their addresses."""
    first = opened(tag, *files)
    blue = first.create("blue")
    held = {"blue": blue.attachment(()), DEFAULT: first.default.attachment(())}
    for link in networks.links(tag):
        run("ip", "link", "delete", link)
    spoil(Path(files[0]), "garbage")
    again = opened(tag, *files, held=held)
    assert told(again) == told(first) and set(networks.links(tag)) == {blue.bridge, first.default.bridge}


def test_on_a_full_disk_what_is_there_goes_on_and_a_removal_is_refused_whole(
    host: None, tag: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place, note = tmp_path / "full", str(tmp_path / "forwarding.json")
    place.mkdir()
    assert run("mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)).returncode == 0
    try:
        where = str(place / "network.json"), note
        first = opened(tag, *where)
        blue = first.create("blue")
        before = told(first)
        for path in place.iterdir():  # as on a file system that never writes in place: the next version needs room
            path.unlink()
        with pytest.raises(OSError, match="No space left"):
            (place / "rest").write_bytes(b"x" * 65536)
        with pytest.raises(KernelRefused, match="No space left"):
            first.remove("blue")
        assert told(first) == before and blue.bridge in networks.links(tag)
        again = opened(tag, *where, held={"blue": blue.attachment(())})
        assert told(again)["blue"] == before["blue"] and "What is there goes on" in caplog.text
        (place / "rest").unlink()
        again.create("green")
        assert told(opened(tag, *where)).keys() == {DEFAULT, "blue", "green"}
    finally:
        subprocess.run(["umount", str(place)], check=True)
