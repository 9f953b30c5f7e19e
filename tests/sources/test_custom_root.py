"""The "Custom root" article: a root with bash and what it loads, entered by chroot in new namespaces; and images by the API."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.images.importing import Tar

from .conftest import Json, Lab, inodes

PIECE = 1 << 19


def ended(lab: Lab, job: Json) -> Json:
    """The job once it has ended."""
    deadline = time.monotonic() + 60
    while job["state"] == "running":
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
        job = lab.get(f"jobs/{job['id']}")
    return job


def begin(lab: Lab, name: str, **source: object) -> Json:
    answer = lab.client.post("images", json={"name": name, "source": source})
    assert answer.status_code == 202, answer.text
    found: Json = answer.json()
    return found


def send(lab: Lab, job: Json, offset: int, data: bytes, last: bool) -> Json:
    headers = {"Content-Type": "application/octet-stream"}
    query = {"offset": offset, "last": int(last)}
    answer = lab.client.put(f"jobs/{job['id']}/data", params=query, content=data, headers=headers)
    found: Json = answer.json()
    return found


@pytest.fixture
def named(lab: Lab) -> Iterator[list[str]]:
    """Images to be removed at the end."""
    names: list[str] = []
    yield names
    lab.remove()
    for name in names:
        lab.client.delete(f"images/{name}")


def test_custom_root_with_bash(lab: Lab, named: list[str]) -> None:
    """mkdir, cp /bin/bash, its libraries by ldd; unshare --mount --uts --ipc --net --pid --fork --user, then chroot into it.

    The article's --user maps nobody, so there everybody is 65534; here root inside is a user of its own outside.
    """
    named.append("custom-root")
    job = ended(lab, begin(lab, "custom-root", type="programs", programs=["/bin/bash", "/bin/sleep"]))
    assert job["state"] == "done", job
    box = lab.create("custom", image="custom-root", namespaces={"net": "none"}, command=["/bin/sleep", "1000"])
    ours, host = inodes(box["pid"]), inodes(os.getpid())
    assert all(ours[kind] != host[kind] for kind in ("mnt", "uts", "ipc", "net", "pid", "user"))
    first, outside, count = (int(word) for word in Path(f"/proc/{box['pid']}/uid_map").read_text().split())
    assert first == 0 and outside == os.stat(f"/proc/{box['pid']}").st_uid > 0 and count == 65536
    assert lab.execute(box, "/bin/bash", "-c", "echo $UID")["stdout"] == "0\n"
    result = lab.execute(box, "/bin/bash", "-c", "echo $BASHPID; echo /*; type ls; exit 7")
    assert result["exit_code"] == 7 and "ls: not found" in result["stderr"], result
    assert "/bin /dev /etc" in result["stdout"] and "/home" not in result["stdout"]
    assert Path("/home").is_dir()
    image = lab.get("images/custom-root")
    assert image["in_use_by"] == ["custom"] and image["owner"] == "admin" and image["command"] == ["/bin/bash"]
    refused = lab.client.delete("images/custom-root")
    assert refused.status_code == 409 and "custom" in refused.json()["error"]["message"]


def test_an_upload_in_pieces_becomes_an_image_and_comes_back(lab: Lab, named: list[str]) -> None:
    named += ["uploaded", "again"]
    data = Tar().add("bin/x", os.urandom(3 << 20), mode=0o755).add("etc/motd", b"hello", uid=12).done()
    job = begin(lab, "uploaded", type="tar")
    for offset in range(0, len(data), PIECE):
        got = send(lab, job, offset, data[offset : offset + PIECE], offset + PIECE >= len(data))
        if offset == PIECE:  # the answer was lost: the same again
            got = send(lab, job, offset, data[offset : offset + PIECE], False)
        assert got["received"] == min(len(data), offset + PIECE), got
    assert ended(lab, job)["state"] == "done"
    with lab.client.stream("GET", "images/uploaded/export") as answer:
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/x-tar"
        packed = answer.read()
    members = {member.name: member for member in tarfile.open(fileobj=io.BytesIO(packed))}  # noqa: SIM115
    assert members["./bin/x"].size == 3 << 20 and members["./etc/motd"].uid == 12
    assert begin(lab, "again", type="tar")["upload"] is True
    waiting = next(job for job in lab.get("jobs")["items"] if job["target"] == "again")
    cancelled = lab.client.post(f"jobs/{waiting['id']}/cancel", json={})
    assert cancelled.json()["state"] == "cancelled"
    assert send(lab, waiting, 0, b"x", True)["error"]["code"] == "not_receiving"
    assert [image["name"] for image in lab.get("images")["items"] if image["name"] == "again"] == []


def test_a_clone_and_a_commit_through_the_api(lab: Lab, named: list[str]) -> None:
    named.append("committed")
    box = lab.create("original")
    lab.say(box, "echo mine > /root/note")
    lab.act(box, "pause")
    jobs = [
        lab.client.post(f"containers/{box['id']}/clone", json={"name": "copied"}).json(),
        lab.client.post(f"containers/{box['id']}/commit", json={"image": "committed"}).json(),
    ]
    assert [ended(lab, job)["state"] for job in jobs] == ["done", "done"]
    (copy,) = [one for one in lab.get("containers")["items"] if one["name"] == "copied"]
    lab.made.append(copy["id"])
    lab.act(copy, "start")
    made = lab.create("of-commit", image="committed")
    assert [lab.say(one, "cat /root/note") for one in (copy, made)] == ["mine", "mine"]
    exported = lab.client.get(f"containers/{box['id']}/export")
    assert "./root/note" in tarfile.open(fileobj=io.BytesIO(exported.content)).getnames()  # noqa: SIM115


@pytest.mark.parametrize(
    ("source", "status", "code"),
    [
        ({"type": "directory", "path": "/etc"}, 403, "policy"),
        ({"type": "oci", "path": "/etc/../etc"}, 400, "invalid_source"),
        ({"type": "registry", "reference": "127.0.0.1:5000/x"}, 403, "policy"),
        ({"type": "registry", "reference": "169.254.169.254/latest"}, 403, "policy"),
        ({"type": "nonesuch"}, 400, "invalid_input"),
        ({"type": "programs", "programs": []}, 400, "invalid_source"),
        ({"type": "debootstrap", "suite": "../x"}, 400, "invalid_source"),
    ],
)
def test_a_source_that_is_not_allowed_or_not_right(lab: Lab, source: Json, status: int, code: str) -> None:
    answer = lab.client.post("images", json={"name": "x", "source": source})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["hint"]
