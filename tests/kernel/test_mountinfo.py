"""Mounts of a process as findmnt(8), another reader of the same file, sees them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers_app.kernel import mountinfo


@pytest.fixture
def odd_mount(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "a b\tc\\d\u00e9#"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "none", place], check=True)
    subprocess.run(["mount", "--make-shared", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_it_reads_as_findmnt_does(odd_mount: Path) -> None:
    ours = {one.target: one for one in mountinfo.mounts("self")}
    command = ["findmnt", "--json", "--output", "ID,PARENT,MAJ:MIN,FSROOT,TARGET,VFS-OPTIONS,PROPAGATION,FSTYPE,SOURCE"]
    (theirs,) = json.loads(subprocess.run([*command, str(odd_mount)], capture_output=True, check=True).stdout)["filesystems"]
    one = ours[str(odd_mount)]
    assert (one.id, one.parent, one.device, one.root) == (theirs["id"], theirs["parent"], theirs["maj:min"], theirs["fsroot"])
    assert (one.type, one.source, one.propagation) == (theirs["fstype"], theirs["source"], theirs["propagation"])
    assert set(one.options) == set(theirs["vfs-options"].split(",")) and "ro" in one.options
    assert "size=1024k" in one.super_options


def test_a_process_that_is_gone_has_no_mounts() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert mountinfo.mounts(ended.pid) == []


def test_names_that_are_no_text_can_still_be_told() -> None:
    raw = rb"36 35 98:0 /m\040t /x\377 rw,noatime shared:1 master:1 - ext3 /dev/root rw,errors=continue" + b"\xff\n"
    one = mountinfo.parse(raw.decode(errors="backslashreplace"))
    assert (one.root, one.propagation) == ("/m t", "shared,slave")
    json.dumps(one.super_options).encode()
    assert one.super_options[-1] == "errors=continue\\xff"
