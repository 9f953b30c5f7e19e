"""deploy/up, down and manage from one end to the other, beside the session's panel."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.deploy.refusal import check_refusal, inventory
from tests.panel import Panel, deploy, free_port

QUICK_SECONDS = 5.0  # what the issue promises for a second start


def wait_for(panel: Panel, name: str, before: int) -> int:
    """The pid of the process that the supervisor started in place of ``before``."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if panel.pid(name) != before and panel.is_up():
            return panel.pid(name)
        time.sleep(0.05)
    raise AssertionError(f"no new {name}" + panel.log_tails())


def test_second_start_is_quick_and_changes_no_installed_file(second: Panel) -> None:
    second.ensure_up()
    second.down()
    installed = [inventory(second.data / name) for name in ("app", "venv", "npm", "static")]
    took: list[float] = []
    while not took or took[-1] >= QUICK_SECONDS:  # unless the machine is too busy for that at the moment
        assert len(took) < 5, took
        second.down()
        started = time.monotonic()
        second.up()
        took.append(time.monotonic() - started)
    assert second.is_up()
    assert [inventory(second.data / name) for name in ("app", "venv", "npm", "static")] == installed


def test_first_start_prints_the_one_time_password_once(other: Panel) -> None:
    words = (*other.place, "--port", str(other.port), "--docker-host", other.docker_host, "--detach")
    first = deploy("up", *words)
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.count("One-time password:") == 1 and f"http://127.0.0.1:{other.port}/" in first.stdout
    other.down()
    second = deploy("up", *words)
    assert second.returncode == 0 and "password" not in second.stdout
    assert "No Docker at" in second.stdout


def test_environment_takes_the_place_of_options_and_the_one_time_password_goes_to_the_file_that_was_asked_for(
    other: Panel,
) -> None:
    file = other.base / "secret"
    environment = {"PORT": str(other.port), "DATA": str(other.data), "RUN": str(other.run), "DETACH": "1",
                   "DOCKER_HOST": other.docker_host, "ADMIN_PASSWORD_FILE": str(file)}  # fmt: skip
    ran = deploy("up", env={f"TERRARIUM_{name}": value for name, value in environment.items()})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert other.is_up()
    password = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600 and len(password) > 20 and password not in ran.stdout


def test_a_second_up_on_the_same_directories_is_refused(panel: Panel, tmp_path: Path) -> None:
    pids = [panel.pid(name) for name in ("supervisor", "keeper", "worker", "web")]
    elsewhere = {
        "data": (*panel.place[:2], "--run", str(tmp_path / "run")),
        "run": ("--data", str(tmp_path / "data"), *panel.place[2:]),
        "both": panel.place,
    }
    for words in elsewhere.values():
        ran = deploy("up", *words, "--port", str(free_port()), "--detach")
        check_refusal(ran)
        assert panel.url in ran.stderr and "deploy/down" in ran.stderr
    assert [panel.pid(name) for name in ("supervisor", "keeper", "worker", "web")] == pids
    assert list(tmp_path.iterdir()) == []


def test_web_and_worker_are_started_again_when_they_are_killed(second: Panel) -> None:
    second.ensure_up()
    keeper = second.pid("keeper")
    for name in ("web", "worker"):
        before = second.pid(name)
        os.kill(before, signal.SIGKILL)
        wait_for(second, name, before)
    assert second.pid("keeper") == keeper


def test_keeper_is_started_again_when_it_is_killed(second: Panel) -> None:
    second.ensure_up()
    before = second.pid("keeper")
    os.kill(before, signal.SIGKILL)
    wait_for(second, "keeper", before)


def test_keeper_outlives_down_and_is_found_again(second: Panel) -> None:
    second.ensure_up()
    keeper = second.pid("keeper")
    second.down()
    assert not second.is_up() and not (second.run / "web.pid").exists()
    second.up()
    assert second.pid("keeper") == keeper


def test_a_keeper_of_other_code_is_replaced_and_its_sandboxes_run_on(second: Panel) -> None:
    second.ensure_up()
    second.manage("sandbox", "run", "stays", "sleep", "1000")
    try:
        keeper, pid = second.pid("keeper"), json.loads(second.manage("sandbox", "inspect", "stays"))["pid"]
        second.down()
        (second.run / "keeper.code").write_text("of the version before")
        second.up()
        assert second.pid("keeper") != keeper
        with contextlib.suppress(FileNotFoundError):  # until the host's init has reaped it
            assert Path(f"/proc/{keeper}/cmdline").read_text() == ""
        shown = json.loads(second.manage("sandbox", "inspect", "stays"))
        assert (shown["state"], shown["pid"]) == ("running", pid)
        assert second.manage("sandbox", "exec", "stays", "echo", "here").strip() == "here"
    finally:
        second.manage("sandbox", "remove", "--force", "stays")


def test_up_takes_over_from_a_supervisor_that_was_killed(second: Panel) -> None:
    second.ensure_up()
    web = second.pid("web")
    os.kill(second.pid("supervisor"), signal.SIGKILL)
    second.up()
    assert second.is_up() and second.pid("web") != web


def test_down_works_after_everything_was_killed_and_twice_and_up_with_the_data_that_was_kept(second: Panel) -> None:
    second.ensure_up()
    second.manage("create_token", "admin")
    for name in ("supervisor", "keeper", "worker", "web"):
        os.kill(second.pid(name), signal.SIGKILL)
    second.down()
    second.down()
    second.down("--all")
    second.down("--all")
    assert second.data.exists() and not second.run.exists()
    second.up()
    count = "from django.contrib.auth import get_user_model as model; print(model().objects.count())"
    assert second.manage("shell", "-v", "0", "-c", count).strip() == "1"


def test_web_process_has_nothing_but_its_own(panel: Panel) -> None:
    """Its own user, no group, no capability, no way to gain any, and a root directory without the host's files."""
    pid = panel.pid("web")
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    uid = (panel.data / "web").stat().st_uid
    assert uid != 0 and status["Uid"].split() == [str(uid)] * 4 and "0" not in status["Gid"].split()
    assert status["Groups"].split() == [] and status["NoNewPrivs"] == "1" and status["Umask"] == "0077"
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    root = Path(f"/proc/{pid}/root")
    assert {path.name for path in root.iterdir()} <= {
        "bin",
        "dev",
        "etc",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "mnt",
        "sbin",
        "tmp",
        "usr",
    }
    assert {path.name for path in (root / "mnt").iterdir()} == {"app", "npm", "run", "static", "venv", "web"}
    assert os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt")


def test_secrets_in_the_data_directory_are_roots_alone(panel: Panel) -> None:
    assert panel.data.stat().st_mode & 0o777 == 0o700
    for name in ("policy.toml", "instance.json", "lock"):
        status = (panel.data / name).stat()
        assert (status.st_mode & 0o777, status.st_uid) == (0o600, 0)
    assert (panel.run / "web").stat().st_mode & 0o777 == 0o750


def test_foreground_stops_with_ctrl_c_and_the_keeper_stays(second: Panel) -> None:
    second.down()
    words = [word for word in second.up_words if word != "--detach"]
    with subprocess.Popen(["deploy/up", *words], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("Terrarium serves at"):
                break
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0
    assert not second.is_up() and Path(f"/proc/{second.pid('keeper')}").exists()
    second.up()
