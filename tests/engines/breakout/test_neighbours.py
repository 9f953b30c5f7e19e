"""Other sandboxes and the host's own programs: by shared namespaces, sockets, files and process ids."""

from __future__ import annotations

import itertools
import os
import socket
from pathlib import Path

from containers_app.engines.policy import Allow
from containers_app.engines.raw import RawEngine

from ..conftest import Home, spec
from .conftest import Compile, Inside, write_image

CONNECT = """
int main(int count, char **words) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path + 1, words[1], strlen(words[1]));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    say("connect", connect(fd, (void *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(words[1])));
}
"""


async def test_an_abstract_socket_of_the_host_is_out_of_reach(home: Home, compiled: Compile) -> None:
    """CVE-2020-15257. In the host's own network namespace, where the policy lends it, it is there for everybody."""
    name = f"terrarium-test-{home.tag}"
    image = write_image(home, "connect", {"probe": compiled(CONNECT)})
    engine = home.engine(Allow())
    await engine.open(home.changes.append)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        try:
            box = await engine.create(spec(image=image), "")
            assert (await engine.execute(box.id, ("/probe", name), 10)).stdout == "connect ECONNREFUSED\n"
            lent = await engine.create(spec("lent", image=image, namespaces={"net": "host"}), "")
            assert (await engine.execute(lent.id, ("/probe", name), 10)).stdout == "connect done\n"
            sockets = (await engine.execute(lent.id, ("cat", "/proc/net/unix"), 10)).stdout
            ours = [line for line in sockets.splitlines() if str(home.run) in line or ("terrarium" in line and "@" in line)]
            assert all(name in line or "@" not in line for line in ours), "keeper and worker listen on files only"
        finally:
            for container in engine.all():
                await engine.remove(container.id, force=True)
            await engine.close()


NEIGHBOUR = """
int main(int count, char **words) {
    static const char *parts[] = {"mem", "environ", "root/etc/hostname", "cwd", "fd/1", "exe", "map_files", "ns/mnt", "ns/user"};
    int victim = 0;
    for (int pid = 1; pid < 400; pid++) {
        char path[64], name[64] = {0};
        snprintf(path, sizeof path, "/proc/%d/comm", pid);
        int file = open(path, O_RDONLY);
        if (file < 0) continue;
        read(file, name, 63);
        close(file);
        if (!strncmp(name, "sleep", 5)) { victim = pid; break; }
    }
    printf("victim %s\\n", victim ? "found" : "none");
    for (int part = 0; part < sizeof parts / sizeof *parts; part++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/%s", victim, parts[part]);
        say(parts[part], open(path, O_RDONLY));
    }
    say("ptrace", ptrace(PTRACE_SEIZE, victim, 0, 0));
    say("kill", kill(victim, SIGSTOP));
    say("pidfd_getfd", syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, victim, 0), 0, 0));
    say("prlimit", syscall(SYS_prlimit64, victim, RLIMIT_CORE, &(struct rlimit){0, 0}, 0));
    say("setns", syscall(SYS_setns, syscall(SYS_pidfd_open, victim, 0), CLONE_NEWUSER | CLONE_NEWNS));
    char one = 1, copy;
    struct { void *base; size_t length; } mine = {&copy, 1}, theirs = {(void *)0x400000, 1};
    say("process_vm_readv", syscall(SYS_process_vm_readv, victim, &mine, 1, &theirs, 1, 0));
}
"""


async def test_in_a_shared_process_namespace_the_other_sandboxes_processes_are_seen_and_no_more(
    home: Home, raw: RawEngine, compiled: Compile
) -> None:
    image = write_image(home, "neighbour", {"probe": compiled(NEIGHBOUR)})
    await raw.create(spec("victim", image=image), "")
    fields = {"namespaces": {"pid": "container:victim", "net": "container:victim", "ipc": "container:victim"}}
    nosy = await raw.create(spec("nosy", image=image, command=["top", "-b"], **fields), "")
    rows = dict(line.split(" ", 1) for line in (await raw.execute(nosy.id, ("/probe",), 10)).stdout.splitlines())
    assert rows.pop("victim") == "found"
    assert {name: answer for name, answer in rows.items() if answer not in ("EPERM", "EACCES")} == {}


async def test_in_the_hosts_process_namespace_its_processes_are_seen_and_no_more(
    home: Home, raw: RawEngine, compiled: Compile
) -> None:
    """Where the policy lends it. The keeper is among them, and process 1, by which one would join the host's namespaces."""
    code = NEIGHBOUR.replace('if (!strncmp(name, "sleep", 5))', "if (pid == 1)")
    image = write_image(home, "nosy", {"probe": compiled(code)})
    nosy = await raw.create(spec("nosy", image=image, namespaces={"pid": "host"}), "")
    rows = dict(line.split(" ", 1) for line in (await raw.execute(nosy.id, ("/probe",), 10)).stdout.splitlines())
    assert rows.pop("victim") == "found"
    assert {name: answer for name, answer in rows.items() if answer not in ("EPERM", "EACCES")} == {}


async def test_no_two_sandboxes_have_a_user_id_in_common_and_none_has_the_hosts(raw: RawEngine) -> None:
    maps = []
    for number in range(3):
        box = await raw.create(spec(f"box-{number}"), "")
        for kind in ("uid", "gid"):
            (row,) = Path(f"/proc/{box.pid}/{kind}_map").read_text().splitlines()
            maps.append(tuple(map(int, row.split()[1:])))
    uids = sorted(set(maps))
    assert len(uids) == 3 and all(first + count <= second for (first, count), (second, _) in itertools.pairwise(uids))
    assert uids[0][0] >= 65536


FIND = """
int main(int count, char **words) {
    struct stat facts;
    for (char **path = words + 1; *path; path++) say(*path, stat(*path, &facts));
    chdir("/"); mkdir("/deep", 0755); int top = open("/", O_RDONLY);
    chroot("/deep"); fchdir(top);
    for (int up = 0; up < 64; up++) chdir("..");
    chroot(".");
    for (char **path = words + 1; *path; path++) say(*path, stat(*path, &facts));
}
"""


async def test_the_classic_double_chroot_ends_in_the_sandboxes_own_root(home: Home, inside: Inside) -> None:
    canary = f"{home.data}/state"
    assert os.path.exists(canary)
    told = (await inside(FIND, canary, "/bin/busybox")).stdout
    assert told == f"{canary} ENOENT\n/bin/busybox done\n" * 2
