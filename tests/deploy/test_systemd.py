"""A panel on a machine that systemd runs: it lives in a unit of its own, neither gets in the other's way, and when it is asked
to, it comes back when the machine restarts.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import leaks
from tests.panel import PASSWORD, ROOT, Panel, deploy, free_port
from tests.systemd import Machine

from .refusal import refused
from .test_down_all import Api

SLEEPER = {"engine": "raw", "name": "sleeper", "image": "busybox", "command": ["sleep", "1000"]}
NO_RUN = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /run && exec "$@"', "sh")
WITHOUT_SYSTEMD = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /run/systemd && exec "$@"', "sh")


@dataclass(frozen=True)
class Housed(Panel):
    """A panel on such a machine. Its pids are those of the machine's pid namespace."""

    machine: Machine = field(kw_only=True)

    def run_there(self, program: str, *words: str, wrapper: tuple[str, ...] = (), env: Mapping[str, str] | None = None) -> str:
        ran = deploy(program, *words, wrapper=(*self.machine.wrapper, *wrapper), env=env)
        assert ran.returncode == 0, ran.stdout + ran.stderr + self.log_tails()
        return ran.stdout

    def up(self, wrapper: tuple[str, ...] = ()) -> None:
        (self.base / "password").write_text(PASSWORD)
        self.run_there("up", *self.up_words, wrapper=wrapper)

    def up_again(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """With the options that it remembers, and these. Returns what was said."""
        return self.run_there("up", *self.place, "--detach", *words, env=env)

    def down(self, *words: str) -> None:
        self.run_there("down", *self.place, *words)

    def at_boot(self) -> list[str]:
        """What systemd has of it on disk."""
        return sorted(str(path.relative_to(self.machine.units)) for path in self.machine.units.rglob("*terrarium-*"))

    def restart_machine(self, *, orderly: bool = False) -> None:
        """The kernel went through it, so what was noted of its boot id is changed instead."""
        if orderly:
            self.machine.shut_down()
        self.machine.halt()
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        for record in self.data.glob("sandboxes/*/record.json*"):
            record.write_text(record.read_text().replace(boot_id, "another"))
        self.machine.boot()

    @property
    def service(self) -> str:
        return f"terrarium-{self.tag}.service"

    @property
    def unit(self) -> str:
        return f"terrarium-{self.tag}.scope"

    def groups(self, name: str) -> dict[str, str]:
        """Controllers ("" for v2) → the group of one of the panel's daemons."""
        lines = self.machine.run("cat", f"/proc/{self.pid(name)}/cgroup").splitlines()
        return {names: group for _, names, group in (line.split(":", 2) for line in lines)}

    def places(self) -> set[str]:
        """Whatever of it is in any hierarchy, seen from there."""
        found = self.machine.run("find", "/sys/fs/cgroup", "-name", f"terrarium-{self.tag}*").split()
        return {path.removeprefix("/sys/fs/cgroup/") for path in found}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("systemd"))
    yield machine
    machine.close()


@pytest.fixture(scope="module")
def housed(machine: Machine, tmp_path_factory: pytest.TempPathFactory, panel: Panel, watch: leaks.Watch) -> Iterator[Housed]:
    """Brought up in a login session that has ended since."""
    base = tmp_path_factory.mktemp('100%n of "$HOME"')  # systemd's own words, which it must not take for such
    housed = Housed(base.resolve(), free_port(), machine=machine)
    watch.kept.add(housed.tag)
    housed.seed(panel)
    with machine.session("login-1") as session:
        housed.up(session)
    yield housed
    housed.down("--all", "--purge")
    watch.kept.discard(housed.tag)


@pytest.fixture(scope="module")
def api(housed: Housed) -> Api:
    return Api(housed)


@pytest.fixture
def sleeper(api: Api) -> Iterator[dict[str, object]]:
    box = api("POST", "/containers", {**SLEEPER, "limits": {"memory": "64M", "pids": 20}})
    yield box
    api("DELETE", f"/containers/{box['id']}?force=true")


def state(api: Api, box: dict[str, object]) -> str:
    return str(api("GET", f"/containers/{box['id']}")["state"])


def test_its_daemons_are_in_a_unit_of_its_own_and_go_on_when_the_session_ends(housed: Housed) -> None:
    assert housed.is_up()
    for name in ("supervisor", "keeper", "worker", "web"):
        groups = housed.groups(name)
        assert groups[""] == f"/{housed.unit}/daemons"
        assert groups["memory" if "memory" in groups else ""].startswith(f"/{housed.unit}")
    told = housed.machine.run("systemctl", "show", "-p", "Delegate,ActiveState,Description,TasksMax", housed.unit).splitlines()
    assert {"Delegate=yes", "ActiveState=active", f"Description=Terrarium at {housed.data}", "TasksMax=infinity"} == set(told)


def test_a_sandbox_has_its_groups_where_systemd_delegated_them_and_nowhere_beside(
    housed: Housed, api: Api, sleeper: dict[str, object]
) -> None:
    """Of a v1 hierarchy in which systemd made the unit no group, it is not the writer: there they lie as on other machines."""
    own = f"terrarium-{housed.tag}/{sleeper['id']}"
    places = housed.places()
    units = {place for place in places if place.endswith(housed.unit)}
    assert units
    for place in units:
        above = place.removesuffix(housed.unit)
        assert f"{above}terrarium-{housed.tag}" not in places
        if "systemd" not in above:  # that hierarchy has no controllers: nothing is made there
            assert f"{place}/terrarium-{housed.tag}" in places
    directories = api("GET", f"/containers/{sleeper['id']}")["cgroups"]
    assert all(directory.endswith(f"/{own}") for directory in directories.values())
    assert f"/{housed.unit}/{own}" in directories["memory"] and f"/{housed.unit}/{own}" in directories[""]


def test_systemd_reads_its_units_anew_and_leaves_the_limits_alone(housed: Housed, api: Api, sleeper: dict[str, object]) -> None:
    api("PATCH", f"/containers/{sleeper['id']}/limits", {"memory": "48M"})
    before = housed.places()
    for word in ("daemon-reload", "daemon-reexec"):
        housed.machine.run("systemctl", word)
        housed.machine.run("systemd-run", "--quiet", "--scope", "true")  # a neighbour comes and goes
        limits = api("GET", f"/containers/{sleeper['id']}")["limits"]
        assert {name: limits[name]["kernel"] for name in ("memory", "pids")} == {"memory": 48 << 20, "pids": 20}
    assert housed.places() == before
    assert state(api, sleeper) == "running"


def test_a_panel_that_is_stopped_and_started_again_is_in_the_same_unit(
    housed: Housed, api: Api, sleeper: dict[str, object]
) -> None:
    which = ("systemctl", "show", "-p", "InvocationID", housed.unit)
    unit, keeper = housed.machine.run(*which), housed.pid("keeper")
    housed.down()
    assert housed.groups("keeper")[""] == f"/{housed.unit}/daemons"
    housed.up()
    assert (housed.machine.run(*which), housed.pid("keeper")) == (unit, keeper)
    assert {housed.groups(name)[""] for name in ("supervisor", "worker", "web")} == {f"/{housed.unit}/daemons"}
    assert state(api, sleeper) == "running"


def test_sandboxes_are_found_in_the_unit_when_every_daemon_was_killed(
    housed: Housed, api: Api, sleeper: dict[str, object]
) -> None:
    housed.machine.run("kill", "-9", *(str(housed.pid(name)) for name in ("supervisor", "keeper", "worker", "web")))
    housed.up()
    assert state(api, sleeper) == "running"
    assert housed.groups("keeper")[""] == f"/{housed.unit}/daemons"


def test_in_the_foreground_it_enters_the_unit_too_and_leaves_the_keeper_there(
    housed: Housed, api: Api, sleeper: dict[str, object]
) -> None:
    housed.down()
    words = [word for word in housed.up_words if word != "--detach"]
    command = [*housed.machine.wrapper, str(ROOT / "deploy/up"), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/") as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("Terrarium serves at"):
                break
        assert housed.groups("supervisor")[""] == f"/{housed.unit}/daemons"
        housed.machine.run("kill", "-INT", str(housed.pid("supervisor")))
        running.wait(30)
    assert not housed.is_up() and housed.groups("keeper")[""] == f"/{housed.unit}/daemons"
    housed.up()
    assert state(api, sleeper) == "running"


def test_nothing_of_it_stays(housed: Housed, api: Api) -> None:
    """Neither unit nor group, nor what systemd was told about it."""
    api("POST", "/groups", {"name": "team", "limits": {"memory": "256M"}})
    api("POST", "/containers", {**SLEEPER, "group": "team", "limits": {"pids": 5}})
    housed.machine.run("systemctl", "--runtime", "set-property", housed.unit, "MemoryMax=1G")
    housed.down("--all")
    assert housed.places() == set()
    assert housed.machine.run("systemctl", "list-units", "--all", "--no-legend", housed.unit).strip() == ""
    assert housed.machine.run("find", "/run/systemd", "-name", f"*{housed.tag}*") == ""
    housed.up()
    assert housed.machine.run("systemctl", "show", "-p", "MemoryMax", housed.unit).strip() == "MemoryMax=infinity"


def test_sandboxes_of_a_panel_from_before_the_unit_are_found_and_restarted_into_it(housed: Housed, api: Api) -> None:
    """As after an upgrade from a version that made its groups below the root, with its daemons in the login session."""
    housed.down("--all")
    with housed.machine.session("login-2") as session:
        housed.up((*session, *WITHOUT_SYSTEMD))
        box = api("POST", "/containers", {**SLEEPER, "limits": {"memory": "64M"}})
        assert housed.places() and not any(housed.unit in place for place in housed.places())
        housed.down()
        housed.up()
    found = api("GET", f"/containers/{box['id']}")
    assert (found["state"], found["pid"], found["cgroups"]) == ("running", box["pid"], box["cgroups"])
    assert housed.groups("keeper")[""] == f"/{housed.unit}/daemons"
    limits = api("PATCH", f"/containers/{box['id']}/limits", {"memory": "48M"})
    assert limits["memory"]["kernel"] == 48 << 20
    said = api("POST", f"/containers/{box['id']}/exec", {"argv": ["true"]})
    assert said["exit_code"] == 0, said
    api("POST", f"/containers/{box['id']}/restart", {})
    moved = api("GET", f"/containers/{box['id']}")["cgroups"]
    assert f"/{housed.unit}/terrarium-{housed.tag}/" in moved["memory"]
    housed.down("--all")
    assert housed.places() == set()
    housed.up()


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("orderly", [True, False], ids=["in order", "without its power"])
def test_with_at_boot_it_comes_back_when_the_machine_restarts(housed: Housed, api: Api, orderly: bool) -> None:
    housed.down()
    assert housed.service in housed.up_again("--at-boot")
    try:
        boxes, ready = {}, {**SLEEPER, "command": ["sh", "-c", "trap exit TERM; sleep 1000 & wait"]}
        for policy in ("no", "unless-stopped", "always"):
            for stopped in (False, True):
                name = f"{policy}-{'stopped' if stopped else 'running'}"
                boxes[name] = api("POST", "/containers", {**ready, "name": name, "restart": policy})
                if stopped:
                    api("POST", f"/containers/{boxes[name]['id']}/stop", {})
        housed.restart_machine(orderly=orderly)
        until(housed.is_up)
        until(lambda: housed.machine.run("systemctl", "show", "-p", "ActiveState", housed.service) == "ActiveState=active\n")
        again = {"unless-stopped-running", "always-running", "always-stopped"}
        until(lambda: {name for name, box in boxes.items() if state(api, box) == "running"} == again)
        assert {state(api, box) for name, box in boxes.items() if name not in again} == {"exited"}
        for name in ("supervisor", "keeper", "worker", "web"):
            assert housed.groups(name)[""] == f"/{housed.unit}/daemons"
        housed.machine.run("systemctl", "stop", housed.service)
        assert housed.is_up() and state(api, boxes["always-running"]) == "running"
    finally:
        housed.down("--all")
    assert housed.at_boot() == []
    assert housed.machine.run("systemctl", "list-units", "--all", "--no-legend", f"terrarium-{housed.tag}*") == ""
    housed.up_again("--no-at-boot")


def test_down_means_that_it_stays_down_and_the_next_up_that_it_comes_back(housed: Housed) -> None:
    enabled = [f"multi-user.target.wants/{housed.service}", housed.service]
    housed.down()
    assert "--at-boot" in housed.up_again() and housed.at_boot() == []
    housed.down()
    housed.up_again(env={"TERRARIUM_AT_BOOT": "1"})
    assert housed.at_boot() == enabled
    housed.down()
    assert housed.at_boot() == []
    housed.restart_machine()
    assert housed.machine.run("systemctl", "list-units", "--all", "--no-legend", f"terrarium-{housed.tag}*") == ""
    assert housed.service in housed.up_again()
    assert housed.at_boot() == enabled and housed.machine.run("systemctl", "is-enabled", housed.service) == "enabled\n"
    housed.down()
    housed.up_again("--no-at-boot")
    assert housed.at_boot() == []


def test_without_systemd_at_boot_is_refused_with_a_line_for_cron(tmp_path: Path) -> None:
    for env, words in (({}, ("--at-boot",)), ({"TERRARIUM_AT_BOOT": "yes"}, ())):
        sentence = refused(tmp_path, *words, env=env, wrapper=NO_RUN)
        assert f"'@reboot {tmp_path}/data/app/deploy/up --data {tmp_path}/data --run {tmp_path}/run --detach'" in sentence
