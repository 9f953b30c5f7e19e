"""Images, clones, commits and archives at the engine, on the real kernel and a real Docker daemon."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from pathlib import Path

import pytest

from containers_app.engines import raw_copies
from containers_app.engines.docker import DockerEngine
from containers_app.engines.raw import RawEngine
from containers_app.errors import Conflict, TerrariumError
from containers_app.kernel.images.task import Progress
from containers_app.spec import DockerContainerSource, DockerImageSource, ImportSpec, ProgramsSource, TarSource
from tests.dockerd import Dockerd
from tests.engines.docker_engine import docker_spec
from tests.kernel.images.importing import Tar

from .conftest import Home, spec

PHASES: list[Progress] = []


async def wait_for(raw: RawEngine, name: str) -> str:
    box = raw.get(name)
    return (await raw.execute(box.id, ("sh", "-c", "id -u; pwd; echo $COLOUR"), 10)).stdout


def read_all(descriptor: int) -> tarfile.TarFile:
    with open(descriptor, "rb") as file:
        return tarfile.open(fileobj=io.BytesIO(file.read()))


async def import_programs(raw: RawEngine, name: str = "tools") -> None:
    await raw.images_of.import_image(ImportSpec(name, ProgramsSource(("bash", "ls", "id", "cat", "sleep"))), "", PHASES.append)


async def test_a_custom_root_with_bash_runs(raw: RawEngine) -> None:
    await import_programs(raw)
    box = await raw.create(spec(image="tools", command=["sleep", "100"]), "")
    result = await raw.execute(box.id, ("/bin/bash", "-c", "echo $BASH_VERSION; ls /usr/bin; id -u"), 10)
    assert result.exit_code == 0, result
    assert result.stdout.split()[1:] == ["bash", "cat", "id", "ls", "sh", "sleep", "0"]
    (row,) = [row for row in await raw.images() if row["name"] == "tools"]
    assert row["in_use_by"] == ["box"] and row["size"] > 1_000_000 and row["source"].startswith("programs:bash")


async def test_an_image_in_use_is_not_removed(raw: RawEngine, home: Home) -> None:
    await import_programs(raw)
    box = await raw.create(spec(image="tools", command=["sleep", "100"]), "")
    with pytest.raises(Conflict, match="used by box"):
        await raw.images_of.remove("tools")
    await raw.remove(box.id, force=True)
    await raw.images_of.remove("tools")
    assert os.listdir(home.data / "images") == ["busybox"]
    with pytest.raises(Conflict, match="own"):
        await raw.images_of.remove("busybox")


async def test_a_docker_image_becomes_a_raw_one(raw: RawEngine, docker: DockerEngine, daemon: Dockerd, tmp_path: Path) -> None:
    """Layers, whiteouts, ownership and configuration, against what Docker's own container shows."""
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nRUN echo one > /one && mkdir /d && touch /d/a /d/b && echo secret > /gone\n"
        "RUN rm /gone /d/a && echo two > /two && chown 1000:1001 /two && chmod 4750 /two\n"
        "RUN rm -r /d && mkdir /d && touch /d/c\n"
        "ENV COLOUR=blue\nUSER 33:44\nWORKDIR /tmp\nCMD [\"sleep\", \"123\"]\n"
    )  # fmt: skip
    daemon.docker("build", "--network", "none", "-t", "layered", str(tmp_path))
    archive = await docker.export_image("layered")
    try:
        source = ImportSpec("layered", DockerImageSource("layered"))
        await raw.images_of.import_image(source, "", PHASES.append, stream=archive.fd, defaults=archive.defaults)
    finally:
        os.close(archive.fd)
        daemon.docker("image", "rm", "layered")
    root = Path(raw.images_of.view_of_image("layered").image)
    assert sorted(os.listdir(root / "d")) == ["c"] and not (root / "gone").exists() and (root / "one").read_text() == "one\n"
    two = (root / "two").stat()
    assert (two.st_uid, two.st_gid, oct(two.st_mode)[-4:]) == (1000, 1001, "4750")
    box = await raw.create(spec(image="layered"), "")
    assert box.command == ("sleep", "123")
    assert await wait_for(raw, "box") == "33\n/tmp\nblue\n"
    assert (box.user, box.cwd) == ("33:44", "/tmp")
    root = await raw.create(spec("root", image="layered", user="0:0", cwd="/"), "")
    assert (root.user, root.cwd) == ("0:0", "/") and await wait_for(raw, "root") == "0\n/\nblue\n"


async def test_a_docker_container_becomes_an_image(raw: RawEngine, docker: DockerEngine) -> None:
    made = await docker.create(docker_spec("source", env={"COLOUR": "red"}), "")
    await docker.execute(made.id, ("sh", "-c", "echo changed > /root/note"), 10)
    archive = await docker.export_container("source")
    try:
        source = ImportSpec("copy", DockerContainerSource("source"))
        await raw.images_of.import_image(source, "", PHASES.append, stream=archive.fd, defaults=archive.defaults)
    finally:
        os.close(archive.fd)
    box = await raw.create(spec(image="copy"), "")
    assert box.command == ("sleep", "1000")
    assert (await raw.execute(box.id, ("cat", "/root/note"), 10)).stdout == "changed\n"
    assert await wait_for(raw, "box") == "0\n/\nred\n"


CHANGE = "echo mine > /root/note; mkdir /new; rm /etc/group; rm -r /usr/sbin; mkdir /usr/sbin; touch /usr/sbin/x; chown 7:8 /new"


async def changed_box(raw: RawEngine) -> str:
    box = await raw.create(spec(env={"COLOUR": "green"}), "olga")
    assert (await raw.execute(box.id, ("sh", "-c", CHANGE), 10)).exit_code == 0
    return box.id


async def test_a_clone_has_the_files_and_ids_of_its_own(raw: RawEngine, home: Home) -> None:
    box = await changed_box(raw)
    with pytest.raises(Conflict, match="running"):
        await raw.clone(box, "copy", "olga", PHASES.append)
    await raw.stop(box, 1)
    copy = await raw.clone(box, "copy", "olga", PHASES.append)
    assert (copy.state, copy.owner, copy.image) == ("created", "olga", "busybox") and copy.user_map != raw.get(box).user_map
    await raw.start(copy.id)
    say = await raw.execute(
        copy.id, ("sh", "-c", "cat /root/note; ls /etc/group /usr/sbin; stat -c %u:%g /new; hostname; cat /etc/hostname"), 10
    )
    assert say.stdout.split() == ["mine", "/usr/sbin:", "x", "7:8", "copy", "copy"]
    await raw.start(box)
    assert (await raw.execute(box, ("cat", "/etc/hostname"), 10)).stdout == "box\n"
    assert os.listdir(home.data / "images") == ["busybox"]


async def test_a_commit_is_an_image_with_ids_shifted_back(raw: RawEngine) -> None:
    box = await changed_box(raw)
    await raw.pause(box)
    await raw.copies.commit(box, "made", "olga", PHASES.append)
    await raw.resume(box)
    image = raw.images_of.get("made")
    root = Path(raw.images_of.view_of_image("made").image)
    assert (image["owner"], image["source"], image["env"]["COLOUR"]) == ("olga", "sandbox:box", "green")
    assert ((root / "new").stat().st_uid, (root / "new").stat().st_gid, (root / "bin/busybox").stat().st_uid) == (7, 8, 0)
    assert not (root / "etc/group").exists() and os.listdir(root / "usr/sbin") == ["x"]
    other = await raw.create(spec("other", image="made"), "")
    assert (await raw.execute(other.id, ("cat", "/root/note"), 10)).stdout == "mine\n"


async def test_while_it_is_copied_a_sandbox_is_not_started(raw: RawEngine) -> None:
    box = await changed_box(raw)
    await raw.stop(box, 1)
    commit = asyncio.create_task(raw.copies.commit(box, "made", "", PHASES.append))
    await asyncio.sleep(0)
    for action in (raw.start(box), raw.remove(box, True)):
        with pytest.raises(Conflict, match="being copied"):
            await action
    await commit
    await raw.start(box)


async def test_an_export_is_what_its_root_sees(raw: RawEngine, home: Home) -> None:
    box = await changed_box(raw)
    await raw.stop(box, 1)
    archive = await raw.export_container(box)
    tar = await asyncio.to_thread(read_all, archive.fd)
    members = {member.name: member for member in tar}
    assert (members["./new"].uid, members["./new"].gid) == (7, 8) and "./etc/group" not in members
    assert members["./bin/busybox"].uid == 0 and "./usr/sbin/x" in members
    image = await asyncio.to_thread(read_all, (await raw.export_image("busybox")).fd)
    assert "./etc/group" in image.getnames()
    while len(os.listdir(home.data / "images")) > 1:
        await asyncio.sleep(0.01)


async def test_an_export_that_nobody_reads_ends(raw: RawEngine, home: Home) -> None:
    archive = await raw.export_image("busybox")
    await asyncio.to_thread(os.read, archive.fd, 10)
    os.close(archive.fd)
    while len(os.listdir(home.data / "images")) > 1:
        await asyncio.sleep(0.01)


async def test_so_many_exports_at_once_and_no_more(raw: RawEngine, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_copies, "MOST_EXPORTS", 2)
    archives = [await raw.export_image("busybox") for _ in range(2)]
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Conflict) as refused:
        await raw.export_image("busybox")
    assert refused.value.code == "too_many" and len(os.listdir("/proc/self/fd")) == before
    for archive in archives:
        os.close(archive.fd)
    while raw.copies._exports:
        await asyncio.sleep(0.01)
    assert "./etc/group" in (await asyncio.to_thread(read_all, (await raw.export_image("busybox")).fd)).getnames()
    while len(os.listdir(home.data / "images")) > 1:
        await asyncio.sleep(0.01)


async def test_a_cancelled_import_leaves_nothing(raw: RawEngine, home: Home) -> None:
    reading, writing = os.pipe()
    seen = asyncio.Event()
    source = ImportSpec("big", TarSource())
    task = asyncio.create_task(raw.images_of.import_image(source, "", lambda _: seen.set(), stream=reading))
    data = Tar().add("big", os.urandom(1 << 20)).done()
    os.write(writing, data[:60_000])
    await seen.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    os.close(reading)
    os.close(writing)
    assert os.listdir(home.data / "images") == ["busybox"]


async def test_what_a_killed_worker_left_goes_at_the_next_start(raw: RawEngine, home: Home) -> None:
    scratch = home.data / "images/.job-0123"
    (scratch / "rootfs/deep").mkdir(parents=True)
    (home.data / "sandboxes/halfclone/upper").mkdir(parents=True)
    await raw.close()
    await raw.open(home.changes.append)
    assert os.listdir(home.data / "images") == ["busybox"] and not (home.data / "sandboxes/halfclone").exists()


async def test_a_failed_import_says_why_and_leaves_nothing(raw: RawEngine, home: Home) -> None:
    with pytest.raises(TerrariumError, match="no program nonesuch") as caught:
        await raw.images_of.import_image(ImportSpec("x", ProgramsSource(("nonesuch",))), "", PHASES.append)
    assert caught.value.code == "not_found" and os.listdir(home.data / "images") == ["busybox"]


async def test_file_capabilities_count_inside_where_new_privileges_are_allowed(raw: RawEngine, tmp_path: Path) -> None:
    """And survive a commit. V2 is the attribute as setcap(8) writes it for cap_net_raw=ep."""
    program = (Path(raw.images_of.view_of_image("busybox").image) / "bin/busybox").read_bytes()
    attribute = {"SCHILY.xattr.security.capability": bytes.fromhex("0100000200200000000000000000000000000000").decode()}
    tar = Tar().add("bin/busybox", program, mode=0o755).add("bin/busybox-cap", program, mode=0o755, pax_headers=attribute)
    (tmp_path / "tar").write_bytes(tar.done())
    with (tmp_path / "tar").open("rb") as file:
        await raw.images_of.import_image(ImportSpec("able", TarSource()), "", PHASES.append, stream=file.fileno())
    sleep = ("/bin/busybox", "sleep", "1000")
    look = ("/bin/busybox-cap", "grep", "CapEff", "/proc/self/status")
    allowed = {"no_new_privs": False}
    box = await raw.create(spec(image="able", command=sleep, user="1000:1000", security=allowed), "")
    assert (await raw.execute(box.id, look, 10)).stdout.split() == ["CapEff:", "0000000000002000"]
    await raw.stop(box.id, 0.1)
    await raw.copies.commit(box.id, "able-too", "", PHASES.append)
    other = await raw.create(spec("other", image="able-too", command=sleep, security=allowed), "")
    assert (await raw.execute(other.id, look, 10)).stdout.split() == ["CapEff:", "0000000000002000"]
    strict = await raw.create(spec("strict", image="able", command=sleep, user="1000:1000"), "")
    assert (await raw.execute(strict.id, look, 10)).stdout.split() == ["CapEff:", "0000000000000000"]
