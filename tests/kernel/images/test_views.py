"""A sandbox's files as they are copied and packed, whoever changes them meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from containers_app.kernel import syscalls as sc
from containers_app.kernel.images import views

FILES = 3000


def apart(work: Callable[[], None]) -> int:
    """In a process with mounts of its own, as the import program has them; its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            sc.unshare(sc.CLONE_NEWNS)
            sc.mount(None, "/", None, sc.MS_REC | sc.MS_PRIVATE)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A layer with a full directory, and a link to one of the host's with files of the same names."""
    source, hosts = tmp_path / "layer", tmp_path / "hosts"
    for directory, text in ((source / "d", "own"), (hosts, "the host's")):
        directory.mkdir(parents=True)
        for number in range(FILES):
            (directory / f"{number:05}").write_text(text)
    (source / "l").symlink_to(hosts)
    return source


def test_a_directory_that_becomes_a_link_to_the_hosts_files_while_it_is_copied_leads_nowhere(layer: Path, tmp_path: Path) -> None:
    target, scratch = tmp_path / "target", tmp_path / "scratch"
    target.mkdir()
    scratch.mkdir()

    def exchange() -> None:
        while not (target / "d").is_dir() or len(os.listdir(target / "d")) < 20:
            pass
        sc.exchange(str(layer / "d"), str(layer / "l"))

    attacker = threading.Thread(target=exchange, daemon=True)
    attacker.start()
    apart(lambda: views.copy_layer(str(layer), 0, str(target), 0, str(scratch)))
    attacker.join()
    copied = [path.read_text() for path in target.rglob("*") if path.is_file() and not path.is_symlink()]
    assert copied and set(copied) == {"own"}


def test_what_is_packed_leads_nowhere_either(layer: Path, tmp_path: Path) -> None:
    """Links are kept as links; who goes through one is refused."""

    def look() -> None:
        views.attach_shifted(str(layer), 0, str(tmp_path / "seat"))
        assert os.readlink(tmp_path / "seat" / "l") == str(tmp_path / "hosts")
        with pytest.raises(OSError, match="Too many levels"):
            (tmp_path / "seat" / "l" / "00001").read_text()
        with pytest.raises(OSError, match="Read-only"):
            (tmp_path / "seat" / "new").write_text("")

    assert apart(look) == 0
