"""The command line against a real panel: networks, groups, a log that is followed, copies, and what is told of a sandbox."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile

from tests.panel import ROOT, Panel, deploy


def sandbox(panel: Panel, *words: str) -> str:
    return panel.manage("sandbox", *words)


def test_a_sandbox_in_a_network_and_a_group_of_its_own(panel: Panel) -> None:
    try:
        assert "10.77.5.0/24" in panel.manage("network", "create", "lab", "--subnet", "10.77.5.0/24")
        panel.manage("group", "create", "team", "pids=40")
        words = ("--network", "lab", "--group", "team", "--init", "--rlimit", "nofile=128", "--restart", "unless-stopped")
        sandbox(panel, "run", *words, "cli-1", "sleep", "1000")
        assert sandbox(panel, "exec", "cli-1", "sh", "-c", "ulimit -n; cat /proc/1/comm").split() == ["128", "init"]
        sandbox(panel, "rename", "cli-1", "cli-2")
        found = json.loads(sandbox(panel, "inspect", "cli-2"))
        assert (found["networks"], found["group"], found["restart_policy"]) == (["lab"], "team", "unless-stopped")
        assert found["addresses"][0].startswith("10.77.5.")
        listed = {one["name"]: one for one in json.loads(panel.manage("network", "--json", "list"))["items"]}
        assert [one["name"] for one in listed["lab"]["containers"]] == ["cli-2"]
        assert json.loads(panel.manage("group", "--json", "limits", "team", "pids=30"))["pids"]["kernel"] == 30
        assert "cli-2" in panel.manage("group", "list")
        sandbox(panel, "set-restart", "cli-2", "no")
        assert json.loads(sandbox(panel, "inspect", "cli-2"))["restart_policy"] == "no"
    finally:
        for words in (("sandbox", "rm", "--force", "cli-2"), ("group", "rm", "team"), ("network", "rm", "lab")):
            panel.manage(*words)


def test_a_log_is_followed_to_its_end(panel: Panel) -> None:
    sandbox(panel, "run", "cli-log", "sh", "-c", "for i in 1 2 3; do echo line $i; sleep 1; done")
    try:
        lines = sandbox(panel, "logs", "--follow", "--timestamps", "cli-log").splitlines()
        assert [line.split(" ", 1)[1] for line in lines] == ["line 1", "line 2", "line 3"]
        assert all(line.split(" ")[0].endswith("Z") for line in lines)
        assert sandbox(panel, "logs", "--tail", "1", "cli-log") == "line 3\n"
        assert sandbox(panel, "logs", "--since", "2100-01-01", "cli-log") == ""
    finally:
        sandbox(panel, "rm", "cli-log")


def test_copies(panel: Panel) -> None:
    sandbox(panel, "run", "cli-copy", "sh", "-c", "echo kept > /kept")
    try:
        sandbox(panel, "logs", "--follow", "cli-copy")
        assert sandbox(panel, "commit", "cli-copy", "cli-image").startswith("cli-image")
        assert sandbox(panel, "clone", "cli-copy", "cli-other").startswith("cli-other")
        ran = subprocess.run(
            [str(ROOT / "deploy" / "manage"), *panel.place, "sandbox", "export", "cli-other"],
            capture_output=True, check=True,
        )  # fmt: skip
        with tarfile.open(fileobj=io.BytesIO(ran.stdout)) as tar:
            assert any(name.endswith("kept") for name in tar.getnames())
    finally:
        panel.manage("sandbox", "rm", "cli-copy")
        panel.manage("sandbox", "rm", "cli-other")
        panel.manage("image", "remove", "cli-image")


def test_the_commands_of_a_sandbox_are_shown_before_it_is_made_and_after(panel: Panel) -> None:
    words = ("--hostname", "inside", "--limit", "pids=40", "--namespace", "net=none", "cli-shown", "sleep", "1000")
    preview = sandbox(panel, "preview", *words)
    assert "unshare --fork" in preview and "hostname inside\n" in preview and "sleep 1000" in preview
    assert json.loads(sandbox(panel, "--json", "list"))["items"] == []
    sandbox(panel, "run", *words)
    try:
        made = sandbox(panel, "commands", "cli-shown")
        assert "hostname inside\n" in made and "echo 40 > " in made
        assert "\n".join(json.loads(sandbox(panel, "--json", "commands", "cli-shown"))["commands"]) + "\n" == made
    finally:
        sandbox(panel, "rm", "--force", "cli-shown")


def test_what_is_known_of_a_sandbox_is_a_table_each(panel: Panel) -> None:
    words = ("--read-only", "--mount", "type=tmpfs,target=/run,size=4M", "--oom-score-adj", "300", "--limit", "memory=64M")
    made = json.loads(sandbox(panel, "--json", "run", *words, "cli-told", "sh", "-c", "sleep 1000; true"))
    try:
        head, first, second = sandbox(panel, "processes", "cli-told").splitlines()
        assert head.split()[:4] == ["PID", "INSIDE", "PARENT", "UID"]
        assert first.split()[:2] == [str(made["pid"]), "1"] and first.endswith("  sh -c sleep 1000; true")
        assert second.split()[2] == str(made["pid"]) and second.endswith("  sleep 1000")
        mounts = {line.split()[0]: line.split()[1:] for line in sandbox(panel, "mounts", "cli-told").splitlines()}
        assert mounts["/run"][0] == "tmpfs" and mounts["/"][0] == "overlay" and mounts["/"][3].startswith("ro,")
        facts = dict(line.split(None, 1) for line in sandbox(panel, "security", "cli-told").splitlines()[1:])
        assert (facts["isolation"], facts["asked.read_only_root"], facts["kernel.oom_score_adj"]) == ("full", "yes", "300")
        assert "CAP_CHOWN, " in facts["kernel.capabilities"] and facts["kernel.seccomp"] == "filter"
        numbers = {line.split()[0]: line.split()[1:] for line in sandbox(panel, "stats", "cli-told").splitlines()}
        assert numbers["memory_limit"] == [str(64 << 20), "bytes"] and numbers["pids"] == ["2"]
        for action, key in (("processes", "items"), ("mounts", "items"), ("security", "kernel"), ("stats", "memory_limit")):
            assert json.loads(sandbox(panel, "--json", action, "cli-told"))[key]
    finally:
        sandbox(panel, "rm", "--force", "cli-told")


def test_what_is_refused_is_one_sentence_and_an_exit_code(panel: Panel) -> None:
    for words in (
        ("network", "create", "lab", "--subnet", "8.8.8.0/24"),
        ("group", "limits", "nobodys"),
        ("sandbox", "run", "--publish", "99999", "cli-bad"),
        ("sandbox", "add-process", "nobodys", "1"),
        ("sandbox", "preview", "--publish", "99999", "cli-bad"),
        ("sandbox", "security", "nobodys"),
        ("job", "cancel", "0123456789ab"),
        ("image", "import", "x", "directory", "/srv", "/opt"),
        ("image", "import", "x", "tar", "--mirror", "http://deb.debian.org/debian", "-"),
        ("image", "import", "x", "debootstrap", "bookworm", "no_such_package!"),
    ):
        ran = deploy("manage", *panel.place, *words)
        assert ran.returncode == 1 and ran.stderr.startswith("CommandError: ") and "Traceback" not in ran.stderr, ran.stderr
