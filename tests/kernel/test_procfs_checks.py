"""What the kernel of a host can do, line by line."""

import gzip

from containers_app.kernel import procfs


def by_name(checks):
    return {check["name"]: check for check in checks}


def test_every_line_is_whole_and_what_is_missing_has_a_hint():
    checks = procfs.checks()
    assert len({check["name"] for check in checks}) == len(checks) > 15
    for check in checks:
        assert set(check) == {"name", "ok", "detail", "hint"}
        assert check["ok"] in (True, False, None)
        assert check["detail"]
        assert check["ok"] or check["hint"]


def test_a_bare_kernel_lacks_what_it_lacks_and_says_what_to_do(tmp_path):
    found = by_name(procfs.checks(str(tmp_path), str(tmp_path), str(tmp_path)))
    assert found["user namespace"]["ok"] is False
    assert found["memory controller"]["ok"] is False
    assert found["seccomp filters"]["ok"] is False
    assert found["user namespaces allowed"]["ok"] is None
    assert found["bridge"]["ok"] is None
    assert found["overlay file system"]["ok"] is None
    assert found["kernel configuration"]["ok"] is None


def test_switched_off_user_namespaces_are_told_with_the_command_that_allows_them(tmp_path):
    (tmp_path / "sys/user").mkdir(parents=True)
    (tmp_path / "sys/user/max_user_namespaces").write_text("0\n")
    check = by_name(procfs.checks(str(tmp_path), str(tmp_path), str(tmp_path)))["user namespaces allowed"]
    assert check["ok"] is False
    assert "sysctl -w user.max_user_namespaces" in check["hint"]


def test_the_kernel_configuration_settles_what_is_not_loaded(tmp_path):
    text = b"CONFIG_BRIDGE=m\nCONFIG_OVERLAY_FS=m\n# CONFIG_VETH is not set\n"
    (tmp_path / "config.gz").write_bytes(gzip.compress(text))
    found = by_name(procfs.checks(str(tmp_path), str(tmp_path), str(tmp_path)))
    assert found["bridge"]["ok"] is True
    assert "a module" in found["bridge"]["detail"]
    assert found["overlay file system"]["ok"] is True
    assert found["veth"]["ok"] is False
