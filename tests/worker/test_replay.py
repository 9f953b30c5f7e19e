"""What a late viewer is sent: bounded, cut where output can begin, without questions to the terminal."""

import random

import pytest

from containers_app.worker.replay import LIMIT, Replay, safe_cut


def replayed(*pieces: bytes, limit: int = LIMIT) -> bytes:
    replay = Replay(limit)
    for piece in pieces:
        replay.append(piece)
        assert len(replay) <= limit
    return replay.content()


def test_little_output_comes_back_as_it_was():
    assert replayed(b"a\r\n", b"\x1b[31mred\x1b[0m") == b"a\r\n\x1b[31mred\x1b[0m"


def test_much_output_is_cut_at_a_lines_end():
    content = replayed(b"".join(b"line %d\n" % number for number in range(1000)), limit=1000)
    assert content.startswith(b"line ")
    assert content.endswith(b"line 999\n")
    assert 600 < len(content) <= 1000


def test_a_character_is_never_cut_in_two():
    random.seed(1)
    for _ in range(50):
        replay = Replay(100)
        for _ in range(30):
            replay.append("é漢😀"[random.randrange(3)].encode() * random.randrange(1, 9))
        replay.content().decode()


def test_a_cut_inside_of_a_long_line_is_at_an_escape_sequence_where_there_is_one():
    assert safe_cut(b"aaaa\x1b[31mbbb", 2) == 4
    assert safe_cut(b"aaaa", 2) == 2


def test_the_alternate_screen_and_other_modes_survive_the_cut():
    content = replayed(b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?2004l", b"x" * 200 + b"\n", b"y" * 50, limit=100)
    assert content.startswith(b"\x1b[?1049h\x1b[?25l\x1b[?2004l")


def test_leaving_the_alternate_screen_is_not_replayed_when_entering_it_is_not():
    assert replayed(b"\x1b[?1049h\x1b[?1049l", b"x" * 200 + b"\n", b"y" * 50, limit=100) == b"y" * 50


@pytest.mark.parametrize(
    "query",
    [
        b"\x1b[6n", b"\x1b[c", b"\x1b[0c", b"\x1b[>c", b"\x1b[>0q", b"\x1b[5n", b"\x1b[?6n", b"\x1b]11;?\x07", b"\x1b]10;?\x1b\\",
        b"\x1b[?2026$p", b"\x1bP+q544e\x1b\\", b"\x1b[18t", b"\x1b[21t",
    ],
)  # fmt: skip
def test_questions_to_the_terminal_are_not_asked_again(query):
    assert replayed(b"a" + query + b"b") == b"ab"


def test_colours_moves_and_titles_are_kept():
    text = b"\x1b[1;31mx\x1b[0m\x1b[2J\x1b[3;4H\x1b]0;title\x07\x1b[K\x1b[22;0;0t"
    assert replayed(text) == text
