"""The activity log survives restarts, cut lines and full disks, and stays bounded."""

import os

import pytest

from containers_app.worker.events import EventLog


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


@pytest.fixture
def open_log(path):
    logs = []

    def open_log(keep=10):
        logs.append(EventLog(path, "here", keep))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close()


def test_events_are_there_again_after_a_restart_and_the_numbers_go_on(open_log):
    first = open_log().record("c1", "web", "raw", "created", when=1.5)
    log = open_log()
    assert log.after(0, 10) == [first]
    assert log.record("c1", "web", "raw", "started").sequence == 2


def test_memory_and_file_are_bounded(open_log, path):
    log = open_log(keep=10)
    for number in range(100):
        log.record("c", f"n{number}", "raw", "created")
        assert len(path.read_bytes().splitlines()) <= 20
    assert [event.sequence for event in log.after(0, 1000)] == list(range(91, 101))
    assert [event.sequence for event in open_log(keep=10).after(0, 1000)] == list(range(91, 101))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_cut_short_is_left_out_and_the_next_one_is_whole(open_log, path):
    log = open_log()
    log.record("c", "a", "raw", "created")
    log.record("c", "b", "raw", "created")
    log.close()
    os.truncate(path, path.stat().st_size - 5)
    log = open_log()
    assert [event.name for event in log.after(0, 10)] == ["a"]
    log.record("c", "c", "raw", "created")
    assert [event.name for event in open_log().after(0, 10)] == ["a", "c"]


@pytest.mark.parametrize("content", [b"\x00\xff\n{}\n[]\n", b"", b"\n\n", b'{"sequence":"x"}'])
def test_a_file_of_nonsense_is_an_empty_log(open_log, path, content):
    path.write_bytes(content)
    log = open_log()
    assert log.after(0, 10) == []
    log.record("c", "a", "raw", "created")
    assert len(open_log().after(0, 10)) == 1


def test_a_disk_that_refuses_loses_nothing_on_screen_and_is_written_later(open_log, path, caplog):
    log = open_log()
    path.mkdir()  # nothing can be written at this path
    log.record("c", "a", "raw", "created")
    log.record("c", "b", "raw", "created")
    assert [event.name for event in log.after(0, 10)] == ["a", "b"]
    assert caplog.text.count("can't write") == 1
    path.rmdir()
    log.record("c", "c", "raw", "created")
    assert [event.name for event in open_log().after(0, 10)] == ["a", "b", "c"]


def test_the_newest_are_given_oldest_first(open_log):
    log = open_log()
    for number in range(5):
        log.record("c", f"n{number}", "raw", "created")
    assert [event.sequence for event in log.after(1, 2)] == [4, 5]
    assert log.after(5, 10) == []
    assert log.after(0, 0) == []
    assert log.last_actions()["c"].sequence == 5


def test_nobodys_traffic_pushes_out_what_happened_to_others(open_log):
    log = open_log(keep=20)
    quiet = [log.record("q", "quiet", "raw", "oom", owner="olga"), log.record("d", "outside", "docker", "exited")]
    for number in range(100):
        log.record(f"n{number}", "noisy", "raw", "created", owner="otto")
    for log_ in (log, open_log(keep=20)):
        kept = log_.after(0, 100)
        assert kept[:2] == quiet and len(kept) == 20
        assert [event.sequence for event in kept[2:]] == list(range(85, 103))


def test_one_container_and_one_owner_are_chosen_before_the_limit_counts(open_log):
    log = open_log(keep=100)
    log.record("a", "a", "raw", "created", owner="olga")
    log.record("b", "b", "raw", "created", owner="olga")
    for _ in range(50):
        log.record("c", "c", "raw", "started", owner="otto")
    assert [event.sequence for event in log.after(0, 1, container="a")] == [1]
    assert [event.sequence for event in log.after(0, 1, owner="olga")] == [2]
    assert [event.sequence for event in log.after(1, 10, owner="olga")] == [2]
    assert log.after(0, 10, container="a", owner="otto") == []


def test_what_is_replaced_is_gone_also_after_a_restart(open_log):
    log = open_log()
    first = log.record("c", "a", "raw", "limits", "pids 1 → 2")
    log.record("d", "b", "raw", "created")
    log.record("c", "a", "raw", "limits", "pids 1 → 9", replaces=first.sequence)
    for log_ in (log, open_log()):
        assert [event.sequence for event in log_.after(0, 10)] == [2, 3]
