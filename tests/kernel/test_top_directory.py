"""Directories whose subdirectories have nothing to do with each other."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers_app.engines.raw_store import Store
from containers_app.kernel import top_directory


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Path]:
    """The root of a file system of our own."""
    image, place = tmp_path / "image", tmp_path / "mounted"
    with open(image, "wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def attributes(directory: Path) -> str:
    ran = subprocess.run(["lsattr", "-d", str(directory)], capture_output=True, text=True, check=False)
    return ran.stdout.split()[0] if ran.stdout else ""


def test_a_directory_is_marked_once_and_keeps_its_other_attributes(ext4: Path) -> None:
    subprocess.run(["chattr", "+A", str(ext4)], check=True)
    for _ in range(2):
        top_directory.mark(str(ext4))
        assert {"A", "T"} <= set(attributes(ext4))


def test_the_sandboxes_and_spares_of_a_data_directory_are_marked(ext4: Path) -> None:
    Store(str(ext4))
    assert all("T" in attributes(ext4 / name) for name in ("sandboxes", "spares"))


def test_a_file_system_without_such_a_mark_is_none_the_worse(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path)], check=True)
    try:
        top_directory.mark(str(tmp_path))
        assert "T" not in attributes(tmp_path)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        top_directory.mark(str(tmp_path / "none"))
