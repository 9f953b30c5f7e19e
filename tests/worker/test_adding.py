"""Moving a running process of the host into a container's control groups: real processes, real groups."""

import os
import signal
from pathlib import Path

import pytest

from containers_app import errors
from containers_app.engines.base import Container
from containers_app.engines.policy import Allow, Peers, Policy
from containers_app.worker import adding
from tests.groups import cgroups, spawn  # noqa: F401  fixtures

LAX = Policy()


@pytest.fixture
def group(cgroups, request):  # noqa: F811
    """A container that is nothing but its control groups."""
    paths = cgroups.create(f"terrarium-test-add-{os.getpid()}", {"pids": 50})
    yield Container(id="one", node="here", engine="raw", name="one", state="running", image="", cgroups=paths)
    cgroups.kill(paths)
    cgroups.remove(paths)


def add(group, pid, cgroups, **changes):  # noqa: F811
    fields = {"others": [], "to": ("cgroup",), "run": "", "policy": LAX} | changes
    adding.add(group, fields["others"], pid, fields["to"], fields["run"], fields["policy"], cgroups)


def test_a_process_is_in_every_hierarchys_group_and_ends_with_it(group, cgroups, spawn):  # noqa: F811
    process = spawn("sleep", "1000")
    add(group, process.pid, cgroups)
    assert cgroups.paths_of(process.pid).items() >= group.cgroups.items()
    cgroups.kill(group.cgroups)
    assert process.wait(10) == -signal.SIGKILL


def test_one_that_is_there_or_in_another_container_is_refused(group, cgroups, spawn):  # noqa: F811
    process = spawn("sleep", "1000", paths=group.cgroups)
    with pytest.raises(errors.Conflict, match="belongs to one"):
        add(group, process.pid, cgroups)
    other = Container(id="two", node="here", engine="raw", name="two", state="running", image="")
    with pytest.raises(errors.Conflict, match="belongs to one"):
        add(other, process.pid, cgroups, others=[group])


def test_kernel_threads_process_1_and_our_own_are_refused(group, cgroups, spawn, tmp_path):  # noqa: F811
    kernel = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and adding.procfs.is_kernel_thread(int(entry))]
    process = spawn("sleep", "1000")
    (tmp_path / "web.pid").write_text(f"{process.pid} 123\n")
    for pid in (*kernel[:1], 1, os.getpid(), os.getppid(), process.pid):
        with pytest.raises(errors.Unsupported):
            add(group, pid, cgroups, run=str(tmp_path))
    assert not cgroups.pids(group.cgroups)


def test_the_web_halfs_user_is_the_panels_own(group, cgroups, spawn):  # noqa: F811
    process = spawn("sleep", "1000", user=65534)
    with pytest.raises(errors.Unsupported, match="panel's own"):
        add(group, process.pid, cgroups, policy=Policy(peers=Peers((0, 65534))))


@pytest.mark.parametrize("pid", [0, -1, 1 << 40, 1 << 70])
def test_numbers_of_no_process_are_refused(group, cgroups, pid):  # noqa: F811
    with pytest.raises((errors.InvalidInput, errors.NotFound)):
        add(group, pid, cgroups)


def test_an_ended_one_a_thread_and_a_zombie_are_refused(group, cgroups, spawn):  # noqa: F811
    gone = spawn("true")
    os.waitid(os.P_PID, gone.pid, os.WEXITED | os.WNOWAIT)  # ended and not reaped
    with pytest.raises(errors.Conflict):
        add(group, gone.pid, cgroups)
    gone.wait()
    with pytest.raises(errors.NotFound):
        add(group, gone.pid, cgroups)
    threads = [int(task) for entry in Path("/proc").glob("[0-9]*/task") for task in _others(entry)]
    if threads:
        with pytest.raises((errors.InvalidInput, errors.NotFound)):
            add(group, threads[0], cgroups)


def _others(tasks: Path) -> list[str]:
    try:
        return [name for name in os.listdir(tasks) if name != tasks.parent.name]
    except OSError:
        return []


def test_namespaces_and_a_container_that_does_not_run_are_refused_in_words(group, cgroups, spawn):  # noqa: F811
    process = spawn("sleep", "1000")
    with pytest.raises(errors.Unsupported, match="setns"):
        add(group, process.pid, cgroups, to=("cgroup", "net"))
    with pytest.raises(errors.Unsupported, match="setns"):
        add(group, process.pid, cgroups, to=())
    still = Container(id="x", node="here", engine="raw", name="x", state="exited", image="")
    with pytest.raises(errors.Conflict):
        add(still, process.pid, cgroups)
    with pytest.raises(errors.PolicyRefused):
        add(group, process.pid, cgroups, policy=Policy(allow=Allow(add_process=False)))
