"""deploy/up told something that it can't do: one clear sentence that says what to do, and nothing changed."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from tests.deploy.refusal import check_refusal, refused
from tests.panel import ROOT, deploy


def test_port_taken_names_the_program_that_has_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sentence = refused(tmp_path, "--port", str(server.getsockname()[1]))
    assert "is taken by" in sentence and "choose another port with --port" in sentence


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "8000.0", "٨٠٠٠", ""])
def test_a_port_that_is_none(tmp_path: Path, port: str) -> None:
    refused(tmp_path, f"--port={port}", code=2)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "::2"])
def test_an_address_of_another_machine(tmp_path: Path, host: str) -> None:
    assert "--host" in refused(tmp_path, "--host", host)


@pytest.mark.parametrize(
    "url", ["docker", "unix:relative.sock", "ftp://x", "unix:///a b", "ssh://x", "raw=tcp://x", "A=tcp://x", "tcp://x,tcp://x"]
)
def test_a_docker_url_that_is_none(tmp_path: Path, url: str) -> None:
    assert "--docker-host" in refused(tmp_path, "--docker-host", url, code=2)


@pytest.mark.parametrize(
    "url",
    [
        "", "panel.example", "https://", "ftp://panel.example", "https://panel.example/terrarium", "https://panel.example?x",
        "https://root@panel.example", "https://panel.example:0", "https://panel.example:65536", "https://panel.example:",
        "https://.example", "https://*.example", "https://panel.example.", "https://a_b.example", "https://-a.example",
        "https://bücher.example", "https://192.0.2", "https://300.0.2.1", "https://[192.0.2.1]", "https://[::g]",
        "https://2001:db8::1", "https://a.example,https://b.example", "https://panel.example\n", " https://panel.example",
    ],
)  # fmt: skip
def test_a_public_url_that_is_none(tmp_path: Path, url: str) -> None:
    assert "--public-url" in refused(tmp_path, f"--public-url={url}", code=2)


def test_a_public_url_and_an_address_at_which_no_proxy_here_looks(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.99", 9))
        own = probe.getsockname()[0]
    assert "--host 127.0.0.1" in refused(tmp_path, "--public-url", "https://panel.example", "--host", own)


def test_an_unknown_option(tmp_path: Path) -> None:
    assert "--help" in refused(tmp_path, "--colour", code=2)


def test_environment_is_checked_like_the_options(tmp_path: Path) -> None:
    ran = deploy("up", "--data", str(tmp_path / "data"), "--run", str(tmp_path / "run"), env={"TERRARIUM_PORT": "eighty"})
    check_refusal(ran, code=2)


def test_not_root_is_told_to_use_sudo(tmp_path: Path) -> None:
    """From a clone that everybody may read, with everybody's rights."""
    clone = Path("/tmp") / f"terrarium-clone-{tmp_path.parent.name}"
    try:
        for part in ("deploy", "containers_app"):
            shutil.copytree(ROOT / part, clone / part, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (clone, *clone.rglob("*")):
            path.chmod(0o755)
        wrapper = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        for program in ("up", "down", "manage", "test"):
            ran = deploy(program, root=clone, wrapper=wrapper)
            check_refusal(ran)
            assert "sudo" in ran.stderr
    finally:
        shutil.rmtree(clone)


def test_data_directory_with_somebody_elses_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").write_text("years of work")
    assert "not the panel's" in refused(tmp_path)


def test_run_directory_with_somebody_elses_files(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "other.pid").write_text("1")
    assert "not the panel's" in refused(tmp_path)


def test_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert "is a file" in refused(tmp_path)


def test_data_directory_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "choose another directory" in refused(tmp_path, "--data", str(tmp_path / "file" / "data"))


@pytest.mark.parametrize("data", ["/", "/etc", "relative:colon", "/srv/a,b", "/srv/line\nbreak"])
def test_data_directory_that_could_never_be(tmp_path: Path, data: str) -> None:
    assert "choose" in refused(tmp_path, f"--data={data}", code=2)


@pytest.mark.parametrize(("data", "run"), [("x", "x"), ("x", "x/run"), ("x/data", "x")])
def test_data_and_run_directory_inside_each_other(tmp_path: Path, data: str, run: str) -> None:
    sentence = refused(tmp_path, "--data", str(tmp_path / data), "--run", str(tmp_path / run), code=2)
    assert "must not lie inside each other" in sentence


def test_run_directory_whose_sockets_would_not_fit(tmp_path: Path) -> None:
    assert "too long for a socket" in refused(tmp_path, "--run", str(tmp_path / ("r" * 100)), code=2)


def test_admin_password_file_that_is_a_directory(tmp_path: Path) -> None:
    assert "is not a file" in refused(tmp_path, "--admin-password-file", str(tmp_path))


def test_admin_password_file_that_is_empty(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("\n")
    assert "is empty" in refused(tmp_path, "--admin-password-file", str(tmp_path / "password"))


def test_down_and_manage_where_nothing_is(tmp_path: Path) -> None:
    place = ("--data", str(tmp_path / "data"), "--run", str(tmp_path / "run"))
    ran = deploy("manage", *place, "check")
    check_refusal(ran)
    assert "run deploy/up first" in ran.stderr
    for words in ((), ("--all",), ("--all", "--purge"), ("--purge",)):
        ran = deploy("down", *place, *words)
        assert (ran.returncode, ran.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
