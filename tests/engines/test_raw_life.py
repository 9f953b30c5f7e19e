"""Init, signals, resource limits, the killer's score, labels and names."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines import raw_init
from containers_app.engines.policy import Allow
from containers_app.engines.raw import RawEngine
from containers_app.spec import Changes, parse_changes

from .conftest import Home, spec, until


async def say(raw: RawEngine, box: str, script: str) -> str:
    result = await raw.execute(box, ("sh", "-c", script), 10)
    assert result.exit_code == 0, result
    return result.stdout.strip()


async def logged(raw: RawEngine, box: str, text: str) -> None:
    log = Path(f"/proc/{raw.get(box).pid}/fd/1").resolve()
    await until(lambda: text in log.read_text())


# ── init ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_init_is_the_first_process_and_reaps_orphans(raw: RawEngine) -> None:
    box = await raw.create(spec(init=True, command=["sleep", "1000"]), "")
    assert Path(f"/proc/{box.pid}/cmdline").read_text().split("\0")[:4] == ["/dev/init", "--", "sleep", "1000"]
    await say(raw, box.id, "(sleep 0.05 & exec true); exit 0")
    await until(lambda: "Z" not in Path(f"/proc/{box.pid}/task/{box.pid}/children").read_text())
    listed = await say(raw, box.id, "sleep 0.1; ps -o pid,stat,args")
    assert "Z" not in listed.replace("PID", "") and "sleep 1000" in listed


async def test_an_init_needs_nothing_of_the_image_and_cannot_be_written(raw: RawEngine) -> None:
    box = await raw.create(spec(init=True, security={"read_only_root": True}, command=["sleep", "1000"]), "")
    refused = await raw.execute(box.id, ("sh", "-c", "echo x > /dev/init"), 10)
    assert refused.exit_code != 0 and "Read-only" in refused.stderr


async def test_an_init_hands_the_stop_signal_on_and_the_end_is_told_in_words(raw: RawEngine) -> None:
    box = await raw.create(spec(init=True, command=["sleep", "1000"]), "")
    await raw.stop(box.id, None)
    assert (raw.get(box.id).exit_code, raw.get(box.id).reason) == (143, "stopped with SIGTERM")


@pytest.mark.parametrize("kind", ["pid", "mnt"])
async def test_an_init_without_a_namespace_of_its_own_is_refused_by_name(raw: RawEngine, kind: str) -> None:
    await raw.create(spec("one"), "")
    with pytest.raises(errors.Unsupported) as refused:
        await raw.create(spec("two", init=True, namespaces={kind: "container:one", "net": "none"}), "")
    assert kind in refused.value.hint


async def test_without_an_init_on_this_host_one_is_refused_with_a_hint(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_init, "_SYSTEM", ("/nowhere/tini",))
    engine = home.engine()
    await engine.open(home.changes.append)
    with pytest.raises(errors.Unsupported) as refused:
        await engine.create(spec(init=True), "")
    assert "catatonit" in refused.value.hint and engine.all() == []
    await engine.close()


# ── signals ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_stop_sends_the_signal_of_the_spec(raw: RawEngine) -> None:
    script = "trap 'echo usr1; exit 5' USR1; trap 'echo term' TERM; echo ready; while :; do sleep 0.05; done"
    box = await raw.create(spec(command=["sh", "-c", script], stop_signal="SIGUSR1"), "")
    await logged(raw, box.id, "ready")
    await raw.stop(box.id, None)
    assert (raw.get(box.id).exit_code, raw.get(box.id).reason) == (5, "stopped")


async def test_stop_waits_as_long_as_the_spec_says_and_no_longer(raw: RawEngine) -> None:
    script = "trap 'echo no' TERM; echo ready; while :; do sleep 0.05; done"
    box = await raw.create(spec(command=["sh", "-c", script], stop_timeout=0.3), "")
    await logged(raw, box.id, "ready")
    await raw.stop(box.id, None)
    assert raw.get(box.id).reason == "stopped with SIGKILL"


async def test_kill_sends_any_signal(raw: RawEngine) -> None:
    script = "trap 'echo got-usr2' USR2; echo ready; while :; do sleep 0.05; done"
    box = await raw.create(spec(command=["sh", "-c", script]), "")
    await logged(raw, box.id, "ready")
    await raw.kill(box.id, 12)
    await logged(raw, box.id, "got-usr2")
    assert raw.get(box.id).state == "running"


# ── resource limits ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_rlimits_hold_for_the_program_and_for_what_is_run_later(raw: RawEngine) -> None:
    wanted = {"nofile": {"soft": 64, "hard": 128}, "core": {"soft": 0, "hard": 0}, "fsize": {"soft": 4096, "hard": -1}}
    box = await raw.create(spec(rlimits=wanted), "")
    assert resource.prlimit(box.pid, resource.RLIMIT_NOFILE) == (64, 128)
    assert resource.prlimit(box.pid, resource.RLIMIT_CORE) == (0, 0)
    assert resource.prlimit(box.pid, resource.RLIMIT_FSIZE) == (4096, resource.RLIM_INFINITY)
    assert await say(raw, box.id, "ulimit -n; ulimit -Hn") == "64\n128"
    assert "prlimit --pid $PID --core=0:0 --fsize=4096:unlimited --nofile=64:128" in raw.commands(box.id)
    assert raw.security(box.id)["kernel"]["rlimits"]["nofile"] == [64, 128]


async def test_without_rlimits_they_are_the_keepers(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    assert resource.prlimit(box.pid, resource.RLIMIT_NOFILE) == resource.getrlimit(resource.RLIMIT_NOFILE)


async def test_a_hard_limit_above_the_keepers_is_raised_or_refused_in_words(raw: RawEngine) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1] + 1
    if _may_raise():
        box = await raw.create(spec(rlimits={"nofile": {"soft": 64, "hard": hard}}), "")
        assert resource.prlimit(box.pid, resource.RLIMIT_NOFILE) == (64, hard)
        return
    with pytest.raises(errors.KernelRefused) as refused:
        await raw.create(spec(rlimits={"nofile": {"soft": 64, "hard": hard}}), "")
    assert (
        "CAP_SYS_RESOURCE" in refused.value.message
        and "nofile" in refused.value.message
        and str(hard - 1) in refused.value.message
    )
    assert raw.all() == []


def _may_raise() -> bool:
    rows = Path("/proc/self/status").read_text().splitlines()
    return bool(int(next(row for row in rows if row.startswith("CapEff")).split()[1], 16) >> 24 & 1)


# ── the out-of-memory killer's score ─────────────────────────────────────────────────────────────────────────────────


async def test_the_oom_score_holds_for_the_program_and_for_what_is_run_later(raw: RawEngine) -> None:
    box = await raw.create(spec(oom_score_adj=300), "")
    assert Path(f"/proc/{box.pid}/oom_score_adj").read_text() == "300\n"
    assert await say(raw, box.id, "cat /proc/self/oom_score_adj") == "300"
    assert raw.security(box.id)["kernel"]["oom_score_adj"] == 300


async def test_a_score_below_zero_is_the_policys_to_allow(raw: RawEngine, home: Home) -> None:
    with pytest.raises(errors.PolicyRefused) as refused:
        await raw.create(spec(oom_score_adj=-1), "")
    assert "oom_score_below_zero" in refused.value.hint
    engine = home.engine(Allow(oom_score_below_zero=True))
    await engine.open(home.changes.append)
    try:
        if _may_raise():
            box = await engine.create(spec(oom_score_adj=-500), "")
            assert Path(f"/proc/{box.pid}/oom_score_adj").read_text() == "-500\n"
            await engine.remove(box.id, force=True)
        else:
            with pytest.raises(errors.KernelRefused) as held:
                await engine.create(spec(oom_score_adj=-500), "")
            assert "CAP_SYS_RESOURCE" in held.value.message
    finally:
        await engine.close()


# ── names, labels ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_running_sandbox_is_renamed_and_its_host_name_stays(raw: RawEngine, home: Home) -> None:
    box = await raw.create(spec(labels={"team": "blue"}), "")
    await raw.update(box.id, Changes(name="crate", labels={"team": "red"}))
    after = raw.get("crate")
    assert (after.id, after.hostname, after.labels, after.state) == (box.id, "box", {"team": "red"}, "running")
    await raw.restart(box.id, 1)
    assert await say(raw, box.id, "hostname") == "box"
    with pytest.raises(errors.NotFound):
        raw.get("box")
    await raw.create(spec("box", start=False), "")  # the name is free again
    with pytest.raises(errors.Conflict) as taken:
        await raw.update("box", Changes(name="crate"))
    assert taken.value.code == "name_taken"


async def test_a_sandboxs_limits_always_come_back(raw: RawEngine) -> None:
    box = await raw.create(spec(limits={"pids": 40}), "")
    with pytest.raises(errors.Unsupported):
        await raw.update(box.id, Changes(name="crate", keep_limits=False))
    await raw.update(box.id, Changes(keep_limits=True))
    assert (raw.get(box.id).name, raw.get(box.id).keep_limits) == ("box", True)


HOSTILE = (
    {}, [], {"nme": "x"}, {"name": ""}, {"name": "a b"}, {"restart": "sometimes"}, {"labels": {"": "x"}}, {"name": 3},
    {"restart": {"policy": "always", "retries": 3}}, {"keep_limits": "yes"}, {"keep_limits": 1},
)  # fmt: skip


@pytest.mark.parametrize("raw_changes", HOSTILE)
def test_hostile_changes_are_refused_at_the_border(raw_changes: object) -> None:
    with pytest.raises(errors.InvalidInput):
        parse_changes(raw_changes)


# ── two processes to start ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "fields", [{"namespaces": {"uts": "container:one"}}, {"time_offsets": {"boottime": 86400}}, {"init": True}]
)
async def test_what_needs_a_helper_is_refused_with_one_process_and_runs_with_two(
    raw: RawEngine, fields: dict[str, object]
) -> None:
    await raw.create(spec("one", command=["sleep", "1000"]), "")
    with pytest.raises(errors.InvalidInput) as refused:
        await raw.create(spec("two", limits={"pids": 1}, command=["sleep", "1000"], **fields), "")
    assert "pids to 2" in refused.value.hint
    two = await raw.create(spec("two", limits={"pids": 2}, command=["sleep", "1000"], **fields), "")
    assert two.state == "running"
    three = await raw.create(spec("three", limits={"pids": 1}, command=["sleep", "1000"]), "")
    assert three.state == "running" and os.path.exists(f"/proc/{three.pid}")
    with pytest.raises(errors.InvalidInput) as refused:
        await raw.update_limits(two.id, {"pids": 1})
    assert "pids to 2" in refused.value.hint
    assert raw.read_limits(two.id)["pids"].kernel == 2
