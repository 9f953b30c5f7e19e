"""The worker as a program: one for each run directory, a clean end, clear words when it can't begin. No keeper needed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from containers_app.errors import WorkerUnavailable
from containers_app.worker.__main__ import instance_tag
from containers_app.worker.client import call_once
from containers_app.worker.protocol import ReadHost

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    for directory in (data, run, data / "sandboxes", data / "state", data / "images"):
        directory.mkdir(mode=0o700)
    (data / "policy.toml").write_text("[peers]\nuids = [0]\n[uids]\nbase = 1000000\ncount = 65536\n")
    (data / "policy.toml").chmod(0o600)
    yield tmp_path
    subprocess.run(argv(tmp_path, "--remove-everything"), cwd=ROOT, check=True, timeout=60)


def argv(place: Path, *more: str) -> list[str]:
    docker = f"unix://{place}/none.sock"
    words = ("--data", place / "data", "--run", place / "run", "--docker-host", docker, "--node", "here", *more)
    return [sys.executable, "-m", "containers_app.worker", *map(str, words)]


@pytest.fixture
def worker(place):
    process = subprocess.Popen(argv(place), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert "serving" in line or "raw" in line, line
    yield process
    process.kill()
    process.wait()
    process.stderr.close()


def test_it_serves_says_who_it_is_and_ends_cleanly(place, worker):
    host = call_once(place / "run/web/worker.sock", ReadHost(), dict)
    assert host["node"] == "here"
    assert {engine["name"] for engine in host["engines"]} == {"raw", "docker"}
    assert (place / "run/worker.pid").read_text().split()[0] == str(worker.pid)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    assert not (place / "run/web/worker.sock").exists()


def test_a_second_worker_is_refused_in_a_sentence_and_the_first_serves_on(place, worker):
    second = subprocess.run(argv(place), cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert second.stderr == f"A worker already runs for {place}/run. deploy/down stops it.\n"
    assert call_once(place / "run/web/worker.sock", ReadHost(), dict)["node"] == "here"


def test_a_worker_that_was_killed_leaves_nothing_in_the_way_of_the_next(place, worker):
    worker.kill()
    worker.wait()
    again = subprocess.Popen(argv(place), cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                host = call_once(place / "run/web/worker.sock", ReadHost(), dict)
                break
            except WorkerUnavailable:
                assert again.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert host["node"] == "here"
    finally:
        again.terminate()
        again.wait(10)


def test_a_policy_that_others_can_write_stops_it_with_a_sentence(place):
    (place / "data/policy.toml").chmod(0o666)
    ended = subprocess.run(argv(place), cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert ended.returncode == 1
    assert "could be changed by others than root" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_tag_is_that_of_the_data_directory(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert instance_tag(tmp_path) == instance_tag(tmp_path / "link")
    assert len(instance_tag(tmp_path)) == 6
