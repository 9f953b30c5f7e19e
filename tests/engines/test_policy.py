"""The policy file is root's alone, and each of its lines forbids what it says."""

import os

import pytest

from containers_app.engines import policy_checks as module
from containers_app.engines.policy import Allow, Largest, Peers, Policy, UidRange, load
from containers_app.engines.policy_checks import check_changes, check_spec
from containers_app.errors import InvalidInput, PolicyRefused
from containers_app.spec import ContainerSpec, Mount, Namespaces, Security
from containers_app.spec.words import Rlimit

PLAIN = ContainerSpec(name="a")


@pytest.fixture
def write(tmp_path):
    def write(text: str, mode: int = 0o600):
        path = tmp_path / "policy.toml"
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


def test_an_empty_file_is_the_strictest_policy(write):
    policy = load(write(""))
    assert policy == Policy()
    assert policy.admits(0)
    assert not policy.admits(1000)


def test_every_setting_is_read(write):
    text = """
    [peers]
    uids = [0, 990]
    [uids]
    base = 1000000
    count = 67108864
    [allow]
    host_namespaces = ["net"]
    bind_paths = ["/srv/data"]
    capabilities = true
    no_user_namespace = true
    seccomp_off = true
    [limits]
    memory = "8G"
    cpu = 4
    pids = 4096
    """
    policy = load(write(text))
    assert policy.peers == Peers((0, 990))
    assert policy.uids == UidRange(1000000, 67108864)
    assert policy.allow == Allow(("net",), ("/srv/data",), True, True, True)
    assert policy.limits.items() == [("memory", 8 << 30), ("cpu", 4), ("pids", 4096)]


def test_what_deploy_writes_can_be_read_and_allows_the_defaults(write):
    from deploy.lib.policy import _TEXT

    policy = load(write(_TEXT.format(uid=990, base=1000000, count=65536 * 1024)))
    assert policy.admits(990)
    check_spec(policy, PLAIN)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(write, mode):
    with pytest.raises(InvalidInput, match="could be changed"):
        load(write("", mode))


def test_a_file_of_another_owner_or_a_link_is_refused(write, tmp_path):
    path = write("")
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(InvalidInput):
        load(tmp_path / "link")
    os.chown(path, 65534, -1)
    with pytest.raises(InvalidInput, match="could be changed"):
        load(path)


def test_a_missing_file_says_what_writes_it(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path / "none")
    assert "deploy/up" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "[peers]\nuids = ['root']", "[allow]\ncapabilties = true", "[alow]", "nonsense", "[allow]\nhost_namespaces = ['nett']",
        "[allow]\nbind_paths = ['srv']", "[limits]\nmemory = 'much'", "[limits]\ncpu = -1", "[uids]\nbase = 0\ncount = 65536",
        "[uids]\nbase = 4294900000\ncount = 67108864", "peers = 3", "\xff" * 70000,
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_refused_whole(write, text):
    with pytest.raises(InvalidInput) as caught:
        load(write(text))
    assert caught.value.code == "invalid_policy"


@pytest.mark.parametrize(("kind", "instead"), [("user", "no_user_namespace = true"), ("mnt", "host_image = true")])
def test_a_namespace_that_is_lent_by_another_setting_is_refused_with_its_name(write, kind, instead):
    with pytest.raises(InvalidInput, match=instead) as caught:
        load(write(f"[allow]\nhost_namespaces = ['net', '{kind}']"))
    assert caught.value.code == "invalid_policy" and f"leave {kind} out" in caught.value.message


FORBIDDEN = [
    (ContainerSpec(name="a", namespaces=Namespaces(user="host")), Policy(), "user namespace"),
    (ContainerSpec(name="a", namespaces=Namespaces(net="host")), Policy(allow=Allow(host_namespaces=())), "net namespace"),
    (ContainerSpec(name="a", namespaces=Namespaces(net="path:/etc/passwd")), Policy(), "under /run"),
    (ContainerSpec(name="a", namespaces=Namespaces(net="path:/run/../proc/1/ns/net")), Policy(), "under /run"),
    (ContainerSpec(name="a", mounts=(Mount("/data", source="/srv"),)), Policy(), "/srv"),
    (
        ContainerSpec(name="a", mounts=(Mount("/d", source="/srv/database"),)),
        Policy(allow=Allow(bind_paths=("/srv/data",))),
        "/srv",
    ),
    (ContainerSpec(name="a", security=Security(capabilities=("CAP_SYS_ADMIN",))), Policy(), "CAP_SYS_ADMIN"),
    (ContainerSpec(name="a", security=Security(seccomp="off")), Policy(), "seccomp"),
    (PLAIN, Policy(limits=Largest(memory="1G")), "memory"),
    (ContainerSpec(name="a", limits={"memory": 2 << 30}), Policy(limits=Largest(memory="1G")), "memory"),
    (ContainerSpec(name="a", limits={"cpu": 2.5}), Policy(limits=Largest(cpu=2)), "cpu"),
    (ContainerSpec(name="a", rlimits={"rtprio": Rlimit(0, 1)}), Policy(), "before all other"),
    (ContainerSpec(name="a", rlimits={"rtprio": Rlimit(0, -1)}), Policy(), "before all other"),
]


@pytest.mark.parametrize(("spec", "policy", "named"), FORBIDDEN)
def test_what_the_policy_forbids_is_refused_and_named(spec, policy, named):
    with pytest.raises(PolicyRefused, match=named):
        check_spec(policy, spec)


ALLOWED = [
    (PLAIN, Policy()),
    (ContainerSpec(name="a", namespaces=Namespaces(user="host")), Policy(allow=Allow(no_user_namespace=True))),
    (ContainerSpec(name="a", namespaces=Namespaces(net="host")), Policy()),
    (ContainerSpec(name="a", mounts=(Mount("/d", source="/srv/data/x"),)), Policy(allow=Allow(bind_paths=("/srv/data",)))),
    (ContainerSpec(name="a", mounts=(Mount("/d", type="tmpfs"),)), Policy()),
    (ContainerSpec(name="a", security=Security(capabilities=("CAP_CHOWN",))), Policy()),
    (ContainerSpec(name="a", security=Security(capabilities=("CAP_SYS_ADMIN",))), Policy(allow=Allow(capabilities=True))),
    (ContainerSpec(name="a", security=Security(seccomp="off")), Policy(allow=Allow(seccomp_off=True))),
    (ContainerSpec(name="a", limits={"memory": 1 << 30}), Policy(limits=Largest(memory="1G"))),
    (ContainerSpec(name="a", rlimits={"rtprio": Rlimit(0, 0), "nofile": Rlimit(-1, -1)}), Policy()),
    (ContainerSpec(name="a", rlimits={"rtprio": Rlimit(1, 99)}), Policy(allow=Allow(real_time=True))),
]


@pytest.mark.parametrize(("spec", "policy"), ALLOWED)
def test_what_the_policy_allows_passes(spec, policy):
    check_spec(policy, spec)


def test_a_link_out_of_an_allowed_directory_is_refused(tmp_path):
    (tmp_path / "out").symlink_to("/etc")
    spec = ContainerSpec(name="a", mounts=(Mount("/d", source=str(tmp_path / "out")),))
    with pytest.raises(PolicyRefused):
        check_spec(Policy(allow=Allow(bind_paths=(str(tmp_path),))), spec)


def test_a_change_of_limits_is_held_against_the_largest_and_can_not_clear_them():
    policy = Policy(limits=Largest(memory="1G", pids=100))
    check_changes(policy, {"memory": 1 << 30, "cpu": None})
    for changes in ({"memory": None}, {"pids": 101}):
        with pytest.raises(PolicyRefused):
            check_changes(policy, changes)


def test_every_check_is_in_the_list():
    named = {value for name, value in vars(module).items() if name.startswith("check_")}
    others = {
        module.check_spec,
        module.check_changes,
        module.check_limit,
        module.check_initial_namespace,
        module.check_import,
        module.check_registry,
        module.check_toolbox,
    }
    assert named - others == set(module.POLICY_CHECKS)
