"""What `sandbox run` makes of its words: the body that the API would get."""

from argparse import ArgumentParser

import pytest
from django.core.management import CommandError

from containers_app.errors import InvalidInput
from containers_app.management.following import since
from containers_app.management.run_options import add_run_options, body, mount, port, restart
from containers_app.management.service_command import limit_changes
from containers_app.spec import IdMap, Mount, Port, Restart, Rlimit, parse_container


def spec(*words):
    parser = ArgumentParser()
    add_run_options(parser)
    return parse_container(body(vars(parser.parse_args(words))))


def test_a_name_alone_is_the_specs_own_defaults():
    assert spec("web-1") == parse_container({"name": "web-1"})


def test_every_option_lands_in_its_field():
    made = spec(
        "--image", "tools", "--limit", "memory=64M", "--namespace", "time=private", "--env", "A=b=c", "--label", "tier=front",
        "--publish", "8080:80", "--dns", "10.0.0.1", "--add-host", "db=10.0.0.2", "--mount", "type=tmpfs,target=/x,size=4M",
        "--rlimit", "nofile=10:20", "--id-map", "0:100000:65536", "--time-offset", "monotonic=60", "--capability", "net_raw",
        "--mask", "/etc/secret", "--read-only-path", "/srv", "--cwd", "/tmp", "--user", "5:6", "--hostname", "inside",
        "--stop-signal", "INT", "--network", "lab", "--group", "team", "--init", "--restart", "on-failure:5",
        "--stop-timeout", "2.5", "--oom-score-adj", "7", "--seccomp", "default", "--read-only", "--no-keep-limits", "--no-start",
        "web-1", "sh", "-c", "true",
    )  # fmt: skip
    assert (made.image, made.limits, made.env, made.labels) == ("tools", {"memory": 64 << 20}, {"A": "b=c"}, {"tier": "front"})
    assert (made.ports, made.dns, made.extra_hosts) == ((Port(80, 8080),), ("10.0.0.1",), {"db": "10.0.0.2"})
    assert (made.mounts, made.rlimits) == ((Mount("/x", "tmpfs", size=4 << 20),), {"nofile": Rlimit(10, 20)})
    assert (made.id_map, made.time_offsets) == ((IdMap(0, 100000, 65536),), {"monotonic": 60})
    assert (made.security.capabilities, made.security.masked_paths) == (("CAP_NET_RAW",), ("/etc/secret",))
    assert made.security.read_only_paths == ("/srv",) and made.security.read_only_root and made.security.no_new_privs
    assert (made.cwd, made.user, made.hostname, made.stop_signal) == ("/tmp", "5:6", "inside", "INT")
    assert (made.network, made.group, made.init, made.restart) == ("lab", "team", True, Restart("on-failure", 5))
    assert (made.stop_timeout, made.oom_score_adj, made.start, made.command) == (2.5, 7, False, ("sh", "-c", "true"))
    assert not made.keep_limits


def test_no_capability_is_none_at_all():
    assert spec("--capability", "none", "web-1").security.capabilities == ()


def test_a_seccomp_profile_is_json():
    profile = spec("--seccomp", '{"defaultAction": "SCMP_ACT_ALLOW"}', "web-1").security.seccomp_profile
    assert profile is not None and profile.default_action == "SCMP_ACT_ALLOW"
    with pytest.raises(CommandError, match="no JSON"):
        spec("--seccomp", "{", "web-1")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("80", Port(80)),
        ("8080:80/udp", Port(80, 8080, "", "udp")),
        ("127.0.0.1:8080:80", Port(80, 8080, "127.0.0.1")),
        ("127.0.0.1::80", Port(80, 0, "127.0.0.1")),
        ("[fd00::1]:8080:80", Port(80, 8080, "fd00::1")),
    ],
)
def test_ports_are_written_as_docker_writes_them(text, wanted):
    assert Port(**port(text)) == wanted


def test_a_mount_is_words_with_commas_between():
    assert mount("type=bind,source=/srv,target=/data,read_only") == {
        "type": "bind", "source": "/srv", "target": "/data", "read_only": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "hint"),
    [("type=bind,source=/srv,target=/data,size=4M", "Leave size out"), ("type=tmpfs,source=/srv,target=/x", "Leave source out")],
)
def test_a_word_that_its_type_of_mount_has_not_is_refused(words, hint):
    with pytest.raises(InvalidInput) as refused:
        spec("--mount", words, "web-1")
    assert hint in refused.value.hint


def test_limits_of_one_disk_have_a_dot():
    changes = limit_changes(["memory=64M", "pids=", "io_read_bytes.vda=4M", "io_read_bytes.vdb="])
    assert changes == {"memory": 64 << 20, "pids": None, "io_read_bytes": {"vda": 4 << 20, "vdb": None}}


def test_since_is_a_time_ago_or_a_date():
    assert since("") == 0
    assert since("1970-01-01T00:01:00+00:00") == 60
    assert since("2h") - since("3h") == pytest.approx(3600, abs=60)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: port("eighty"),
        lambda: port(""),
        lambda: restart("on-failure:often"),
        lambda: since("soon"),
        lambda: limit_changes(["memory"]),
        lambda: limit_changes(["io_read_bytes=1M", "io_read_bytes.vda=1M"]),
        lambda: spec("--id-map", "0:1", "x"),
        lambda: spec("--rlimit", "nofile=many", "x"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(wrong):
    with pytest.raises(CommandError, match=r"\.$"):
        wrong()
