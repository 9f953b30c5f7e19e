"""Images on a panel as deployed: from the command line, by users other than staff, over kills, and without filling memory."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kernel.images.importing import Tar
from tests.panel import ROOT, Panel, deploy

from .test_lifecycle import wait_for

MIB = 1 << 20
Json = dict[str, Any]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host directory that the second panel's policy lets images come from."""
    found = tmp_path_factory.mktemp("roots").resolve()
    (found / "plain/etc").mkdir(parents=True)
    (found / "plain/etc/motd").write_text("from the host\n")
    (found / "plain/etc/motd").chmod(0o640)
    with tarfile.open(found / "big.tar", "w") as tar:
        member = tarfile.TarInfo("big")
        member.size = 192 * MIB
        with open("/dev/urandom", "rb") as random:
            tar.addfile(member, random)
    return found


@pytest.fixture(scope="module")
def lax(second: Panel, roots: Path) -> Panel:
    """The second panel, with those in its policy."""
    policy = second.data / "policy.toml"
    text = policy.read_text()
    policy.write_text(re.sub(r"^import_paths = \[\]$", f'import_paths = ["{roots}"]', text, flags=re.M))
    assert policy.read_text() != text
    before = second.pid("worker")
    os.kill(before, signal.SIGKILL)
    wait_for(second, "worker", before)
    return second


@contextmanager
def client(panel: Panel, username: str = "admin") -> Iterator[httpx.Client]:
    token = panel.manage("create_token", username).split()[-1]
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{panel.url}/api/v1/", headers=headers, timeout=60) as found:
        yield found


def job_of(api: httpx.Client, path: str, body: Json) -> Json:
    answer = api.post(path, json=body)
    assert answer.status_code == 202, answer.text
    found: Json = answer.json()
    return found


def done(api: httpx.Client, job: Json) -> Json:
    deadline = time.monotonic() + 120
    while job["state"] == "running":
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
        job = api.get(f"jobs/{job['id']}").json()
    assert job["state"] == "done", job
    return job


def names(api: httpx.Client) -> list[str]:
    return [image["name"] for image in api.get("images").json()["items"] if image["engine"] == "raw"]


def at_work(panel: Panel) -> list[str]:
    """Command lines of the import programs of this panel."""
    lines = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "containers_app.kernel.images" in words and str(panel.data) in words:
            lines.append(words)
    return lines


def kill_worker(panel: Panel) -> None:
    before = panel.pid("worker")
    os.kill(before, signal.SIGKILL)
    wait_for(panel, "worker", before)


def test_each_image_command_does_what_the_page_does(lax: Panel, tmp_path: Path) -> None:
    place = lax.place
    assert lax.manage("image", "import", "tools", "programs", "bash", "ls").strip().startswith("tools")
    with open(tmp_path / "tar", "wb+") as file:
        file.write(Tar().add("etc/motd", b"by a pipe\n" * 100_000).done())
        file.seek(0)
        command = [str(ROOT / "deploy/manage"), *place, "image", "import", "piped", "tar", "-"]
        piped = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)
    assert piped.returncode == 0 and piped.stdout.startswith("piped"), piped.stderr
    listed = [line.split() for line in lax.manage("image", "list").splitlines()]
    assert {"tools", "piped", "busybox"} <= {line[-1] for line in listed} and ["raw", "1000000", "piped"] in listed
    exporting = [str(ROOT / "deploy/manage"), *place, "image", "export", "piped"]
    with tarfile.open(fileobj=io.BytesIO(subprocess.run(exporting, capture_output=True, check=True).stdout)) as tar:
        assert tar.getmember("./etc/motd").size == 1_000_000
    for name in ("tools", "piped"):
        lax.manage("image", "remove", name)
    assert [line.split()[-1] for line in lax.manage("image", "list").splitlines()] == ["busybox"]
    for words in (("remove", "nonesuch"), ("import", "x", "directory", "/etc"), ("import", "x", "programs", "nonesuch")):
        refused = subprocess.run(
            [str(ROOT / "deploy/manage"), *place, "image", *words], capture_output=True, text=True, check=False
        )
        assert refused.returncode != 0 and "Error" in refused.stderr and "Traceback" not in refused.stderr, refused


def importing(panel: Panel, name: str) -> subprocess.Popen[bytes]:
    """``image import NAME tar -`` that has got the beginning of a tar and waits for more."""
    command = [str(ROOT / "deploy/manage"), *panel.place, "image", "import", name, "tar", "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(Tar().add("big", os.urandom(2 * MIB)).done()[:MIB])
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while not at_work(panel):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    return process


def test_ctrl_c_cancels_the_import_and_so_does_job_cancel(lax: Panel) -> None:
    for way in ("ctrl-c", "job"):
        with importing(lax, "half") as process:
            (job,) = (one for one in json.loads(lax.manage("job", "--json", "list"))["items"] if one["state"] == "running")
            assert (job["kind"], job["target"]) == ("import", "half")
            if way == "ctrl-c":
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=30)
                assert process.returncode == 130 and b"Traceback" not in errors, errors
            else:
                assert "cancelled" in lax.manage("job", "cancel", job["id"])
                _, errors = process.communicate(timeout=30)
                assert process.returncode == 1 and b"was cancelled" in errors, errors
        assert re.search(rf"^{job['id']} +import +half +cancelled ", lax.manage("job", "list"), re.M)
        assert not at_work(lax) and sorted(os.listdir(lax.data / "images")) == ["busybox"]


def test_debootstrap_gets_the_packages_and_the_mirror_that_were_written(lax: Panel) -> None:
    """Seen by what is refused: the mirror first, and a suite that nobody has before anything is fetched."""
    words = ("image", "import", "deb", "debootstrap")
    for rest, told in (
        (
            ("--mirror", "http://mirror.invalid/debian", "bookworm", "curl"),
            "http://mirror.invalid/debian is no mirror of this host",
        ),
        (("nonesuch", "curl", "less"), "debootstrap knows no suite nonesuch"),
    ):
        ran = deploy("manage", *lax.place, *words, *rest)
        assert ran.returncode == 1 and told in ran.stderr, ran.stderr
    assert sorted(os.listdir(lax.data / "images")) == ["busybox"]


def test_a_path_of_the_policy_is_imported_and_no_other(lax: Panel, roots: Path) -> None:
    (roots / "link").symlink_to("/etc")
    with client(lax) as api:
        job = done(api, job_of(api, "images", {"name": "plain", "source": {"type": "directory", "path": str(roots / "plain")}}))
        assert job["message"] == ""
        motd = lax.data / "images/plain/rootfs/etc/motd"
        assert motd.read_text() == "from the host\n" and motd.stat().st_mode & 0o777 == 0o640
        for path in (f"{roots}-not", str(roots / "link"), "/etc", str(roots.parent)):
            answer = api.post("images", json={"name": "x", "source": {"type": "directory", "path": path}})
            if answer.status_code == 202:  # below the path, but a link leads out: the import itself refuses
                found = api.get(f"jobs/{answer.json()['id']}").json()
                while found["state"] == "running":
                    found = api.get(f"jobs/{found['id']}").json()
                assert path.endswith("link") and found["state"] == "failed" and found["hint"], found
            else:
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "policy"), path
        assert "x" not in names(api)
        assert api.delete("images/plain").status_code == 204


def test_users_other_than_staff_use_images_and_remove_their_own(lax: Panel) -> None:
    for name in ("olga", "otto"):
        lax.manage(
            "shell",
            "-c",
            f"from containers_app.models import User; User.objects.create(username='{name}', must_change_password=False)",
        )
    with client(lax) as staff, client(lax, "olga") as olga, client(lax, "otto") as otto:
        assert olga.post("images", json={"name": "x", "source": {"type": "programs", "programs": ["ls"]}}).status_code == 403
        box = olga.post("containers", json={"name": "olgas", "command": ["sleep", "1000"]}).json()
        assert olga.post(f"containers/{box['id']}/stop", json={"timeout": 0}).status_code == 200
        for path, body in (("clone", {"name": "mine"}), ("commit", {"image": "mine"})):
            assert otto.post(f"containers/{box['id']}/{path}", json=body).status_code == 404
        assert otto.get(f"containers/{box['id']}/export").status_code == 404
        done(olga, job_of(olga, f"containers/{box['id']}/commit", {"image": "of-olga"}))
        done(olga, job_of(olga, f"containers/{box['id']}/clone", {"name": "olgas-too"}))
        assert olga.get(f"containers/{box['id']}/export").status_code == 200
        assert olga.get("containers/olgas-too").json()["owner"] == "olga"
        # everybody sees images, uses and downloads them; whose sandboxes use them is not told
        made = otto.post("containers", json={"name": "ottos", "image": "of-olga", "command": ["sleep", "1000"]}).json()
        assert olga.get("images/of-olga").json()["in_use_by"] == []
        assert staff.get("images/of-olga").json()["in_use_by"] == ["ottos"]
        assert otto.get("images/of-olga/export").status_code == 200
        assert otto.delete("images/of-olga").status_code == 403 and olga.delete("images/busybox").status_code == 403
        assert olga.delete("images/of-olga").json()["error"]["code"] == "image_in_use"
        assert otto.delete(f"containers/{made['id']}?force=1").status_code == 204
        assert olga.delete("images/of-olga").status_code == 204
        for name in ("olgas", "olgas-too"):
            assert olga.delete(f"containers/{name}?force=1").status_code == 204


def test_a_worker_killed_in_an_import_and_in_a_clone_leaves_nothing_of_them(lax: Panel, roots: Path) -> None:
    with client(lax) as api:
        kept = api.post("containers", json={"name": "kept", "command": ["sleep", "1000"]}).json()
        job = job_of(api, "images", {"name": "half", "source": {"type": "tar"}})
        half = Tar().add("big", os.urandom(2 * MIB)).done()[: 400 << 10]
        headers = {"Content-Type": "application/octet-stream"}
        assert api.put(f"jobs/{job['id']}/data?offset=0", content=half, headers=headers).status_code == 200
        assert at_work(lax) and list((lax.data / "images").glob(".job-*"))
        kill_worker(lax)
        assert api.get("jobs").json()["items"] == [] and names(api) == ["busybox"]
        assert sorted(os.listdir(lax.data / "images")) == ["busybox"]

        big = {"type": "tar", "path": str(roots / "big.tar")}
        done(api, job_of(api, "images", {"name": "big", "source": big}))
        program = (lax.data / "images/busybox/rootfs/bin/busybox").read_bytes()
        upper = lax.data / f"sandboxes/{kept['id']}/upper"
        for number in range(3000):
            (upper / f"file-{number}").write_bytes(program[:4096])
        assert api.post(f"containers/{kept['id']}/pause", json={}).status_code == 200
        job_of(api, f"containers/{kept['id']}/clone", {"name": "copy"})
        deadline = time.monotonic() + 60
        while not at_work(lax):
            assert time.monotonic() < deadline
        kill_worker(lax)
        assert [one["name"] for one in api.get("containers").json()["items"] if one["engine"] == "raw"] == ["kept"]
        assert os.listdir(lax.data / "sandboxes") == [kept["id"]] and not list((lax.data / "images").glob(".*"))
        assert api.get(f"containers/{kept['id']}").json()["state"] == "paused"
        deadline = time.monotonic() + 60
        while at_work(lax):
            assert time.monotonic() < deadline, at_work(lax)
        done(api, job_of(api, f"containers/{kept['id']}/clone", {"name": "copy"}))
        for name in ("kept", "copy"):
            assert api.delete(f"containers/{name}?force=1").status_code == 204


def resident(pid: int) -> int:
    """Bytes of memory that the process has at this moment."""
    (kib,) = re.findall(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(kib) << 10


def test_a_slow_download_does_not_fill_the_memory_of_the_web_process(lax: Panel) -> None:
    with client(lax) as api:
        assert "big" in names(api)  # of the test before
        api.get("images/busybox/export")
        web = lax.pid("web")
        before, most, got = resident(web), 0, 0
        with api.stream("GET", "images/big/export") as answer:
            assert answer.status_code == 200
            for number, piece in enumerate(answer.iter_raw(1 << 20)):
                got += len(piece)
                if number < 10:
                    time.sleep(0.3)
                most = max(most, resident(web))
        assert got > 192 * MIB and most - before < 24 * MIB, (before, most)
        # one who goes away in the middle: nothing works on for nobody
        with api.stream("GET", "images/big/export") as answer:
            next(answer.iter_raw(1 << 20))
        deadline = time.monotonic() + 60
        while at_work(lax):
            assert time.monotonic() < deadline, at_work(lax)
        assert api.delete("images/big").status_code == 204
        assert os.listdir(lax.data / "images") == ["busybox"]
