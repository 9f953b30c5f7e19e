"""The border of a container's description: what people write is understood, everything else is a clear refusal."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from containers_app.errors import InvalidInput
from containers_app.spec import (
    DATA_DISK,
    LIMITS,
    ContainerSpec,
    change_to,
    merge_limits,
    parse_changes,
    parse_container,
    parse_limit,
    parse_limits,
    stored_decoder,
)
from containers_app.units import parse_share, parse_size

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("written", "size"),
    [(0, 0), (67108864, 67108864), ("64M", 64 << 20), ("64 MiB", 64 << 20), ("1.5G", 3 << 29), ("512k", 512 << 10), ("7", 7)],
)
def test_sizes_are_read_in_binary_units(written: object, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize(
    "written", [-1, True, None, "", "M", "64X", "٦٤M", "1e9", "inf", math.nan, math.inf, [], "6 4M", 1 << 70]
)
def test_what_is_no_size_is_refused_with_a_hint(written: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_size(written)
    assert refused.value.hint and refused.value.message


@given(st.integers(0, 1 << 40))
def test_a_size_in_kibibytes_is_1024_times_the_number(number: int) -> None:
    assert parse_size(f"{number}K") == number * 1024


def test_a_share_may_be_in_per_cent() -> None:
    assert parse_share("50%", 2.0) == 1.0
    assert parse_limit("cpu", "50%") == 0.5


@given(ANYTHING, st.sampled_from(sorted(LIMITS)))
def test_any_value_of_a_limit_is_either_a_number_in_range_or_refused(value: object, name: str) -> None:
    try:
        limit = parse_limit(name, value)
    except InvalidInput:
        return
    amounts = limit.values() if isinstance(limit, dict) else [limit]
    for amount in amounts:
        if amount is not None and not isinstance(amount, str):
            assert math.isfinite(amount) and amount >= LIMITS[name].minimum


@given(ANYTHING)
def test_any_body_is_either_a_spec_or_refused(body: object) -> None:
    try:
        parse_container(body)
    except InvalidInput as refused:
        assert refused.message.endswith((".", "”.")) or refused.hint


@pytest.mark.parametrize(
    "more",
    [
        {"nmae": 1}, {"namespaces": {"pdi": "host"}}, {"security": {"secomp": "off"}},
        {"mounts": [{"target": "/x", "readonly": True}]},
        {"rlimits": {"nofile": {"soft": 1, "hard": 1, "max": 1}}},
        {"security": {"seccomp_profile": {"defaultAction": "SCMP_ACT_ALLOW", "default": 1}}},
    ],
)  # fmt: skip
def test_a_field_that_nobody_knows_is_refused_by_its_name(more: dict[str, object]) -> None:
    """What is stored by another version passes (stored.py); what is asked for does not."""
    with pytest.raises(InvalidInput, match="unknown field"):
        parse_container({"name": "box", **more})
    assert stored_decoder(ContainerSpec)(msgspec.json.encode({"name": "box", **more})).name == "box"


def test_null_clears_and_unknown_names_are_refused_whole() -> None:
    assert parse_limits({"memory": None, "pids": "50"}) == {"memory": None, "pids": 50}
    with pytest.raises(InvalidInput, match="no limit called"):
        parse_limits({"memory": "64M", "memroy": "64M"})


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "../etc"},
        {"name": ""},
        {"name": "a" * 64},
        {"name": "ok", "engine": "LXC"},
        {"name": "ok", "image": "../../etc"},
        {"name": "ok", "command": "sleep 1"},
        {"name": "ok", "command": ["a\0b"]},
        {"name": "ok", "command": [""]},
        {"name": "ok", "env": {"A=B": "x"}},
        {"name": "ok", "cwd": "tmp"},
        {"name": "ok", "user": "root; reboot"},
        {"name": "ok", "user": "70000"},
        {"name": "ok", "hostname": "-bad"},
        {"name": "ok", "namespaces": {"net": "bride"}},
        {"name": "ok", "namespaces": {"net": "container:$(id)"}},
        {"name": "ok", "namespaces": {"disk": "private"}},
        {"name": "ok", "mounts": [{"source": "/etc", "target": "/a/../../b"}]},
        {"name": "ok", "mounts": [{"source": "/etc", "target": "/proc/sys"}]},
        {"name": "ok", "mounts": [{"type": "nfs", "target": "/a"}]},
        {"name": "ok", "security": {"capabilities": ["ALL"]}},
        {"name": "ok", "security": {"seccomp": "none"}},
        {"name": "ok", "surprise": 1},
    ],
)
def test_a_wrong_field_is_refused_with_code_message_and_hint(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_container(fields)
    assert refused.value.code.startswith("invalid") and refused.value.message


def test_the_shortest_description_has_safe_defaults() -> None:
    spec = parse_container({"name": "web-1"})
    assert dict(spec.namespaces.items()) == {
        "mnt": "private", "uts": "private", "ipc": "private", "pid": "private", "net": "bridge", "user": "private",
        "cgroup": "private", "time": "private",
    }  # fmt: skip
    assert spec.security.no_new_privs and spec.security.seccomp == "default" and spec.security.capabilities is None


@pytest.mark.parametrize(
    "fields",
    [
        {"time_offsets": {"realtime": 1}},
        {"time_offsets": {"boottime": 10**12}},
        {"time_offsets": {"boottime": "soon"}},
        {"time_offsets": {"boottime": 60}, "namespaces": {"time": "host"}},
    ],
)
def test_clocks_that_cannot_be_moved_are_refused_with_a_hint(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_container({"name": "web-1", **fields})
    assert refused.value.hint


@pytest.mark.parametrize(
    "fields",
    [
        {"rlimits": {"nofiles": {"soft": 1, "hard": 1}}},
        {"rlimits": {"nofile": {"soft": 2, "hard": 1}}},
        {"rlimits": {"nofile": {"soft": -1, "hard": 1}}},
        {"rlimits": {"nofile": {"soft": -2, "hard": -1}}},
        {"oom_score_adj": 1001},
        {"restart": "sometimes"},
        {"restart": {"policy": "always", "retries": 3}},
        {"stop_signal": "KILLED"},
        {"stop_signal": "٩"},
        {"stop_timeout": -1},
        {"ports": [{"container_port": 0}]},
        {"ports": [{"container_port": 80, "host_ip": "localhost"}]},
        {"ports": [{"container_port": 80, "protocol": "icmp"}]},
        {"ports": [{"container_port": 80, "host_port": 8080}, {"container_port": 81, "host_port": 8080}]},
        {"ports": [{"container_port": 80}], "namespaces": {"net": "none"}},
        {"dns": ["localhost"]},
        {"extra_hosts": {"a b": "10.0.0.1"}},
        {"labels": {"": "x"}},
        {"id_map": [{"inside": 0, "outside": 1000, "count": 0}]},
        {"id_map": [{"inside": 0, "outside": 1000, "count": 2}, {"inside": 1, "outside": 5000, "count": 1}]},
        {"health": {"test": []}},
        {"mounts": [{"target": "/a", "type": "tmpfs", "propagation": "free"}]},
    ],
)
def test_a_word_of_life_and_network_out_of_range_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        parse_container({"name": "web-1", **fields})


@pytest.mark.parametrize(
    ("engine", "mount", "ignored"),
    [
        ("raw", {"type": "bind", "source": "/srv", "target": "/data", "size": "1M"}, "size"),
        ("docker", {"type": "bind", "source": "/srv", "target": "/data", "size": "1M"}, "size"),
        ("docker", {"type": "volume", "source": "kept", "target": "/data", "size": "1M"}, "size"),
        ("raw", {"type": "tmpfs", "source": "/srv", "target": "/data"}, "source"),
        ("docker", {"type": "tmpfs", "source": "/srv", "target": "/data"}, "source"),
    ],
)
def test_what_a_type_of_mount_has_no_use_for_is_refused_by_name(engine: str, mount: dict[str, str], ignored: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_container({"name": "web-1", "engine": engine, "mounts": [mount]})
    assert refused.value.code == "invalid_mount" and "/data" in refused.value.message
    assert f"Leave {ignored} out" in refused.value.hint
    rest = {name: value for name, value in mount.items() if name != ignored}
    assert parse_container({"name": "web-1", "engine": engine, "mounts": [rest]}).mounts[0].target == "/data"


def test_a_restart_policy_may_be_written_as_a_word() -> None:
    assert parse_container({"name": "web-1", "restart": "always"}).restart.policy == "always"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("io_read_bytes", {"../../etc": 1}), ("io_read_bytes", {"vda": -1}), ("io_read_bytes", {"vda": True}),
        ("io_read_bytes", {"vda": {"vda": 1}}), ("io_read_bytes", {"vda": "1e9"}), ("io_read_bytes", {"vdа": 1}),
        ("io_read_bytes", []), ("io_read_bytes", {f"disk{n}": 1 for n in range(100)}), ("io_read_ops", {"vda": 1.5}),
        ("io_read_ops", {"vda": 0}), ("io_weight", {"vda": 100}), ("io_weight", 0), ("hugetlb", 1 << 21),
        ("hugetlb", {"2M": "٢M"}),
    ],
)  # fmt: skip
def test_what_is_no_limit_by_disk_or_page_size_is_refused_with_a_hint(name: str, value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_limit(name, value)
    assert refused.value.message


def test_a_bare_amount_is_meant_for_the_disk_of_the_data() -> None:
    assert parse_limit("io_write_bytes", "1M") == {DATA_DISK: 1 << 20}
    assert parse_limit("io_write_bytes", {"vda": "1M", "253:0": None}) == {"vda": 1 << 20, "253:0": None}


PARTS = st.dictionaries(st.sampled_from(["vda", "vdb", "sda"]), st.integers(1, 1 << 40), max_size=3)


@given(PARTS, PARTS)
def test_a_change_leads_from_any_limits_by_disk_to_any_others(now: dict[str, int], wanted: dict[str, int]) -> None:
    limits = merge_limits({}, {"io_read_ops": dict(now)})
    assert merge_limits(limits, {"io_read_ops": change_to(dict(wanted), dict(now))}).get("io_read_ops", {}) == wanted


def test_labels_have_a_bound_of_all_together() -> None:
    most = {f"{number}": "x" * 4095 for number in range(4)}
    assert parse_container({"name": "web-1", "labels": most}).labels == most
    for labels in (most | {"more": ""}, {f"{number}": "ä" * 2048 for number in range(4)}):
        with pytest.raises(InvalidInput) as refused:
            parse_container({"name": "web-1", "labels": labels})
        assert "16 KiB" in refused.value.hint
        with pytest.raises(InvalidInput):
            parse_changes({"labels": labels})
