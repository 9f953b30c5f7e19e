"""Installing: without a machine's npm, on a disk that becomes full, and in one piece or not at all."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploy.lib import install, packages
from deploy.lib.install import is_static
from deploy.lib.instance import Instance
from tests.panel import Panel, deploy, free_port


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    (tmp_path / "data").mkdir()
    return Instance(tmp_path / "data", tmp_path / "run")


def test_npm_packages_come_without_npm_on_the_machine(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    install.npm(instance)
    assert (instance.data / "npm/node_modules/@xterm/xterm/lib/xterm.mjs").is_file()
    assert {path.name for path in instance.data.iterdir()} == {"npm"}


def test_a_failed_step_leaves_what_was_there(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    install.sources(instance)
    before = (instance.app / ".key").read_text()

    def interrupted(_new: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(install, "_copy_sources", interrupted)
    monkeypatch.setattr(install, "app_key", lambda: "another")
    with pytest.raises(KeyboardInterrupt):
        install.sources(instance)
    assert (instance.app / ".key").read_text() == before
    assert {path.name for path in instance.data.iterdir()} == {"app"}


def test_copied_sources_are_whole_readable_and_without_tests(instance: Instance) -> None:
    install.sources(instance)
    assert (instance.app / "manage.py").is_file() and (instance.app / "deploy/lib/supervise.py").is_file()
    assert not (instance.app / "tests").exists() and not (instance.app / ".git").exists()
    for path in instance.app.rglob("*"):
        assert path.stat().st_mode & 0o7777 in (0o755, 0o644), path


def test_a_disk_that_becomes_full_half_way_is_said_and_the_run_is_simply_repeated(tmp_path: Path, panel: Panel) -> None:
    """A file takes all that is left as soon as the Python packages are being installed."""
    disk = tmp_path.resolve() / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=450m", "small", str(disk)], check=True)
    other = Panel(disk, free_port())
    other.seed(panel, "npm")
    try:
        fill = f"until [ -d {other.data}/.venv.new/bin ]; do sleep 0.02; done; cat /dev/zero > {disk}/filler"
        filler = f'( {fill} ) 2>/dev/null & exec "$@"'
        ran = deploy("up", *other.place, "--port", str(other.port), "--detach", wrapper=("sh", "-c", filler, "sh"))
        assert ran.returncode == 1
        assert len(ran.stderr.splitlines()) == 1 and "disk is full" in ran.stderr and "free some space" in ran.stderr, ran.stderr
        assert not (other.data / ".venv.new").exists() and not (other.data / "venv").exists()
        (disk / "filler").unlink()
        other.up()
        assert other.is_up()
    finally:
        other.down("--all", "--purge")
        subprocess.run(["umount", str(disk)], check=True)


def test_a_dynamic_busybox_is_told_from_a_static_one() -> None:
    assert is_static(Path("/bin/busybox"))
    assert not is_static(Path("/bin/bash"))
    assert not is_static(Path(__file__))


def test_a_package_is_unpacked_without_being_installed(tmp_path: Path) -> None:
    packages.unpack("busybox-static", tmp_path / "busybox")
    assert is_static(tmp_path / "busybox" / "bin" / "busybox")
