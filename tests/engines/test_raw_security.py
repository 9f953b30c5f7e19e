"""A filter and covered paths of the user's own: they take away, and give nothing back."""

from __future__ import annotations

from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines.policy import Allow, Policy
from containers_app.engines.policy_checks import check_spec
from containers_app.engines.raw import RawEngine
from containers_app.kernel.security import capability_mask

from .conftest import Home, in_use, spec, until

NO_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95, "args": None, "comment": "none"}],
}


async def test_a_profile_forbids_more_and_opens_nothing_that_the_default_refuses(raw: RawEngine) -> None:
    box = await raw.create(spec(security={"seccomp_profile": NO_MKDIR}), "")
    told = await raw.execute(box.id, ("sh", "-c", "mkdir /x; unshare -U true; touch /y && echo fine"), 10)
    assert "mkdir: can't create directory '/x': Operation not supported" in told.stderr
    assert "Operation not permitted" in told.stderr and told.stdout == "fine\n"
    assert raw.security(box.id)["asked"]["seccomp_profile"] is True
    assert any("by the profile" in line for line in raw.commands(box.id))


async def test_a_rule_looks_at_arguments(raw: RawEngine) -> None:
    argument = {"index": 1, "value": 9, "valueTwo": 0, "op": "SCMP_CMP_EQ"}
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [argument]}],
    }
    box = await raw.create(spec(security={"seccomp_profile": profile}), "")
    told = await raw.execute(box.id, ("sh", "-c", "sleep 100 & kill -9 $! || kill -15 $! && echo fine"), 10)
    assert told.stdout == "fine\n" and "not permitted" in told.stderr


async def test_a_list_of_what_is_allowed_that_lacks_what_the_program_needs_ends_it(raw: RawEngine) -> None:
    profile = {"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_ALLOW"}]}
    box = await raw.create(spec(start=False, security={"seccomp_profile": profile}), "")
    await raw.start(box.id)
    await until(lambda: raw.get(box.id).state == "exited")
    assert raw.get(box.id).exit_code == 128 + 31, "SIGSYS"


@pytest.mark.parametrize(
    "change",
    [
        {"defaultAction": "SCMP_ACT_TRACE"},
        {"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]},
        {"syscalls": [{"names": ["MKDIR; x"], "action": "SCMP_ACT_ERRNO"}]},
        {"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000}]},
        {"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]},
        {
            "syscalls": [
                {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]}
            ]
        },
        {"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 0, "op": "=="}]}]},
        {"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]},
        {"syscalls": [{"names": ["a" * 60] * 2000, "action": "SCMP_ACT_ALLOW"}]},
        {"surprise": 1},
    ],
)
def test_what_is_no_profile_is_refused_in_words(change: dict[str, object]) -> None:
    with pytest.raises(errors.InvalidInput) as refused:
        spec(security={"seccomp_profile": NO_MKDIR | change})
    assert refused.value.hint


async def test_a_call_that_is_not_known_can_be_allowed_but_not_forbidden(raw: RawEngine) -> None:
    for action, refused in (("SCMP_ACT_ALLOW", False), ("SCMP_ACT_ERRNO", True)):
        profile = {"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["warp_drive"], "action": action}]}
        asked = spec(security={"seccomp_profile": profile})
        if refused:
            with pytest.raises(errors.InvalidInput, match="warp_drive"):
                raw.preview(asked)
        else:
            assert raw.preview(asked)


def test_a_profile_instead_of_the_default_needs_the_policys_leave() -> None:
    check_spec(Policy(), spec(security={"seccomp_profile": NO_MKDIR}))
    with pytest.raises(errors.PolicyRefused, match="seccomp"):
        check_spec(Policy(), spec(security={"seccomp": "off", "seccomp_profile": NO_MKDIR}))
    with pytest.raises(errors.InvalidInput, match="no_new_privs"):
        spec(security={"seccomp_profile": NO_MKDIR, "no_new_privs": False})


async def test_paths_are_masked_and_made_read_only_beside_the_usual_ones(raw: RawEngine) -> None:
    wanted = {"masked_paths": ["/etc/group", "/root", "/nowhere"], "read_only_paths": ["/bin", "/etc/hosts", "/proc/sysvipc"]}
    box = await raw.create(spec(security=wanted), "")
    script = (
        "cat /etc/group /proc/keys; ls -A /root; touch /bin/x; echo x >> /etc/hosts; echo x > /proc/sys/kernel/hostname; true"
    )
    told = await raw.execute(box.id, ("sh", "-c", script), 10)
    assert told.stdout == "" and told.stderr.count("Read-only file system") == 3, told
    asked = raw.security(box.id)["asked"]
    assert {"/etc/group", "/proc/kcore"} <= set(asked["masked_paths"]) and {"/bin", "/proc/sys"} <= set(asked["read_only_paths"])


@pytest.mark.parametrize("path", ["/", "//", "relative", "/a/../b", "/a\x00b", "/" + "x" * 5000])
@pytest.mark.parametrize("field", ["masked_paths", "read_only_paths"])
def test_paths_that_can_not_be_covered_are_refused(field: str, path: str) -> None:
    with pytest.raises(errors.InvalidInput):
        spec(security={field: [path]})


@pytest.mark.parametrize("names", [["CAP_CHOWN", "CAP_SETUID"], []], ids=["two", "none"])
async def test_a_program_has_just_the_capabilities_that_were_asked_for(raw: RawEngine, names: list[str]) -> None:
    """By the kernel's word: of the first process, seen from the host and from inside, and of one that is started later."""
    box = await raw.create(spec(command=["sleep", "1000"], security={"capabilities": names}), "")
    statuses = [Path(f"/proc/{box.pid}/status").read_text()]
    statuses += [(await raw.execute(box.id, ("cat", f"/proc/{who}/status"), 10)).stdout for who in ("1", "self")]
    for text in statuses:
        rows = {line.split()[0].rstrip(":"): int(line.split()[1], 16) for line in text.splitlines() if line.startswith("Cap")}
        mask = capability_mask(tuple(names))
        assert rows == {"CapInh": 0, "CapPrm": mask, "CapEff": mask, "CapBnd": mask, "CapAmb": 0}
    tried = await raw.execute(box.id, ("sh", "-c", "touch /tmp/x; chown 7 /tmp/x; chroot / true; stat -c %u /tmp/x"), 10)
    assert tried.stdout == ("7\n" if names else "0\n") and tried.stderr.count("not permitted") == (1 if names else 2), tried
    assert raw.security(box.id)["asked"]["capabilities"] == names


async def test_a_bind_is_read_only_where_that_was_asked_for_and_else_writable(home: Home, tmp_path: Path) -> None:
    for name in ("kept", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
        (tmp_path / name / "file").write_text(name)
        (tmp_path / name / "file").chmod(0o666)
    async with in_use(home.engine(Allow(bind_paths=(str(tmp_path),))), home) as engine:
        mounts = [
            {"source": f"{tmp_path}/{name}", "target": f"/{name}", "read_only": name == "kept"} for name in ("kept", "open")
        ]
        box = await engine.create(spec(mounts=mounts), "")
        script = "cat /kept/file /open/file; for d in /kept /open; do echo new > $d/file; touch $d/more; rm $d/more; done"
        told = await engine.execute(box.id, ("sh", "-c", script), 10)
        assert told.stdout == "keptopen" and told.stderr.count("Read-only file system") == 2, told
        remount = await engine.execute(box.id, ("mount", "-o", "remount,bind,rw", "/kept"), 10)
        assert remount.exit_code != 0
    assert [(tmp_path / name / "file").read_text() for name in ("kept", "open")] == ["kept", "new\n"]


async def test_a_read_only_root_has_the_mounts_that_were_asked_for_where_the_image_has_no_such_directory(raw: RawEngine) -> None:
    mounts = [{"type": "tmpfs", "target": "/scratch/deep"}]
    box = await raw.create(spec(mounts=mounts, security={"read_only_root": True}), "")
    told = await raw.execute(box.id, ("sh", "-c", "touch /scratch/deep/x && echo there; touch /scratch/x; touch /x"), 10)
    assert told.stdout == "there\n" and told.stderr.count("Read-only file system") == 2
    assert any("remount,bind,ro" in line for line in raw.commands(box.id))


async def test_as_many_directories_as_may_be_asked_for_are_bound(home: Home, tmp_path: Path) -> None:
    """64 of them: far more than a launch has other descriptors."""
    tmp_path.chmod(0o755)
    mounts = [{"type": "bind", "source": str(tmp_path), "target": f"/many/{number}"} for number in range(64)]
    async with in_use(home.engine(Allow(bind_paths=(str(tmp_path),))), home) as engine:
        box = await engine.create(spec(mounts=mounts), "")
        (tmp_path / "here").write_text("")
        found = await engine.execute(box.id, ("sh", "-c", "ls -d /many/*/here | wc -l"), 10)
        assert found.stdout.strip() == "64"
