"""What the commands print: nothing that a sandbox has chosen steers the terminal in front of it."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from containers_app.errors import NotFound
from containers_app.management import job_waiting, sandbox_tables
from containers_app.management.commands.sandbox import Command
from containers_app.visitors import Visitor
from containers_app.worker.protocol import Job

HOSTILE = "\x1b]0;owned\x07\x9b31m\u202eevil\r\n\x7f\udc80"
SHOWN = r"\x1b]0;owned\x07\x9b31m\u202eevil\r\n\x7f\udc80"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def printed(command=Command, screen=None):
    screen = screen or io.StringIO()
    return command(stdout=screen, stderr=screen, no_color=True), screen


def is_harmless(text):
    return all(one.isprintable() or one == "\n" for one in text)


def process(**more):
    usual = {"pid": 7, "ns_pid": 1, "ppid": 1, "uid": 0, "state": "S", "cpu_seconds": 0.5, "rss": 4096, "threads": 1}
    return usual | {"name": "sh", "argv": ["sh", "-l"]} | more


def test_a_table_shows_what_a_process_calls_itself_as_escapes_and_keeps_its_columns():
    command, screen = printed()
    command.print_table(*sandbox_tables.processes([process(argv=[HOSTILE]), process(argv=[], name=HOSTILE), process()]))
    head, first, second, third = screen.getvalue().splitlines()
    assert is_harmless(screen.getvalue())
    assert [line[head.index("COMMAND") :] for line in (first, second, third)] == [SHOWN, f"[{SHOWN}]", "sh -l"]


def test_a_mount_point_is_shown_so_too_and_plain_letters_of_any_language_stay():
    command, screen = printed()
    mount = {"target": f"/{HOSTILE}", "type": "tmpfs", "source": "größe 水", "propagation": "private", "options": ["rw"]}
    command.print_table(*sandbox_tables.mounts([mount]))
    assert is_harmless(screen.getvalue()) and f"/{SHOWN}" in screen.getvalue() and "größe 水" in screen.getvalue()


def test_json_says_the_same_in_its_own_escapes():
    command, screen = printed()
    value = {"items": [process(argv=[HOSTILE, "größe 水 \U000e0001"])]}
    command.print_json(value)
    assert is_harmless(screen.getvalue()) and "größe 水" in screen.getvalue()
    assert json.loads(screen.getvalue()) == value


@pytest.mark.parametrize("terminal", [True, False])
def test_commands_are_exact_in_a_file_and_harmless_on_a_terminal(terminal):
    command, screen = printed(screen=Terminal() if terminal else None)
    lines = [f"chroot /x sh -c '{HOSTILE.replace(chr(13), '')}'"]
    command._lines({"json": False}, lines)
    assert is_harmless(screen.getvalue()) == terminal
    if not terminal:
        assert screen.getvalue() == lines[0] + "\n"


def test_an_error_is_one_sentence_of_printable_text(monkeypatch):
    async def refused(*_):
        raise NotFound(f"There is no {HOSTILE}.", hint=HOSTILE)

    monkeypatch.setattr(Command, "_run", refused)
    with pytest.raises(CommandError) as error:
        call_command("sandbox", "list")
    assert str(error.value) == f"There is no {SHOWN}. {SHOWN}"


async def test_what_an_image_holds_does_not_reach_the_terminal_by_a_job_s_message():
    job = Job(
        id="0" * 12, node="here", kind="import", target="x", owner="", state="failed", phase="", upload=False, started_at=0.0,
        message=f"{HOSTILE} is no file.",
    )  # fmt: skip
    with pytest.raises(CommandError) as error:
        await job_waiting.finish(Visitor(1, "staff", is_staff=True), job, print)
    assert str(error.value) == f"{SHOWN} is no file."
