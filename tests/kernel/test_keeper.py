"""The keeper's door: root only, and no message makes it fall over."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers_app.kernel import binds, keeper, plan, rootfs
from tests.engines.conftest import wait_until

PROGRAM = Path(keeper.__file__)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    command = [sys.executable, "-I", "-S", str(PROGRAM), "--run", str(tmp_path), "--data", str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    path = str(tmp_path / "keeper.sock")
    wait_until(lambda: os.path.exists(path))
    ask(path, b'{"seq": 1, "do": "list"}')  # it serves
    yield process, path
    process.terminate()
    assert process.wait(30) == 0


def connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(30)
    connection.connect(path)
    return connection


def ask(path: str, message: bytes) -> dict[str, object]:
    with connect(path) as connection:
        connection.send(message)
        answer = json.loads(connection.recv(1 << 20))
        assert isinstance(answer, dict)
        return answer


def test_it_lists_no_children_at_first(running: tuple[subprocess.Popen[bytes], str]) -> None:
    assert ask(running[1], b'{"seq": 7, "do": "list"}') == {"seq": 7, "children": []}


@pytest.mark.parametrize(
    "message",
    [b"{", b"[]", b"\xff\xfe", b'{"seq": 1}', b'{"seq": 1, "do": "reboot"}', b'{"seq": 1, "do": "launch"}',
     b'{"seq": 1, "do": "launch", "plan": {"id": "x"}}', b'{"seq": "x", "do": "list"}'],
)  # fmt: skip
def test_what_is_no_request_is_answered_and_changes_nothing(running: tuple[subprocess.Popen[bytes], str], message: bytes) -> None:
    assert "error" in ask(running[1], message)
    assert ask(running[1], b'{"seq": 2, "do": "list"}')["children"] == []


def send_held_launch(connection: socket.socket, source: str) -> None:
    launch = plan.Plan(
        id="held",
        run="1",
        kind="sandbox",
        namespaces=("mnt",),
        root=(binds.PrepareBind(source, True),),
        child=(rootfs.EnterRoot(),),
    )
    connection.send(json.dumps({"seq": 5, "do": "launch", "plan": plan.encode(launch)}).encode())


def children(keeper: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()]


def forked(keeper: int) -> list[int]:
    """All but the forker, which is the first."""
    return children(keeper)[1:]


def test_a_root_is_made_when_the_worker_says_go(running: tuple[subprocess.Popen[bytes], str]) -> None:
    with connect(running[1]) as worker:
        send_held_launch(worker, "/not/there")
        wait_until(lambda: forked(running[0].pid))
        assert ask(running[1], b'{"seq": 2, "do": "list"}')["children"] == []  # nobody is to enter it yet
        worker.send(b'{"seq": 6, "do": "go", "launch": 5}')
        answer = json.loads(worker.recv(1 << 20))
    assert answer["seq"] == 5 and answer["error"]["step"] == "PrepareBind"
    wait_until(lambda: not forked(running[0].pid))


def test_a_launch_that_nobody_is_left_to_let_go_ends(running: tuple[subprocess.Popen[bytes], str]) -> None:
    with connect(running[1]) as worker:
        send_held_launch(worker, "/")
        wait_until(lambda: forked(running[0].pid))
    wait_until(lambda: not forked(running[0].pid))


def test_a_forker_that_was_killed_is_replaced_at_the_next_launch(running: tuple[subprocess.Popen[bytes], str]) -> None:
    (forker,) = children(running[0].pid)
    os.kill(forker, signal.SIGKILL)
    wait_until(lambda: not children(running[0].pid))
    with connect(running[1]) as worker:
        send_held_launch(worker, "/not/there")
        wait_until(lambda: forked(running[0].pid))
        worker.send(b'{"seq": 6, "do": "go", "launch": 5}')
        assert json.loads(worker.recv(1 << 20))["error"]["step"] == "PrepareBind"


def test_a_launch_whose_forker_is_killed_is_answered_and_nothing_is_left(running: tuple[subprocess.Popen[bytes], str]) -> None:
    (forker,) = children(running[0].pid)
    os.kill(forker, signal.SIGSTOP)
    with connect(running[1]) as worker:
        send_held_launch(worker, "/")
        assert ask(running[1], b'{"seq": 2, "do": "list"}')["children"] == []
        os.kill(forker, signal.SIGKILL)
        answer = json.loads(worker.recv(1 << 20))
    assert answer["seq"] == 5 and "killed while it was being set up" in answer["error"]["text"]
    wait_until(lambda: not children(running[0].pid))


def test_the_forker_ends_with_its_keeper(running: tuple[subprocess.Popen[bytes], str]) -> None:
    (forker,) = children(running[0].pid)
    pidfd = os.pidfd_open(forker)
    running[0].terminate()
    running[0].wait(30)
    assert select.select([pidfd], [], [], 10)[0]
    os.close(pidfd)


def test_its_socket_is_roots_alone_and_other_users_are_turned_away(running: tuple[subprocess.Popen[bytes], str]) -> None:
    path = running[1]
    assert os.stat(path).st_mode & 0o777 == 0o600
    os.chmod(path, 0o666)
    os.chmod(os.path.dirname(path), 0o711)
    code = (
        "import os,socket,sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "s=socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "s.connect('keeper.sock'); s.settimeout(30)\n"
        's.send(b\'{"seq":1,"do":"list"}\')\n'
        "sys.exit(0 if s.recv(100) == b'' else 3)\n"
    )
    command = ["/usr/bin/python3", "-c", code]
    ran = subprocess.run(command, cwd=os.path.dirname(path), check=False, stderr=subprocess.PIPE)
    assert ran.returncode == 0 or b"BrokenPipe" in ran.stderr or b"ConnectionReset" in ran.stderr, ran.stderr


def test_it_is_small(running: tuple[subprocess.Popen[bytes], str]) -> None:
    text = Path(f"/proc/{running[0].pid}/smaps_rollup").read_text()
    kilobytes = int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1])
    assert kilobytes < 20 * 1024
    mapped = Path(f"/proc/{running[0].pid}/maps").read_text()
    assert "msgspec" not in mapped and "pyroute2" not in mapped
