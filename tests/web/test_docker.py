"""Docker's images, networks and volumes through the API: a real daemon, staff and nobody else."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from containers_app.engines.docker import DockerEngine
from containers_app.engines.policy import Allow, Largest, Peers, Policy
from containers_app.kernel import cgroups
from containers_app.models import AuditEntry
from tests.dockerd import Dockerd
from tests.registry import Registry
from tests.registry import registry as registry
from tests.web.conftest import Api, Site, mirror, terminals
from tests.web.test_metrics import fetch, one, parsed
from tests.worker.conftest import ProcessEngine

PIECE = 512 * 1024  # bytes
LARGEST = 16 << 20  # bytes of an image, says the policy


@pytest.fixture
async def with_docker(tmp_path: Path, settings: Any, dockerd: Dockerd, registry: Registry) -> AsyncIterator[Dockerd]:
    """A worker with plain processes as its raw engine and a Docker engine on the session's daemon."""
    allow = Allow(insecure_registries=(registry.address,))
    docker = DockerEngine("docker", dockerd.url, "here", cgroups.choose(), "/nowhere/kept")
    site = Site(
        tmp_path, ProcessEngine(), Policy(peers=Peers((0,)), allow=allow, limits=Largest(image_size=LARGEST)), {"docker": docker}
    )
    await site.open()
    settings.TERRARIUM_WORKER_SOCKET = site.path
    yield dockerd
    terminals.table().close_all()
    mirror.current().close()
    mirror.current().client.close()
    await site.close()
    dockerd.remove_containers()
    for name in dockerd.docker("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}").split():
        dockerd.docker("network", "rm", name)
    dockerd.docker("volume", "prune", "-f")
    dockerd.docker("volume", "rm", "-f", "kept")


async def test_an_image_gets_another_name_and_loses_it(as_staff: Api, with_docker: Dockerd) -> None:
    body = {"name": "busybox", "new": "127.0.0.1:5000/some/name:v1"}
    assert (await as_staff.post("/images/tag", body)).status == 204
    names = {image["name"] for image in (await as_staff.get("/images")).body["items"]}
    assert names == {"busybox", "127.0.0.1:5000/some/name:v1"}
    assert (await as_staff.delete("/images/127.0.0.1:5000/some/name:v1?engine=docker")).status == 204
    assert (await as_staff.delete("/images/127.0.0.1:5000/some/name:v1?engine=docker")).status == 404
    preview = await as_staff.post("/images/prune", {"preview": True})
    assert preview.body == {"items": [], "bytes": 0}


async def test_a_network_is_made_used_and_removed(as_staff: Api, with_docker: Dockerd) -> None:
    made = await as_staff.post("/networks", {"engine": "docker", "name": "blue", "subnet": "10.231.5.0/24", "nat": False})
    assert made.status == 201 and made.body["subnet"] == "10.231.5.0/24" and made.body["owner"] == "staff"
    container = {"engine": "docker", "name": "on-it", "image": "busybox", "command": ["sleep", "1000"]}
    assert (await as_staff.post("/containers", container)).status == 201
    assert (await as_staff.post("/containers/on-it/connect", {"network": "blue"})).status == 204
    on_it = (await as_staff.get("/networks/blue?engine=docker")).body["containers"]
    assert [one["name"] for one in on_it] == ["on-it"] and on_it[0]["address"].startswith("10.231.5.")
    assert (await as_staff.delete("/networks/blue?engine=docker")).status in (403, 409)  # as Docker's versions have it
    assert (await as_staff.post("/containers/on-it/disconnect", {"network": "blue"})).status == 204
    assert (await as_staff.delete("/networks/blue?engine=docker")).status == 204
    assert "blue" not in [network["name"] for network in (await as_staff.get("/networks")).body["items"]]
    done = [entry.action async for entry in AuditEntry.objects.order_by("id")]
    assert [action for action in done if "network" in action or "connect" in action] == [
        "create network", "connect", "disconnect", "remove network",
    ]  # fmt: skip


async def test_a_volume_is_made_and_goes_with_a_prune_that_says_so_first(as_staff: Api, with_docker: Dockerd) -> None:
    made = await as_staff.post("/volumes", {"name": "kept"})
    assert made.status == 201 and made.body["owner"] == "staff"
    listed = (await as_staff.get("/volumes")).body["items"]
    assert [(one["name"], one["engine"], one["used_by"]) for one in listed] == [("kept", "docker", [])]
    assert (await as_staff.post("/volumes/prune", {"preview": True})).body == {"items": ["kept"], "bytes": 0}
    assert len((await as_staff.get("/volumes")).body["items"]) == 1
    assert (await as_staff.post("/volumes/prune", {"preview": False})).body["items"] == ["kept"]
    assert (await as_staff.get("/volumes")).body["items"] == []
    assert (await as_staff.delete("/volumes/kept")).status == 404


async def test_a_pull_is_a_job(as_staff: Api, with_docker: Dockerd, registry: Registry) -> None:
    name = f"{registry.address}/some/pulled:v1"
    with_docker.docker("create", "--name", "kept", "busybox", "true")
    with_docker.docker("commit", "--change", "LABEL pulled=1", "kept", name)  # not one that the daemon has already
    with_docker.docker("rm", "kept")
    with_docker.docker("push", name)
    with_docker.docker("rmi", name)
    pulled = {"engine": "docker", "name": name, "source": {"type": "pull"}}
    job = (await as_staff.post("/images", pulled)).body
    assert job["kind"] == "pull"
    while job["state"] == "running":
        await asyncio.sleep(0.05)
        job = (await as_staff.get(f"/jobs/{job['id']}")).body
    assert job["state"] == "done" and "some/pulled:v1" in job["message"], job
    assert {layer["phase"] for layer in job["layers"]} == {"done"} and len(job["layers"][0]["id"]) == 12
    assert name in [image["name"] for image in (await as_staff.get("/images")).body["items"]]
    assert (await as_staff.delete(f"/images/{name}?engine=docker")).status == 204
    elsewhere = await as_staff.post("/images", pulled | {"name": "elsewhere.invalid/x"})
    assert (elsewhere.status, elsewhere.code) == (403, "policy")
    assert (await as_staff.post("/images", {"name": "x", "source": {"type": "pull"}})).status == 400
    assert (await as_staff.post("/images", pulled | {"source": {"type": "programs", "programs": ["ls"]}})).status == 400


async def uploaded(as_staff: Api, body: dict[str, Any], data: bytes) -> Any:
    """The job at its end."""
    job = (await as_staff.post("/images", body)).body
    assert job["upload"], job
    at = 0
    while at < len(data):
        piece = data[at : at + PIECE]
        last = "true" if at + PIECE >= len(data) else "false"
        answer = await as_staff.send("PUT", f"/jobs/{job['id']}/data?offset={at}&last={last}", piece, "application/octet-stream")
        if answer.status == 200:
            at += PIECE
        else:
            assert answer.code == "waiting", answer.body
            await asyncio.sleep(0.05)
    while job["state"] == "running":
        await asyncio.sleep(0.05)
        job = (await as_staff.get(f"/jobs/{job['id']}")).body
    return job


async def test_uploads_become_images(as_staff: Api, with_docker: Dockerd, tmp_path: Path) -> None:
    with_docker.docker("tag", "busybox", "saved:v1")
    with_docker.docker("save", "-o", f"{tmp_path}/saved.tar", "saved:v1")
    with_docker.docker("rmi", "saved:v1")
    try:
        load = {"engine": "docker", "name": "saved", "source": {"type": "oci"}}
        job = await uploaded(as_staff, load, (tmp_path / "saved.tar").read_bytes())
        assert job["state"] == "done" and "saved:v1" in job["message"], job
        root = io.BytesIO()
        with tarfile.open(fileobj=root, mode="w") as tar:
            tar.add("/bin/busybox", "bin/sh")
        imported = {"engine": "docker", "name": "from-tar:v2", "source": {"type": "tar"}}
        job = await uploaded(as_staff, imported, root.getvalue())
        assert job["state"] == "done" and job["received"] == len(root.getvalue()), job
        assert {"saved:v1", "from-tar:v2"} <= {image["name"] for image in (await as_staff.get("/images")).body["items"]}
        job = await uploaded(as_staff, imported | {"name": "no-tar"}, b"this is no archive" * 100)
        assert job["state"] == "failed" and job["hint"], job
        assert [name for name in os.listdir(tmp_path) if name.startswith("tmp")] == []
    finally:
        with_docker.docker("rmi", "-f", "saved:v1", "from-tar:v2", check=False)


async def test_an_upload_larger_than_the_policy_lets_an_image_be_is_refused(as_staff: Api, with_docker: Dockerd) -> None:
    body = {"engine": "docker", "name": "too-large", "source": {"type": "tar"}}
    job = (await as_staff.post("/images", body)).body
    answer, at = None, 0
    while at <= LARGEST + 2 * PIECE:
        path = f"/jobs/{job['id']}/data?offset={at}&last=false"
        answer = await as_staff.send("PUT", path, bytes(PIECE), "application/octet-stream")
        if answer.status == 200:
            at += PIECE
        elif answer.code != "waiting":
            break
    job = (await as_staff.get(f"/jobs/{job['id']}")).body
    assert (job["state"], job["code"]) == ("failed", "too_large") and "image_size" in job["hint"]


async def test_volumes_are_measured_when_asked(as_staff: Api, with_docker: Dockerd) -> None:
    with_docker.docker("run", "--rm", "-v", "kept:/data", "busybox", "dd", "if=/dev/zero", "of=/data/x", "bs=1M", "count=2")
    assert (await as_staff.get("/volumes")).body["items"][0]["size"] is None
    assert (await as_staff.get("/volumes?sizes=true")).body["items"][0]["size"] == 2 << 20


async def test_a_network_tells_the_command_that_makes_it(as_staff: Api, with_docker: Dockerd) -> None:
    made = await as_staff.post("/networks", {"engine": "docker", "name": "blue", "subnet": "10.231.6.0/24", "nat": False})
    [command] = made.body["commands"]
    assert "--subnet 10.231.6.0/24" in command and "--internal" in command and command.endswith(" blue")
    assert (await as_staff.delete("/networks/blue?engine=docker")).status == 204
    with_docker.docker(*command.removeprefix("docker ").split())
    again = (await as_staff.get("/networks/blue?engine=docker")).body
    assert {name: again[name] for name in ("subnet", "gateway", "nat", "driver", "commands")} == {
        name: made.body[name] for name in ("subnet", "gateway", "nat", "driver", "commands")
    }
    assert (await as_staff.get("/networks/none?engine=docker")).body["commands"] == []


async def test_metrics_have_its_containers_with_labels_memory_and_network(
    staff: Any, as_staff: Api, with_docker: Dockerd
) -> None:
    body = {
        "engine": "docker", "name": "measured", "image": "busybox", "labels": {"com.example.tier": "web"},
        "command": ["sh", "-c", "ping -c 3 -i 0.1 $(ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p'); sleep 1000"],
        "limits": {"memory": "96M", "cpu": 0.5, "pids": 20},
    }  # fmt: skip
    assert (await as_staff.post("/containers", body)).status == 201
    made = (await as_staff.get("/containers/measured")).body
    own = {"name": "measured", "image": "busybox", "engine": "docker", "container_label_com_example_tier": "web"}
    for _ in range(600):
        answer = await fetch(staff)
        families = parsed(answer.content.decode())
        if one(families, "container_network_receive_packets_total", interface="eth0", **own) >= 3:
            break
        await asyncio.sleep(0.05)
    assert answer.status_code == 200
    assert one(families, "container_network_receive_bytes_total", interface="eth0", **own) >= 3 * 84
    assert one(families, "container_cpu_usage_seconds_total", cpu="total", **own) > 0
    assert one(families, "container_spec_memory_limit_bytes", **own) == 96 << 20
    assert one(families, "container_spec_cpu_quota", **own) == 50_000
    assert one(families, "container_threads_max", **own) == 20
    assert 0 < one(families, "container_memory_working_set_bytes", **own) <= 96 << 20
    groups = {dict(series)["id"] for series in families["container_memory_usage_bytes"] if ("name", "measured") in series}
    assert len(groups) == 1 and made["id"] in groups.pop()


BAD: list[tuple[str, str, Any]] = [
    ("POST", "/networks", {"name": "../x"}), ("POST", "/networks", {"name": "x", "subnet": "10.0.0.300/24"}),
    ("POST", "/networks", {"name": "x", "subnet": "0.0.0.0/0"}), ("POST", "/networks", {"name": "x", "subnet": "10.0.0.1/24"}),
    ("POST", "/networks", {"name": "x", "driver": "macvlan"}), ("POST", "/volumes", {"name": "a/b"}),
    ("POST", "/volumes", {"name": "x1", "options": {"device": "/etc"}}), ("DELETE", "/volumes/.", None),
    ("POST", "/images/tag", {"name": "busybox", "new": "a b"}), ("POST", "/images/tag", {"name": "busybox", "new": "../x"}),
    ("DELETE", "/images/..%2Fcontainers%2Fx", None), ("POST", "/volumes", {"name": "x1", "engine": "raw"}),
    ("POST", "/volumes", {"name": "x1", "engine": "nothing"}), ("POST", "/images/prune", {}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), BAD, ids=str)
async def test_bad_words_are_a_4xx_and_nothing_is_made(
    as_staff: Api, with_docker: Dockerd, method: str, path: str, body: Any
) -> None:
    answer = await (as_staff.delete(path) if method == "DELETE" else as_staff.post(path, body))
    assert 400 <= answer.status < 500 and answer.code
    assert with_docker.docker("volume", "ls", "-q") == ""
    assert with_docker.docker("network", "ls", "--filter", "type=custom", "-q") == ""
    assert with_docker.docker("images", "-q").count("\n") == 0


@pytest.mark.parametrize(("method", "path", "body"), [
    ("POST", "/networks", {"engine": "docker", "name": "blue"}), ("DELETE", "/networks/bridge?engine=docker", None),
    ("GET", "/volumes", None), ("POST", "/volumes", {"name": "kept"}), ("DELETE", "/volumes/kept", None),
    ("POST", "/images/prune", {"preview": True}), ("POST", "/volumes/prune", {"preview": True}),
    ("DELETE", "/images/busybox?engine=docker", None), ("POST", "/images/tag", {"name": "busybox", "new": "mine"}),
], ids=str)  # fmt: skip
async def test_they_are_for_staff(as_olga: Api, with_docker: Dockerd, method: str, path: str, body: Any) -> None:
    answer = await (as_olga.post(path, body) if method == "POST" else as_olga.send(method, path))
    assert (answer.status, answer.code) == (403, "forbidden")
