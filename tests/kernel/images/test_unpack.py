"""Tars become root file systems; hostile ones are refused, or do no harm outside of the root."""

import bz2
import gzip
import io
import lzma
import os
import select
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from backports import zstd

from containers_app.kernel.images import get_image
from containers_app.kernel.images.task import Bounds, Done
from containers_app.spec import DirectorySource, TarSource

from .importing import Tar, imported, run, run_tar, start

MIB = 1 << 20


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir(mode=0o700)
    yield tmp_path / "images"


def left(images: Path) -> list[str]:
    return sorted(os.listdir(images))


def test_files_keep_owner_mode_time_and_links(images):
    tar = Tar().directory("bin").add("bin/su", b"x" * 700, mode=0o4755, uid=0, gid=0, mtime=1_600_000_000)
    tar.link("bin/su2", "bin/su").symlink("bin/sh", "/bin/su").add("home/olga/.profile", b"hi", uid=1000, gid=1001, mode=0o600)
    tar.add("far", b"", uid=4_000_000, gid=65535).add("pipe", type=tarfile.FIFOTYPE, mode=0o600)
    root = imported(images, "a", tar.done())
    su, profile, far = (os.lstat(root / name) for name in ("bin/su", "home/olga/.profile", "far"))
    assert (stat.S_IMODE(su.st_mode), su.st_size, su.st_mtime, su.st_nlink) == (0o4755, 700, 1_600_000_000, 2)
    assert os.readlink(root / "bin/sh") == "/bin/su"
    assert (profile.st_uid, profile.st_gid, stat.S_IMODE(profile.st_mode)) == (1000, 1001, 0o600)
    assert (far.st_uid, far.st_gid) == (65534, 65535)  # an id that no sandbox has is nobody's
    assert stat.S_ISFIFO(os.lstat(root / "pipe").st_mode)
    assert set(os.listdir(root)) >= {"proc", "sys", "dev", "run", "tmp", "etc"}
    assert stat.S_IMODE((root / "tmp").stat().st_mode) == 0o1777 and stat.S_IMODE(root.stat().st_mode) == 0o755
    image = get_image(str(images), "a")
    assert (image.size, image.source, image.user) == (702, "tar:upload", "0:0")
    assert left(images) == ["a"]


PACKERS = [bytes, gzip.compress, bz2.compress, lzma.compress, zstd.compress]


@pytest.mark.parametrize("pack", PACKERS, ids=["plain", "gzip", "bzip2", "xz", "zstd"])
def test_packed_streams_are_told_by_their_first_bytes(images, pack):
    data = Tar().add("etc/motd", b"hello" * 100_000).done()
    root = imported(images, "packed", pack(data))
    assert (root / "etc/motd").read_bytes() == b"hello" * 100_000


def test_two_gzip_members_are_read_as_one(images):
    data = Tar().add("etc/motd", b"hello" * 1000).done()
    root = imported(images, "members", gzip.compress(data[:700]) + gzip.compress(data[700:]))
    assert (root / "etc/motd").stat().st_size == 5000


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/../evil", "a/.."])
def test_a_name_that_climbs_is_refused(images, name):
    assert run_tar(images, "a", Tar().add(name, b"x").done()).code == "unsafe_tar"
    assert left(images) == [] and not (images.parent / "evil").exists()


def test_a_hard_link_that_climbs_is_refused(images):
    assert run_tar(images, "a", Tar().link("passwd", "../../../../etc/passwd").done()).code == "unsafe_tar"
    assert left(images) == []


def test_a_hard_link_to_an_absolute_path_finds_only_the_image(images):
    outcome = run_tar(images, "a", Tar().link("stolen", "/etc/hostname").done())
    assert outcome.code == "invalid_tar" and left(images) == []


def test_an_absolute_name_is_below_the_root(images, tmp_path):
    root = imported(images, "a", Tar().add(f"{tmp_path}/victim", b"x").done())
    assert (root / str(tmp_path).lstrip("/") / "victim").read_bytes() == b"x" and not (tmp_path / "victim").exists()


def test_a_link_swapped_for_a_directory_leads_nowhere_outside(images, tmp_path):
    """A link to a directory of the host, and a file through it: both stay inside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    tar = Tar().directory(str(outside)).symlink("way", str(outside)).add("way/evil", b"x").symlink("up", "../../../../../..")
    tar.add(f"up{outside}/evil2", b"x")
    root = imported(images, "a", tar.done())
    assert os.listdir(outside) == []
    assert sorted(os.listdir(root / str(outside).lstrip("/"))) == ["evil", "evil2"]


def test_a_file_over_a_link_replaces_the_link(images, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    root = imported(images, "a", Tar().symlink("etc/motd", str(victim)).add("etc/motd", b"theirs").done())
    assert victim.read_text() == "mine" and (root / "etc/motd").read_text() == "theirs"
    assert not (root / "etc/motd").is_symlink()


def test_a_file_over_a_very_deep_directory_replaces_all_of_it(images):
    tar = Tar()
    for level in range(1, 1501):
        tar.directory("/".join("a" * level))
    root = imported(images, "deep", tar.add("a", b"flat").done())
    assert (root / "a").read_bytes() == b"flat"


def test_device_files_are_left_out_and_said_so(images):
    tar = Tar().add("dev/sda", type=tarfile.BLKTYPE, devmajor=8, devminor=0).add("dev/mem", type=tarfile.CHRTYPE, devmajor=1)
    outcome = run_tar(images, "a", tar.add("ok", b"1").done())
    assert outcome.last == Done("Left out: 2 device files.")
    assert list((images / "a/rootfs/dev").iterdir()) == []


def test_a_decompression_bomb_is_stopped_at_the_bound(images):
    bomb = gzip.compress(Tar().add("zeros", bytes(256 * MIB)).done())
    assert len(bomb) < MIB
    assert run_tar(images, "a", bomb, bounds=Bounds(size=64 * MIB, entries=100)).code == "image_too_large"
    assert left(images) == []


def test_a_hole_counts_as_if_it_were_full(images, tmp_path):
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(200 * MIB)
        file.seek(100 * MIB)
        file.write(b"middle")
    data = subprocess.run(["tar", "-C", tmp_path, "-S", "-cf", "-", "sparse"], capture_output=True, check=True).stdout
    assert len(data) < MIB
    assert run_tar(images, "a", data, bounds=Bounds(size=64 * MIB, entries=100)).code == "image_too_large"
    root = imported(images, "b", data)
    assert (root / "sparse").stat().st_size == 200 * MIB and (root / "sparse").stat().st_blocks * 512 < MIB
    with (root / "sparse").open("rb") as file:
        file.seek(100 * MIB)
        assert file.read(6) == b"middle"


def test_more_files_than_the_bound_are_refused(images):
    tar = Tar()
    for number in range(200):
        tar.add(f"f{number}")
    assert run_tar(images, "a", tar.done(), bounds=Bounds(size=MIB * 64, entries=150)).code == "image_too_large"
    assert left(images) == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "cut_short"),
        (b"no tar at all" * 100, "invalid_tar"),
        (Tar().add("a", b"x" * 5000).done()[:3000], "cut_short"),
        (Tar().add("a", b"x" * 5000).done()[:5632], "cut_short"),  # whole members, but no end
        (gzip.compress(Tar().add("a", os.urandom(50_000)).done())[:-20_000], "cut_short"),
        (b"\x1f\x8b" + b"\xff" * 100, "invalid_tar"),
        (b"\xfd7zXZ\x00" + b"\xff" * 100, "invalid_tar"),
        (Tar().add("x" * 400 + "/" + "y" * 300, b"x").done(), "invalid_tar"),  # a name that no file system takes
        (Tar().add("a", type=b"Q").done(), "invalid_tar"),
    ],
    ids=["empty", "text", "half a file", "no end", "half a gzip", "bad gzip", "bad xz", "long name", "unknown kind"],
)
def test_what_is_no_whole_tar_is_refused(images, data, code):
    assert run_tar(images, "a", data).code == code
    assert left(images) == []


def test_a_header_of_gigabytes_fills_no_memory(images):
    """A pax header is read whole into memory by whoever is not careful."""
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 8 << 30
    data = header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)
    assert run_tar(images, "a", gzip.compress(data)).code == "invalid_tar"


def test_two_imports_of_a_name_leave_the_first(images):
    imported(images, "a", Tar().add("first").done())
    assert run_tar(images, "a", Tar().add("second").done()).code == "name_taken"
    assert (images / "a/rootfs/first").exists() and left(images) == ["a"]


def test_killed_at_work_it_leaves_only_its_scratch(images):
    """And its processes go with it, whoever kills it."""
    reading, writing = os.pipe()
    data = Tar().add("big", os.urandom(8 * MIB)).done()
    with open(reading, "rb") as stream, start(images, "a", TarSource(), stream=stream) as process:
        assert process.stdout is not None
        os.write(writing, data[:60_000])
        process.stdout.readline()
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        pidfd = os.pidfd_open(int(child))
        process.kill()
    try:
        assert select.select([pidfd], [], [], 10)[0], "it lives on"
    finally:
        os.close(pidfd)
        os.close(writing)
    assert left(images) == [".job-a"]


def test_a_directory_is_copied_with_its_links(images, tmp_path):
    source = tmp_path / "source"
    (source / "etc").mkdir(parents=True)
    (source / "etc/motd").write_text("hello")
    os.chown(source / "etc/motd", 33, 33)
    (source / "link").symlink_to("/etc/shadow")
    outcome = run(images, "a", DirectorySource(str(source)))
    assert isinstance(outcome.last, Done), outcome.last
    assert os.readlink(images / "a/rootfs/link") == "/etc/shadow"
    assert os.stat(images / "a/rootfs/etc/motd").st_uid == 33


def test_a_directory_behind_a_link_is_not_opened(images, tmp_path):
    (tmp_path / "way").symlink_to("/etc")
    assert run(images, "a", DirectorySource(str(tmp_path / "way"))).code == "kernel"
    assert left(images) == []


def test_pax_sparse_pieces_beyond_the_end_are_refused(images):
    member = tarfile.TarInfo("s")
    member.size = 512
    member.pax_headers = {"GNU.sparse.map": "0,512,99999999,1", "GNU.sparse.size": "512", "GNU.sparse.name": "s"}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(member, io.BytesIO(bytes(512)))
    assert run_tar(images, "a", file.getvalue()).code in ("invalid_tar", "cut_short")
    assert left(images) == []


V2 = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep
V3 = bytes.fromhex("010000030020000000000000000000000000000040420f00")  # the same, of root 1000000
WORDS = "surrogateescape"


def test_user_attributes_and_file_capabilities_are_kept_without_an_owner_and_the_rest_is_counted(images):
    headers = {
        "SCHILY.xattr.user.colour": "gr\udcfcn", "SCHILY.xattr.security.capability": V3.decode("utf-8", WORDS),
        "SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.security.selinux": "x", "SCHILY.xattr.system.posix_acl_access": "x", "SCHILY.acl.access": "u::r",
    }  # fmt: skip
    tar = Tar().directory("d").add("d/ping", b"x", mode=0o755, uid=7, pax_headers=headers)
    tar.add("e", type=tarfile.DIRTYPE, mode=0o755, pax_headers={"SCHILY.xattr.user.of": "a directory"})
    tar.add("bad", b"", pax_headers={"SCHILY.xattr.security.capability": "short", "SCHILY.xattr.user.": "no name"})
    outcome = run_tar(images, "a", tar.done())
    assert outcome.last == Done("Left out: 6 extended attributes.")
    ping = images / "a/rootfs/d/ping"
    assert (os.getxattr(ping, "security.capability"), os.getxattr(ping, "user.colour")) == (V2, b"gr\xfcn")
    assert sorted(os.listxattr(ping)) == ["security.capability", "user.colour"]
    assert os.getxattr(images / "a/rootfs/e", "user.of") == b"a directory" and os.listxattr(images / "a/rootfs/bad") == []


def test_attributes_go_from_directory_to_directory(images, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "ping").write_bytes(b"x")
    os.setxattr(source / "ping", "security.capability", V2)
    os.setxattr(source / "ping", "user.colour", b"\0\xff")
    outcome = run(images, "a", DirectorySource(str(source)))
    assert outcome.last == Done("")
    ping = images / "a/rootfs/ping"
    assert (os.getxattr(ping, "security.capability"), os.getxattr(ping, "user.colour")) == (V2, b"\0\xff")


def test_a_zstd_stream_may_not_ask_for_more_memory_than_zstd_itself_would(images):
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 28})
    data = packer.compress(Tar().add("x", b"x").done()) + packer.flush()
    assert run_tar(images, "a", data).code == "invalid_tar" and left(images) == []
