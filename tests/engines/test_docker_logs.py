"""What a Docker container has written, whatever is in its lines."""

from __future__ import annotations

import asyncio
import struct

import pytest

from containers_app.engines.base import LogQuery
from containers_app.engines.docker import DockerEngine
from containers_app.engines.docker_logs import parse
from tests.engines.docker_engine import docker_spec

ONE, TWO, THREE = (f"2026-01-02T03:04:0{number}.000000000Z" for number in (1, 2, 3))


def frame(stream: int, text: str) -> bytes:
    return struct.pack(">BxxxL", stream, len(text.encode())) + text.encode()


def lines(answer: bytes, *, tty: bool = False) -> list[tuple[str, str]]:
    return [(line.stamp, line.text.decode()) for line in parse(answer, tty=tty)]


def test_only_a_line_feed_ends_a_line() -> None:
    text = "10%\r50%\rdone\x0b\x0c\x1c\x85\u2028!\n"
    assert lines(frame(1, f"{ONE} {text}")) == [(ONE, text)]
    assert lines(f"{ONE} {text}{TWO} more\r\n".encode(), tty=True) == [(ONE, text), (TWO, "more\r\n")]


def test_the_parts_of_a_long_line_are_one_line_and_streams_are_kept_apart() -> None:
    answer = frame(1, f"{ONE} aaa") + frame(2, f"{TWO} other\n") + frame(1, f"{TWO} bbb") + frame(1, f"{THREE} c\n")
    assert lines(answer) == [(ONE, "aaabbbc\n"), (TWO, "other\n")]
    assert [line.last for line in parse(answer, tty=False)] == [THREE, TWO]


def test_a_character_that_the_daemon_has_cut_in_two_is_whole() -> None:
    cut = "é".encode()
    answer = frame(1, f"{ONE} ")[:4] + struct.pack(">L", len(ONE) + 2) + f"{ONE} ".encode() + cut[:1]
    answer += frame(1, f"{TWO} ")[:4] + struct.pack(">L", len(TWO) + 3) + f"{TWO} ".encode() + cut[1:] + b"\n"
    assert lines(answer) == [(ONE, "é\n")]


def test_an_answer_that_was_cut_short_gives_what_there_is() -> None:
    assert lines(frame(1, f"{ONE} whole\n") + frame(1, f"{TWO} half")[:-2]) == [(ONE, "whole\n"), (TWO, "ha")]
    assert lines(frame(1, f"{ONE} whole\n")[:5]) == []


@pytest.mark.parametrize("tty", [False, True])
async def test_a_progress_bar_and_a_long_line_are_told_as_they_were_written(docker: DockerEngine, tty: bool) -> None:
    script = (
        r"printf '10%%\r50%%\rdone\n'; head -c 12000 /dev/zero | tr '\0' x; head -c 28000 /dev/zero | tr '\0' y; echo; echo end"
    )
    made = await docker.create(docker_spec("bar", command=["sh", "-c", script], start=False), "ann")
    if tty:  # the spec knows no such thing
        await docker.remove(made.id, force=True)
        sdk = docker._list.client._sdk
        made_anew = sdk.create_container("busybox", ["sh", "-c", script.replace("28000", "200")], name="bar", tty=True)
        await docker._list.look(made_anew["Id"])
    await docker.start("bar")
    async with asyncio.timeout(30):
        while "end" not in (told := await docker.logs("bar", LogQuery(100))).text:
            await asyncio.sleep(0.02)
    found = told.text.replace("\r\n", "\n").split("\n")
    assert found[0] == "10%\r50%\rdone" and found[-2:] == ["end", ""]
    assert found[1] == "x" * 12000 + "y" * (200 if tty else 28000) and len(found) == 4
    assert (await docker.logs("bar", LogQuery(after=told.next))).text == ""
