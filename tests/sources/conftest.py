"""What the labs and scripts of the project's source documents need: a panel's API, and a second panel with a laxer policy.

Names in the docstrings of the tests: "unshare lab" and "Docker examples" are the article on namespaces, cgroups, unshare and
chroot; "Container isolation" is the one with simple-container.c and the shell scripts; "nsexec" and "Custom root" speak for
themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from containers_app.spec import NAMESPACE_TYPES
from tests import leaks
from tests.dockerd import Dockerd
from tests.panel import Panel, free_port

Json = dict[str, Any]


@dataclass
class Lab:
    """Containers made through the API, removed at the end. ``base`` is the API's first address."""

    client: httpx.Client
    made: list[str] = field(default_factory=list)

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def create(self, name: str, **body: object) -> Json:
        answer = self.client.post("containers", json={"name": name, "command": ["sleep", "1000"], **body})
        assert answer.status_code == 201, answer.text
        found: Json = answer.json()
        self.made.append(found["id"])
        return found

    def docker(self, name: str, **body: object) -> Json:
        return self.create(name, engine="docker", **body)

    def refused(self, **body: object) -> Json:
        answer = self.client.post("containers", json={"command": ["sleep", "1000"], **body})
        assert 400 <= answer.status_code < 500, answer.text
        error: Json = answer.json()["error"]
        assert error["message"] and error["hint"]
        return error

    def act(self, box: Json, action: str) -> None:
        answer = self.client.post(f"containers/{box['id']}/{action}", json={})
        assert answer.status_code == 200, answer.text

    def execute(self, box: Json, *argv: str) -> Json:
        answer = self.client.post(f"containers/{box['id']}/exec", json={"argv": argv})
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def say(self, box: Json, script: str) -> str:
        """What a shell inside prints; it must succeed."""
        result = self.execute(box, "sh", "-c", script)
        assert result["exit_code"] == 0, result
        return str(result["stdout"]).strip()

    def shared_with(self, box: Json, kind: str) -> set[str]:
        items = self.get(f"containers/{box['id']}/namespaces")["items"]
        return {other["name"] for item in items if item["type"] == kind for other in item["shared_with"]}

    def remove(self) -> None:
        for container in reversed(self.made):
            self.client.delete(f"containers/{container}?force=1")


def inodes(pid: int) -> dict[str, int]:
    """The kernel's word, seen from the host."""
    return {kind: os.stat(f"/proc/{pid}/ns/{kind}").st_ino for kind in NAMESPACE_TYPES}


def inside(lab: Lab, box: Json) -> dict[str, int]:
    """readlink from inside."""
    links = lab.say(box, f"for n in {' '.join(NAMESPACE_TYPES)}; do readlink /proc/self/ns/$n; done").split()
    return {kind: int(link.partition(":")[2].strip("[]")) for kind, link in zip(NAMESPACE_TYPES, links, strict=True)}


@pytest.fixture
def lab(api: httpx.Client, dockerd: Dockerd) -> Iterator[Lab]:
    """On the session's panel: its policy is the one that deploy/up writes."""
    lab = Lab(api)
    yield lab
    lab.remove()


@pytest.fixture(scope="session")
def lax_panel(tmp_path_factory: pytest.TempPathFactory, panel: Panel, dockerd: Dockerd, watch: leaks.Watch) -> Iterator[Panel]:
    """Its policy allows the host's files and every capability, inside a user namespace as ever."""
    lax = Panel(Path(tmp_path_factory.mktemp("lax")).resolve(), free_port(), dockerd.url)
    watch.kept.add(lax.tag)
    lax.seed(panel)
    policy = lax.data / "policy.toml"
    try:
        lax.up()
        lax.down()
        text = policy.read_text()
        for word in ("capabilities", "host_image"):
            text = text.replace(f"{word} = false", f"{word} = true")
        policy.write_text(text)
        lax.up()
        yield lax
    finally:
        lax.down("--all", "--purge")
        watch.kept.discard(lax.tag)


@pytest.fixture
def lax_lab(lax_panel: Panel, lax_client: Callable[[], httpx.Client]) -> Iterator[Lab]:
    with lax_client() as client:
        lab = Lab(client)
        yield lab
        lab.remove()


@pytest.fixture(scope="session")
def lax_client(lax_panel: Panel) -> Callable[[], httpx.Client]:
    token = lax_panel.manage("create_token", "admin").split()[-1]
    headers = {"Authorization": f"Bearer {token}"}
    return lambda: httpx.Client(base_url=f"{lax_panel.url}/api/v1/", headers=headers, timeout=30)
