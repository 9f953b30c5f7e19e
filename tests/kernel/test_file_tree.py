"""A tree goes, whatever is in it and whatever comes meanwhile; nothing beside it does."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from containers_app.kernel import file_tree


def nest(place: Path, levels: int, name: str = "d") -> None:
    """Deeper than any path can say."""
    place.mkdir(parents=True, exist_ok=True)
    here = os.open(place, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        inside = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inside
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Of all kinds, beside something that it leads to by links."""
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside/kept").write_text("kept")
    top = tmp_path / "tree"
    for directory in ("empty", "full/of/directories", "full/shut"):
        (top / directory).mkdir(parents=True)
    (top / "full/of/file").write_text("x")
    (top / "full/shut/file").write_text("x")
    (top / "full/shut").chmod(0)
    os.symlink(tmp_path / "beside", top / "full/link")
    os.symlink("nowhere", top / "broken")
    os.mkfifo(top / "pipe")
    os.mknod(top / "whiteout", 0o20000)  # an overlay's: a character device 0/0
    (top / os.fsdecode(b"\xff\n")).write_text("x")
    return top


def beside(tree: Path) -> list[str]:
    return sorted(str(path.relative_to(tree.parent)) for path in tree.parent.rglob("*"))


def test_all_of_it_goes_and_what_its_links_lead_to_stays(tree: Path) -> None:
    file_tree.remove(str(tree))
    assert beside(tree) == ["beside", "beside/kept"]
    file_tree.remove(str(tree))  # there is none


def test_a_file_or_a_link_in_its_place_goes_too(tree: Path) -> None:
    for path in (tree / "pipe", tree / "broken", tree / "full/link"):
        file_tree.remove(str(path))
        assert not os.path.lexists(path)
    assert (tree.parent / "beside/kept").exists()


@pytest.mark.parametrize("deepest", [file_tree.DEEPEST, 1, 7])
def test_a_tree_of_any_depth_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deepest: int) -> None:
    monkeypatch.setattr(file_tree, "DEEPEST", deepest)
    nest(tmp_path / "tree", 5000 if deepest > 100 else 100)
    nest(tmp_path / "tree", 20, "second")
    file_tree.remove(str(tmp_path / "tree"))
    assert os.listdir(tmp_path) == []


def test_it_holds_few_files_open_and_little_of_the_stack(tmp_path: Path) -> None:
    nest(tmp_path / "tree", 3000)
    program = (
        "import resource, sys; from containers_app.kernel import file_tree;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12)); sys.setrecursionlimit(60); file_tree.remove(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "tree")], check=True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mounted", ["full/of/directories", "full/of/file", "empty"])
def test_what_something_is_mounted_on_stays_with_what_is_mounted(tree: Path, mounted: str) -> None:
    source = tree.parent / "beside" / ("kept" if (tree / mounted).is_file() else "")
    subprocess.run(["mount", "--bind", str(source), str(tree / mounted)], check=True)
    try:
        with pytest.raises(OSError, match="busy") as refused:
            file_tree.remove(str(tree))
        assert refused.value.errno == errno.EBUSY and (tree.parent / "beside/kept").read_text() == "kept"
        above = {str(Path(mounted)), *map(str, Path(mounted).parents)} - {"."}
        inside = {f"{mounted}/kept"} if source.is_dir() else set()
        assert {str(path.relative_to(tree)) for path in tree.rglob("*")} == above | inside  # all else has gone
        file_tree.clear_away(str(tree))  # says so in the log
    finally:
        subprocess.run(["umount", str(tree / mounted)], check=True)
    file_tree.remove(str(tree))
    assert beside(tree) == ["beside", "beside/kept"]


def test_a_mount_in_its_place_stays(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    subprocess.run(["mount", "--bind", str(tree.parent / "beside"), str(tree)], check=True)
    try:
        file_tree.clear_away(str(tree))
        assert (tree / "kept").exists() and f"{tree} can't be removed whole" in caplog.text
    finally:
        subprocess.run(["umount", str(tree)], check=True)


def at_first(monkeypatch: pytest.MonkeyPatch, place: Path, then: Callable[[], object]) -> None:
    """``then`` happens as soon as this directory has been swept for the first time."""
    real, wanted, done = file_tree._sweep, place.stat().st_ino, []

    def sweep(directory: int, left: list[OSError]) -> list[str]:
        found = real(directory, left)
        if os.fstat(directory).st_ino == wanted and not done:
            done.append(then())
        return found

    monkeypatch.setattr(file_tree, "_sweep", sweep)


def test_what_is_made_while_it_goes_goes_too(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_first(monkeypatch, tree / "full/of", lambda: nest(tree / "full/of/new", 10))
    file_tree.remove(str(tree))
    assert beside(tree) == ["beside", "beside/kept"]


def test_a_directory_that_is_moved_while_it_is_emptied_leads_nowhere_else(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        (tree / f"full/{number}").mkdir()
        (tree / f"full/{number}/file").write_text("x")
        (tree.parent / f"beside/{number}").mkdir()
        (tree.parent / f"beside/{number}/file").write_text("kept")
    before = beside(tree.parent / "beside")
    moved = tree.parent / "beside/of"
    at_first(monkeypatch, tree / "full/of", lambda: (tree / "full/of").rename(moved))
    file_tree.remove(str(tree))
    assert not tree.exists()
    left = [name for name in beside(tree) if not name.startswith("beside/of")]
    assert left == [name for name in before if not name.startswith("tree")]


@pytest.mark.parametrize("instead", ["link", "file"])
def test_what_takes_the_place_of_a_directory_is_not_followed(tree: Path, monkeypatch: pytest.MonkeyPatch, instead: str) -> None:
    def swap() -> None:
        (tree / "full/of").rename(tree / "full/away")
        os.symlink(tree.parent / "beside", tree / "full/of") if instead == "link" else (tree / "full/of").touch()

    at_first(monkeypatch, tree / "full", swap)
    file_tree.remove(str(tree))
    assert beside(tree) == ["beside", "beside/kept"]


def test_who_makes_files_for_ever_does_not_keep_it_for_ever(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_tree, "LONGEST", 0.2)
    maker = "import os, sys; os.chdir(sys.argv[1]); n = 0\nwhile True:\n    os.close(os.open(str(n), os.O_CREAT)); n += 1"
    with subprocess.Popen([sys.executable, "-c", maker, str(tree / "empty")], stderr=subprocess.DEVNULL) as process:
        while not os.listdir(tree / "empty"):
            pass
        file_tree.clear_away(str(tree))
        process.kill()
    file_tree.remove(str(tree))
    assert beside(tree) == ["beside", "beside/kept"]
