"""Images from a real registry, Debian's docker-registry on loopback; and debootstrap, from the machine's own mirror."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from containers_app.kernel.images import get_image
from containers_app.kernel.images.layers import architecture
from containers_app.kernel.images.task import Bounds, Done, Registries
from containers_app.spec import DebootstrapSource, OciSource, RegistrySource

from .importing import Tar, run

OCI = "application/vnd.oci.image"


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Registry:
    def __init__(self, home: Path, port: int, more: str = "") -> None:
        self.host = f"127.0.0.1:{port}"
        self.home = home
        (home / "config.yml").write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {home}/data}}}}\nhttp: {{addr: '{self.host}'}}\n{more}"
        )
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(home / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        while not answers(port):
            assert time.monotonic() < deadline, "the registry did not come up"
            time.sleep(0.05)

    def send(self, method: str, url: str, **options: Any) -> httpx.Response:
        return httpx.request(method, url, **options)

    def blob(self, name: str, data: bytes) -> dict[str, object]:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        where = self.send("POST", f"http://{self.host}/v2/{name}/blobs/uploads/").headers["location"]
        answer = self.send("PUT", str(httpx.URL(where).copy_merge_params({"digest": digest})), content=data)
        assert answer.status_code == 201, answer.text
        return {"digest": digest, "size": len(data)}

    def manifest(self, name: str, tag: str, document: dict[str, object]) -> dict[str, object]:
        data = json.dumps(document).encode()
        kind = str(document["mediaType"])
        answer = self.send("PUT", f"http://{self.host}/v2/{name}/manifests/{tag}", content=data, headers={"Content-Type": kind})
        assert answer.status_code == 201, answer.text
        return {"mediaType": kind, "digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data)}

    def push(self, name: str, layers: list[bytes], config: dict[str, object]) -> str:
        """An index with an image for this architecture and one for another. Returns the digest of the former."""
        blobs = [{"mediaType": f"{OCI}.layer.v1.tar+gzip", **self.blob(name, gzip.compress(layer))} for layer in layers]
        described = self.blob(name, json.dumps({"architecture": architecture(), "os": "linux", "config": config}).encode())
        document = {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "layers": blobs,
                    "config": {"mediaType": f"{OCI}.config.v1+json", **described}}  # fmt: skip
        ours = self.manifest(name, "ours", document)
        other = self.manifest(name, "other", {**document, "annotations": {"not": "ours"}})
        self.manifest(
            name, "latest", {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": [
                {**other, "platform": {"os": "linux", "architecture": "mips64le"}},
                {**ours, "platform": {"os": "linux", "architecture": architecture()}},
            ]},
        )  # fmt: skip
        return str(ours["digest"])


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    assert shutil.which("docker-registry"), "docker-registry is not installed; on Debian: apt-get install docker-registry"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    registry = Registry(tmp_path_factory.mktemp("registry"), port)
    yield registry
    registry.process.terminate()
    registry.process.wait()


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir(mode=0o700)
    yield tmp_path / "images"


LAYERS = [
    Tar().directory("etc").add("etc/passwd", b"www:x:33:44::/:/bin/sh\n").add("a", b"1").add("d/x").add("d/y").done(),
    Tar().add(".wh.a").add("d/.wh..wh..opq").add("d/z").add("b", b"2", uid=33).done(),
]
CONFIG = {"Entrypoint": ["/b"], "Cmd": ["-c"], "Env": ["A=1", "B=x=y"], "WorkingDir": "/d", "User": "www"}


def test_layers_and_configuration_come_from_a_registry(registry, images):
    digest = registry.push("team/app", LAYERS, CONFIG)
    allowed = Registries(insecure=(registry.host,))
    outcome = run(images, "app", RegistrySource(f"{registry.host}/team/app"), registries=allowed)
    assert isinstance(outcome.last, Done), outcome.last
    image = get_image(str(images), "app")
    assert (image.digest, image.command, image.env) == (digest, ("/b", "-c"), {"A": "1", "B": "x=y"})
    assert (image.cwd, image.user, image.source) == ("/d", "33:44", f"registry:{registry.host}/team/app:latest")
    root = images / "app/rootfs"
    assert not (root / "a").exists() and os.listdir(root / "d") == ["z"] and (root / "b").stat().st_uid == 33
    assert any(phase.startswith("Fetching layer 1 of 2") for phase in outcome.phases)
    by_digest = run(images, "same", RegistrySource(f"{registry.host}/team/app@{digest}"), registries=allowed)
    assert isinstance(by_digest.last, Done), by_digest.last
    assert sorted(os.listdir(images)) == ["app", "same"]


def test_a_registry_that_is_not_allowed_is_not_asked(registry, images):
    assert run(images, "x", RegistrySource(f"{registry.host}/team/app")).code == "policy"


def test_an_image_that_is_not_there_and_one_too_large_are_refused(registry, images):
    registry.push("team/app", LAYERS, CONFIG)
    allowed = Registries(insecure=(registry.host,))
    assert run(images, "x", RegistrySource(f"{registry.host}/team/none"), registries=allowed).code == "not_found"
    tight = Bounds(size=100, entries=100)
    assert (
        run(images, "y", RegistrySource(f"{registry.host}/team/app"), registries=allowed, bounds=tight).code == "image_too_large"
    )
    assert os.listdir(images) == []


def test_a_blob_that_was_changed_is_refused(registry, images):
    layer = Tar().add("evil", os.urandom(1000)).done()
    registry.push("team/changed", [layer], {})
    digest = hashlib.sha256(gzip.compress(layer, mtime=0)).hexdigest()
    found = [path for path in (registry.home / "data").rglob("data") if path.stat().st_size > 1000]
    assert found, digest
    for path in found:
        data = bytearray(path.read_bytes())
        data[-9] ^= 1
        path.write_bytes(bytes(data))
    outcome = run(images, "x", RegistrySource(f"{registry.host}/team/changed"), registries=Registries(insecure=(registry.host,)))
    assert outcome.code == "wrong_digest" and os.listdir(images) == []


def test_an_oci_layout_of_a_directory(images, tmp_path):
    layout = tmp_path / "layout"
    (layout / "blobs/sha256").mkdir(parents=True)

    def blob(data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (layout / "blobs/sha256" / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "config": blob(json.dumps({"config": CONFIG}).encode()),
        "layers": [blob(one) for one in LAYERS],
    }
    (layout / "index.json").write_text(json.dumps({"manifests": [blob(json.dumps(manifest).encode())]}))
    outcome = run(images, "app", OciSource(str(layout)))
    assert isinstance(outcome.last, Done), outcome.last
    assert get_image(str(images), "app").command == ("/b", "-c")
    next((layout / "blobs/sha256").iterdir()).write_bytes(b"{}")
    assert run(images, "bad", OciSource(str(layout))).code in ("wrong_digest", "invalid_tar", "invalid_layout")


def test_debootstrap_makes_a_debian(images):
    outcome = run(images, "debian", DebootstrapSource("bookworm"))
    assert isinstance(outcome.last, Done), outcome.last
    root = images / "debian/rootfs"
    assert (root / "etc/debian_version").read_text().startswith("12")
    done = subprocess.run(["chroot", root, "dpkg-query", "-W", "apt"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("apt")
    assert (
        not [path for path in (root / "dev").rglob("*") if path.is_char_device() and not path.is_symlink()]
        and len(outcome.phases) > 10
    )
    assert os.listdir(images) == ["debian"]


def test_debootstrap_asks_no_mirror_but_the_host_s_own(images):
    assert run(images, "x", DebootstrapSource("bookworm", mirror="http://127.0.0.1:1/debian")).code == "policy"
    assert run(images, "y", DebootstrapSource("nonesuch")).code == "invalid_source"
