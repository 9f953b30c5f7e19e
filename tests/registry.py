"""A registry of the tests' own: Debian's docker-registry on a free loopback port, which Docker trusts without TLS."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.panel import free_port

START_SECONDS = 60.0
_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {home}/store}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


class Registry:
    """``address`` is what image names begin with."""

    def __init__(self, home: Path) -> None:
        self.home, port = home, free_port()
        self.address = f"127.0.0.1:{port}"
        (home / "config.yml").write_text(_CONFIG.format(home=home, port=port))
        self._process = subprocess.Popen(
            ["docker-registry", "serve", str(home / "config.yml")],
            env={"PATH": os.environ["PATH"]},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, "docker-registry did not start"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{self.address}/v2/", timeout=2):
                return True
        except OSError:
            return False

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self.home)


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    assert shutil.which("docker-registry"), "docker-registry is not installed; on Debian: apt-get install docker-registry"
    found = Registry(Path(tempfile.mkdtemp(prefix="terrarium-registry-")))
    yield found
    found.close()
