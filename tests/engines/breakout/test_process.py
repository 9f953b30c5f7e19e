"""What a program inherits: signals, capabilities, groups, keyring, parent-death signal, oom score and limits on privilege."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
from pathlib import Path

import pytest

from containers_app.engines.policy import Allow
from containers_app.engines.raw import RawEngine

from ..conftest import UID_BASE, Home, spec, until
from .conftest import WAYS, Compile, Inside, in_each_way, write_image

STATE = """
int main(void) {
    char line[512];
    FILE *file = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, file)) fputs(line, stdout);
    int number = -1;
    prctl(PR_GET_PDEATHSIG, &number);
    printf("Pdeath:\\t%d\\n", number);
    printf("Securebits:\\t%d\\n", prctl(PR_GET_SECUREBITS));
    printf("Dumpable:\\t%d\\n", prctl(PR_GET_DUMPABLE));
    printf("Umask:\\t%o\\n", umask(0));
    printf("Leader:\\t%d\\n", getsid(0) == getpid());
}
"""


async def test_signals_capabilities_groups_and_the_like_are_fresh_for_program_exec_and_terminal(
    home: Home, raw: RawEngine, compiled: Compile
) -> None:
    """CVE-2022-29162; Python ignores SIGPIPE and SIGXFSZ, and exec would hand that on."""
    image = write_image(home, "state", {"probe": compiled(STATE)})
    for way, text in (await in_each_way(raw, image, "/probe")).items():
        rows = {name: value.strip() for name, _, value in (line.partition(":\t") for line in text.splitlines())}
        empty = ("SigIgn", "SigBlk", "SigCgt", "SigPnd", "ShdPnd", "CapInh", "CapAmb")
        assert {name: int(rows[name], 16) for name in empty} == dict.fromkeys(empty, 0), way
        assert (rows["Groups"], rows["NoNewPrivs"], rows["Seccomp"], rows["Seccomp_filters"]) == ("", "1", "2", "1"), way
        assert (rows["Pdeath"], rows["Securebits"], rows["Umask"], rows["Leader"]) == ("0", "0", "22", "1"), way
        assert rows["CapEff"] == rows["CapPrm"] == rows["CapBnd"] == "00000000a80425fb", (way, "Docker's default set")
        assert rows["TracerPid"] == "0" and rows["Threads"] == "1"


KEYS = """
int main(void) {
    printf("session %ld\\n", syscall(SYS_keyctl, 0, -3, 0));
    printf("found %ld\\n", syscall(SYS_keyctl, 10, -3, "user", "terrarium-secret", 0));
    printf("requested %ld\\n", syscall(SYS_request_key, "user", "terrarium-secret", 0, 0));
}
"""


async def test_the_keepers_session_keyring_is_not_the_sandboxes(home: Home, compiled: Compile) -> None:
    """Even to a sandbox without the filter that refuses keyctl."""
    libc = ctypes.CDLL(None, use_errno=True)
    join, session = 1, -3
    home.kill_keeper()
    assert libc.syscall(250, join, None) > 0
    assert libc.syscall(248, b"user", b"terrarium-secret", b"x", 1, session) > 0
    home.start_keeper()
    program = compiled(KEYS)
    proof = (await asyncio.to_thread(subprocess.run, [program], capture_output=True, text=True, check=True)).stdout
    assert "found -1" not in proof, "the key is not there to be found: this test proves nothing"
    image = write_image(home, "keys", {"probe": program})
    engine = home.engine(Allow(seccomp_off=True))
    await engine.open(home.changes.append)
    try:
        boxes = [await engine.create(spec(name, image=image, security={"seccomp": "off"}), "") for name in ("one", "two")]
        told = [(await engine.execute(box.id, ("/probe",), 10)).stdout for box in boxes]
        assert all("found -1" in text and "requested -1" in text for text in told), told
        sessions = {line for text in (*told, proof) for line in text.splitlines() if line.startswith("session")}
        assert len(sessions) == 3, "each has a session keyring of its own"
    finally:
        for container in engine.all():
            await engine.remove(container.id, force=True)
        await engine.close()
        libc.syscall(250, join, None)


GROUPS = """
#include <grp.h>
int main(void) {
    gid_t foreign = 70000, own = 0;
    printf("groups %d\\n", getgroups(0, 0));
    say("drop", setgroups(0, 0));
    say("take one's own", setgroups(1, &own));
    say("take another", setgroups(1, &foreign));
    char word[8] = {0};
    read(open("/proc/self/setgroups", O_RDONLY), word, 5);
    printf("setgroups %s\\n", strtok(word, "\\n"));
}
"""
ONE, TWO = ([{"inside": 0, "outside": UID_BASE + 65536 * 40, "count": count}] for count in (1, 2))


@pytest.mark.parametrize(("id_map", "allowed"), [(ONE, False), (TWO, True), ([], True)], ids=["one", "two", "range"])
async def test_who_has_one_group_mapped_can_call_setgroups_for_nothing_and_the_keepers_groups_are_nobodys(
    home: Home, raw: RawEngine, inside: Inside, id_map: list[dict[str, int]], allowed: bool
) -> None:
    """user_namespaces(7), /proc/PID/setgroups: a group that is refused by a file could be dropped to read it."""
    before = os.getgroups()
    home.kill_keeper()
    os.setgroups([4242])
    try:
        home.start_keeper()
    finally:
        os.setgroups(before)
    await until(lambda: raw.status().available)
    told = dict(line.rsplit(" ", 1) for line in (await inside(GROUPS, id_map=id_map)).stdout.splitlines())
    answer = "done" if allowed else "EPERM"
    assert told == {
        "groups": "0", "drop": answer, "take one's own": answer, "take another": "EINVAL" if allowed else "EPERM",
        "setgroups": "allow" if allowed else "deny",
    }  # fmt: skip
    (box,) = raw.all()
    assert "Groups:\t \n" in Path(f"/proc/{box.pid}/status").read_text()


SET_ID = """
int main(int count, char **words) {
    if (count > 1) { printf("uid %d %d\\n", getuid(), geteuid()); return 0; }
    setgid(1000); setuid(1000);
    execl("/suid", "/suid", "again", (char *)0);
}
"""


async def test_a_set_user_id_program_gives_nothing(home: Home, raw: RawEngine, compiled: Compile) -> None:
    image = write_image(home, "suid", {"suid": compiled(SET_ID)})
    (home.data / "images" / image / "rootfs" / "suid").chmod(0o4755)
    box = await raw.create(spec(image=image, user="1000:1000"), "")
    assert (await raw.execute(box.id, ("/suid", "again"), 10)).stdout == "uid 1000 1000\n"
    root = await raw.create(spec("root", image=image), "")
    assert (await raw.execute(root.id, ("/suid",), 10)).stdout == "uid 1000 1000\n"


@pytest.mark.parametrize("way", WAYS)
async def test_the_oom_score_is_not_better_than_the_hosts(raw: RawEngine, way: str) -> None:
    box = await raw.create(spec(command=["sh", "-c", "cat /proc/self/oom_score_adj; sleep 1000"]), "")
    if way == "exec":
        text = (await raw.execute(box.id, ("cat", "/proc/self/oom_score_adj"), 10)).stdout
    elif way == "terminal":
        terminal = await raw.open_terminal(box.id, ("cat", "/proc/self/oom_score_adj"), 24, 80)
        text = os.read(terminal.fd, 100).decode()
        os.close(terminal.fd)
    else:
        with open(f"/proc/{box.pid}/oom_score_adj") as file:
            text = file.read()
    assert int(text) >= int(Path("/proc/self/oom_score_adj").read_text())
