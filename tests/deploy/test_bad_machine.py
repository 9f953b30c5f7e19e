"""deploy/up on a machine that can't carry the panel: one clear sentence, and nothing changed.

Each machine is real: its own mount namespace with other files, or a chroot, made by unshare(1) for the one run.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.lib import preflight
from deploy.lib.console import Refused
from tests.deploy.refusal import refused


def machine(script: str) -> tuple[str, ...]:
    """Runs what follows in a mount namespace of its own, after the shell commands."""
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{script}; exec "$@"', "sh")


def test_no_cgroup_controllers(tmp_path: Path) -> None:
    """The mounts are gone, as on a machine that was booted without them."""
    sentence = refused(tmp_path, wrapper=machine("umount --recursive --lazy /sys/fs/cgroup"))
    assert "no cgroup controller for cpu and memory and pids" in sentence and "mount cgroups" in sentence


def test_user_namespaces_switched_off(tmp_path: Path) -> None:
    zero = tmp_path / "zero"
    zero.write_text("0\n")
    sentence = refused(tmp_path, wrapper=machine(f"mount --bind {zero} /proc/sys/user/max_user_namespaces"))
    assert "sysctl user.max_user_namespaces" in sentence


def test_user_namespaces_refused_by_the_kernel(tmp_path: Path) -> None:
    """clone(2): EPERM in a chroot."""
    (tmp_path / "root").mkdir()
    wrapper = machine(f'mount --rbind / {tmp_path}/root; exec chroot {tmp_path}/root "$@"')
    sentence = refused(tmp_path, wrapper=wrapper)
    assert "user namespace can't be made" in sentence


def test_disk_too_full(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    wrapper = machine(f"mount -t tmpfs -o size=50m small {tmp_path}/disk")
    sentence = refused(tmp_path, "--data", str(tmp_path / "disk" / "data"), wrapper=wrapper)
    assert "400 MB are needed" in sentence and "50 MB are free" in sentence


def test_a_file_system_without_id_maps(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    wrapper = machine(f"mount -t ramfs ram {tmp_path}/disk")
    sentence = refused(tmp_path, "--data", str(tmp_path / "disk" / "data"), wrapper=wrapper)
    assert "can't map user ids" in sentence and "ext4" in sentence


def test_read_only_disk(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    wrapper = machine(f"mount -t tmpfs -o ro small {tmp_path}/disk")
    assert "read-only" in refused(tmp_path, "--data", str(tmp_path / "disk" / "data"), wrapper=wrapper)


def test_no_python(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    hide = "; ".join(
        f"[ ! -e {path} ] || mount --bind /bin/false $(readlink -f {path})"
        for path in ("/usr/bin/python3", "/usr/local/bin/python3")
    )
    sentence = refused(tmp_path, wrapper=machine(hide))
    assert "Python 3.11 or newer" in sentence


@pytest.mark.parametrize("release", ["5.10.0-28-amd64", "4.18.0-553.el8", "3.10.0"])
def test_kernel_too_old(release: str) -> None:
    with pytest.raises(Refused, match="too old"):
        preflight.check_kernel(release)


@pytest.mark.parametrize("release", ["5.12", "5.15.0-91-generic", "6.1.0-18-cloud-amd64", "6.18.44"])
def test_kernel_new_enough(release: str) -> None:
    preflight.check_kernel(release)


def _tree(root: Path, mounts: str, controllers: str = "") -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mounts").write_text(mounts)
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/cgroup.controllers").write_text(controllers)
    return root


@pytest.mark.parametrize(("mounts", "controllers"), [
    ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "cpuset cpu io memory pids"),
    ("c /c/cpu cgroup rw,cpu,cpuacct 0 0\nc /c/memory cgroup rw,memory 0 0\nc /c/pids cgroup rw,pids 0 0\n", ""),
    ("c /c/memory cgroup rw,memory 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "cpu pids"),
], ids=["v2", "v1", "hybrid"])  # fmt: skip
def test_controllers_are_found_wherever_they_are_mounted(tmp_path: Path, mounts: str, controllers: str) -> None:
    preflight.check_controllers(_tree(tmp_path, mounts, controllers))


def test_a_missing_controller_is_named(tmp_path: Path) -> None:
    root = _tree(tmp_path, "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "cpu pids")
    with pytest.raises(Refused, match="no cgroup controller for memory:"):
        preflight.check_controllers(root)
