"""A real Podman service of the tests' own, behind its socket that speaks Docker's API: the third engine of the contract tests.

It is Debian's podman with storage, state, networks and settings below its home. Its default network is a plain bridge of ours, so
that no rule gets into the host's firewall. Its containers live on without it: each has a conmon of its own.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dockerd import BUSYBOX, Dockerd, hierarchies

NEEDED = ("podman", "runc", "docker")
_CACHE = Path("/var/lib/containers/cache/blob-info-cache-v1.boltdb")  # of every Podman, wherever it has its images
_SETTINGS = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]  # its own defaults are above what a confined root may have
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime = "runc"  # crun takes no hybrid hierarchy
tmp_dir = "{home}/state"
[network]
network_backend = "cni"
network_config_dir = "{home}/networks"
"""


class Podman(Dockerd):
    """``home`` has everything but ``link`` and the parent of its control groups, whose name is Podman's own."""

    shared = (str(_CACHE.parent), str(_CACHE.parents[1]), "/var/lib/cni/networks", "/var/lib/cni/results", "/var/lib/cni")
    programs = ("podman", "conmon")

    def prepare(self) -> None:
        super().prepare()
        self._parents = [place for root in hierarchies() if not (place := root / "libpod_parent").exists()]
        (self.home / "settings").write_text(_SETTINGS.format(home=self.home))
        (self.home / "registries").write_text('[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n')
        (self.home / "networks").mkdir()
        pool = {"type": "host-local", "dataDir": f"{self.home}/addresses", "ranges": [[{"subnet": str(self.network)}]]}
        bridge = {"type": "bridge", "bridge": self.link, "isGateway": True, "ipam": pool}
        network = {"cniVersion": "0.4.0", "name": "podman", "plugins": [bridge]}
        (self.home / "networks/podman.conflist").write_text(json.dumps(network))

    def command(self) -> list[str]:
        places = ["--root", f"{self.home}/storage", "--runroot", f"{self.home}/run", "--storage-driver", "overlay"]
        environment = [f"--chdir={self.home}", f"CONTAINERS_CONF={self.home}/settings", f"TMPDIR={self.home}"]  # it writes there
        environment += [f"CONTAINERS_REGISTRIES_CONF={self.home}/registries"]
        return ["env", *environment, "podman", *places, *self.options, "system", "service", "--time=0", self.url]

    def close(self) -> None:
        if str(_CACHE.parent) in self._new:
            _CACHE.unlink(missing_ok=True)
        super().close()
        for place in self._parents:
            with contextlib.suppress(OSError):  # not there, or another service uses it by now
                place.rmdir()


@contextlib.contextmanager
def started() -> Iterator[Podman]:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    assert not missing, f"{missing[0]} is not installed; on Debian: apt-get install podman"
    assert BUSYBOX.exists(), "there is no /bin/busybox; on Debian: apt-get install busybox-static"
    service = Podman(Path(tempfile.mkdtemp(prefix="terrarium-podman-")))
    try:
        service.prepare()
        service.start()
        service.import_busybox()
        yield service
    finally:
        service.close()


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    with started() as service:
        yield service
