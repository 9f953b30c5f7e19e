"""Images on a real file system, made from this machine's busybox."""

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from containers_app.errors import Conflict, InvalidInput, KernelRefused, NotFound, Unsupported
from containers_app.kernel import images, resolver

pytestmark = pytest.mark.skipif(not os.path.exists(images.BUSYBOX), reason="busybox-static is not installed")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("images"))
    return directory, images.ensure_busybox(directory)


def test_the_image_runs_in_a_chroot(built):
    _, image = built
    script = "echo hello | tr a-z A-Z; ls -d /proc /sys /dev /run /var /tmp; id -un; sleep 0"
    done = subprocess.run(["chroot", image.rootfs, "/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["HELLO", "/dev", "/proc", "/run", "/sys", "/tmp", "/var", "root"]
    assert (done.returncode, done.stderr) == (0, "")


def test_every_applet_is_there(built):
    _, image = built
    listed = set(subprocess.run([images.BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split())
    places = ("bin", "sbin", "usr/bin", "usr/sbin")
    found = {name for place in places for name in os.listdir(f"{image.rootfs}/{place}")}
    assert listed - found <= {"linuxrc"}


def test_its_default_command_idles_until_it_is_ended(built):
    _, image = built
    with subprocess.Popen(["chroot", image.rootfs, *image.command], stderr=subprocess.PIPE) as process:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.3)
        finally:
            process.kill()


def test_files_and_modes_do_not_depend_on_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        root = Path(images.ensure_busybox(str(tmp_path / "images")).rootfs)
    finally:
        os.umask(before)
    modes = {
        name: stat.S_IMODE((root / name).stat().st_mode) for name in (".", "bin", "bin/busybox", "etc/passwd", "tmp", "root")
    }
    assert modes == {".": 0o755, "bin": 0o755, "bin/busybox": 0o755, "etc/passwd": 0o644, "tmp": 0o1777, "root": 0o700}
    for name in ("passwd", "group", "hostname", "hosts", "resolv.conf", "nsswitch.conf"):
        assert (root / "etc" / name).is_file()


def test_image_json_says_what_it_is(built):
    directory, image = built
    stored = json.loads(Path(directory, "busybox", "image.json").read_text())
    assert set(stored) == {"name", "source", "digest", "created_at", "size", "command", "env"}
    assert (image.name, image.source, image.command) == ("busybox", "busybox:/bin/busybox", ("sleep", "infinity"))
    assert image.size > os.path.getsize(images.BUSYBOX)
    assert image.env["PATH"].endswith("/bin")
    assert images.list_images(directory) == [images.get_image(directory, "busybox")] == [image]


def test_asking_again_builds_nothing(built):
    directory, image = built
    inode = os.stat(image.rootfs).st_ino
    assert images.ensure_busybox(directory) == image
    assert os.stat(image.rootfs).st_ino == inode


def test_another_busybox_makes_another_image_unless_it_is_in_use(tmp_path):
    directory, program = str(tmp_path / "images"), tmp_path / "busybox"
    shutil.copy(images.BUSYBOX, program)
    first = images.ensure_busybox(directory, busybox=str(program))
    with open(program, "ab") as file:
        file.write(b"\0")
    assert images.ensure_busybox(directory, in_use=True, busybox=str(program)) == first
    second = images.ensure_busybox(directory, busybox=str(program))
    assert second.digest != first.digest
    assert os.listdir(directory) == ["busybox"]


def test_an_image_cut_short_is_built_anew(tmp_path):
    directory = str(tmp_path)
    whole = images.ensure_busybox(directory)
    Path(directory, "busybox", "image.json").write_text('{"name": "busy')
    Path(directory, ".busybox-killed").mkdir()
    with pytest.raises(Conflict, match=r"image\.json can't be read"):
        images.get_image(directory, "busybox")
    assert images.ensure_busybox(directory).digest == whole.digest
    assert os.listdir(directory) == ["busybox"]


@pytest.mark.parametrize("spoilt", [b"", b'{"name": "busy', b"\0\xff" * 40])
def test_files_that_are_in_use_are_described_again_where_image_json_was_cut_short(tmp_path, spoilt):
    directory = str(tmp_path)
    whole = images.ensure_busybox(directory)
    inode = os.stat(whole.rootfs).st_ino
    Path(directory, "busybox", "image.json").write_bytes(spoilt)
    again = images.ensure_busybox(directory, in_use=True)
    assert (again.digest, again.size, again.env, again.rootfs) == (whole.digest, whole.size, whole.env, whole.rootfs)
    assert os.stat(whole.rootfs).st_ino == inode and images.list_images(directory) == [again]


def test_no_busybox_is_said_with_a_hint(tmp_path):
    with pytest.raises(Unsupported) as refused:
        images.ensure_busybox(str(tmp_path / "images"), busybox=str(tmp_path / "none"))
    assert "busybox-static" in refused.value.hint
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize(("program", "words"), [("/bin/ls", "shared libraries"), (__file__, "not a 64-bit program")])
def test_a_program_that_needs_more_than_itself_is_refused(tmp_path, program, words):
    with pytest.raises(Unsupported, match=words):
        images.ensure_busybox(str(tmp_path / "images"), busybox=program)


def test_a_program_cut_short_is_refused(tmp_path):
    (tmp_path / "busybox").write_bytes(Path(images.BUSYBOX).read_bytes()[:80])
    with pytest.raises(Unsupported, match="cut short"):
        images.ensure_busybox(str(tmp_path / "images"), busybox=str(tmp_path / "busybox"))


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], check=True)
    try:
        with pytest.raises(KernelRefused, match="No space left"):
            images.ensure_busybox(str(tmp_path / "images"))
        assert os.listdir(tmp_path / "images") == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_missing_image_names_those_there_are(built):
    with pytest.raises(NotFound) as missing:
        images.get_image(built[0], "debian")
    assert "busybox" in missing.value.hint


def test_no_images_yet(tmp_path):
    assert images.list_images(str(tmp_path / "none")) == []
    with pytest.raises(NotFound):
        images.get_image(str(tmp_path / "none"), "busybox")


@pytest.mark.parametrize("name", ["", ".", "..", "../busybox", "a/b", "/etc", ".hidden", "a\0b", "a\n", "é", "a" * 128])
def test_a_name_is_never_a_path(built, name):
    with pytest.raises(InvalidInput):
        images.get_image(built[0], name)


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        (
            "nameserver 192.0.2.53\nnameserver 2001:db8::1\nnameserver 192.0.2.54\nsearch a.example\n",
            ["192.0.2.53", "2001:db8::1", "192.0.2.54"],
        ),
        ("nameserver 127.0.0.53\n", ["203.0.113.9"]),
        ("nameserver\nnameserver nonsense\n# nameserver 192.0.2.1\n", ["203.0.113.9"]),
    ],
)
def test_name_servers_are_those_that_a_sandbox_can_reach(tmp_path, text, servers):
    first, second = tmp_path / "resolv.conf", tmp_path / "resolved.conf"
    first.write_text(text)
    second.write_text("nameserver 203.0.113.9\n")
    files = (str(first), str(second))
    assert [str(server) for server in resolver.name_servers(files)] == servers
    written = resolver.resolv_conf(files=files)
    assert written.startswith(f"nameserver {servers[0]}\n") and "2001" not in written  # no IPv6 unless it can reach them
    assert ("search a.example\n" in written) == ("search" in text)
    assert [line.split()[1] for line in resolver.resolv_conf(files=files, ipv6=True).splitlines() if "server" in line] == servers


@pytest.mark.parametrize(
    ("text", "comment"),
    [
        ("nameserver 127.0.0.1\nnameserver ::1\nsearch a.example\n", "# the host names only servers on its own loopback\n"),
        ("nameserver 2001:db8::1\n", "# the host names only servers that are reached by IPv6\n"),
        ("# nameserver 127.0.0.1\nnameserver nonsense\n", "# the host names no server\n"),
    ],
)
def test_a_sandbox_without_a_name_server_is_told_why(tmp_path, text, comment):
    file = tmp_path / "resolv.conf"
    file.write_text(text)
    files = (str(file), str(tmp_path / "none"))
    search = "search a.example\n" if "search" in text else ""
    assert resolver.resolv_conf(files=files) == comment + search
    assert resolver.resolv_conf(["192.0.2.1"], files=files) == f"nameserver 192.0.2.1\n{search}"
