"""Docker's half in a real browser: networks, volumes, images with their progress, and a daemon that dies and comes back."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.dockerd import Dockerd
from tests.e2e.conftest import Fresh
from tests.e2e.test_story import log_in, row_of, set_password
from tests.panel import deploy
from tests.registry import Registry
from tests.registry import registry as registry

LAYER_BYTES = 24 << 20  # which can't be compressed: a pull that lasts long enough to be seen

WATCH_LAYERS = """() => {
  window.layers = [];
  const look = () => document.querySelectorAll(".layers li").forEach((line) => window.layers.push(line.textContent));
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


@pytest.fixture
def daemon(dockerd: Dockerd) -> Iterator[Dockerd]:
    before = set(dockerd.docker("images", "-q").split())
    yield dockerd
    if not dockerd.pid:
        dockerd.start()
    dockerd.remove_containers()
    for name in dockerd.docker("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}").split():
        dockerd.docker("network", "rm", name)
    for name in dockerd.docker("volume", "ls", "-q").split():
        dockerd.docker("volume", "rm", "-f", name)
    for image in set(dockerd.docker("images", "-q").split()) - before:
        dockerd.docker("rmi", "-f", image)
    for name in dockerd.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split():
        if name != "busybox:latest":
            dockerd.docker("rmi", "-f", name)


def named(page: Page, kind: str, name: str) -> Locator:
    return page.locator(f'[data-testid={kind}-row][data-name="{name}"]')


def test_a_network_of_each_engine_is_made_used_and_removed(page: Page, cleared: None, daemon: Dockerd) -> None:
    daemon.docker("run", "-d", "--name", "web", "busybox", "sleep", "1000")
    page.goto("/networks/")
    expect(named(page, "network", "bridge").get_by_test_id("network-remove")).to_have_count(0)
    page.get_by_test_id("new-network").click()
    page.get_by_test_id("network-name").fill("green")
    page.get_by_test_id("network-subnet").fill("nonsense")
    page.get_by_test_id("network-dialog-send").click()
    expect(page.get_by_test_id("network-dialog-error")).to_contain_text("not a subnet")
    page.get_by_test_id("network-subnet").fill("10.231.20.0/24")
    page.get_by_test_id("network-dialog-send").click()
    green = named(page, "network", "green")
    expect(green).to_contain_text("10.231.20.0/24")
    green.get_by_test_id("network-commands").click()
    expect(page.locator('[data-testid=network-details][data-name="green"]').get_by_test_id("commands")).to_contain_text("ip link")
    green.get_by_test_id("network-remove").click()
    page.get_by_test_id("confirm-ok").click()
    expect(green).to_have_count(0)

    page.get_by_test_id("new-network").click()
    page.get_by_test_id("network-name").fill("blue")
    page.get_by_test_id("network-engine").select_option("docker")
    expect(page.get_by_test_id("network-subnet6")).to_have_attribute("placeholder", "none")
    page.get_by_test_id("network-subnet").fill("10.231.21.0/24")
    page.get_by_test_id("network-subnet6").fill("fd12:3456:21::/64")
    page.get_by_test_id("network-dialog-send").click()
    blue = named(page, "network", "blue")
    expect(blue).to_contain_text("fd12:3456:21::/64")
    blue.get_by_test_id("network-connect").click()
    page.get_by_test_id("connect-container").select_option(label="web")
    page.get_by_test_id("connect-dialog-send").click()
    member = blue.locator('[data-testid=network-member][data-name="web"]')
    expect(member).to_contain_text("10.231.21.")
    expect(member).to_contain_text("fd12:3456:21:")
    assert "10.231.21." in daemon.docker("exec", "web", "ip", "address")
    blue.get_by_test_id("network-remove").click()
    page.get_by_test_id("confirm-ok").click()
    expect(page.get_by_test_id("toast").last).to_contain_text("active endpoints")
    member.get_by_test_id("network-disconnect").click()
    expect(member).to_have_count(0)
    daemon.docker("network", "connect", "blue", "web")  # by somebody else: it shows by itself
    expect(member).to_have_count(1)
    daemon.docker("network", "disconnect", "blue", "web")
    expect(member).to_have_count(0)
    blue.get_by_test_id("network-remove").click()
    page.get_by_test_id("confirm-ok").click()
    expect(blue).to_have_count(0)


def test_a_volume_is_made_mounted_measured_and_tidied_up(page: Page, cleared: None, daemon: Dockerd) -> None:
    page.get_by_test_id("nav-volumes").click()
    page.get_by_test_id("new-volume").click()
    page.get_by_test_id("volume-name").fill("kept-data")
    page.get_by_test_id("volume-dialog-send").click()
    expect(named(page, "volume", "kept-data")).to_be_visible()
    daemon.docker("volume", "create", "forgotten")

    page.goto("/containers/")
    page.get_by_test_id("new-sandbox").click()
    page.get_by_test_id("create-name").fill("with-data")
    page.get_by_test_id("create-engine").select_option("docker")
    page.get_by_test_id("create-command").fill("sh -c 'dd if=/dev/zero of=/data/x bs=1M count=3; sleep 1000'")
    page.get_by_text("Files: read-only root, mounts").click()
    page.get_by_test_id("create-mount-add").click()
    mount = page.get_by_test_id("create-mount-row")
    mount.locator("[data-column=type]").select_option("volume")
    expect(page.locator("#create-volumes option")).to_have_count(2)
    mount.locator("[data-column=source]").fill("kept-data")
    mount.locator("[data-column=target]").fill("/data")
    page.get_by_text("Life: host name").click()
    page.get_by_test_id("create-health").fill("test -e /data/x")
    expect(page.get_by_test_id("preview")).to_contain_text("--health-cmd")
    page.get_by_test_id("create-sandbox").click()
    expect(row_of(page, "with-data")).to_have_attribute("data-state", "running")
    page.goto("/volumes/")
    kept = named(page, "volume", "kept-data")
    expect(kept).to_contain_text("with-data")
    expect(kept.get_by_test_id("volume-size")).to_have_text("3 MiB")
    kept.get_by_test_id("volume-remove").click()
    page.get_by_test_id("confirm-ok").click()
    expect(page.get_by_test_id("toast").last).to_contain_text("in use")

    page.get_by_test_id("prune-docker").click()
    expect(page.get_by_test_id("prune-list")).to_have_text("forgotten")
    page.get_by_test_id("confirm-cancel").click()
    expect(named(page, "volume", "forgotten")).to_be_visible()
    page.get_by_test_id("prune-docker").click()
    page.get_by_test_id("confirm-ok").click()
    expect(named(page, "volume", "forgotten")).to_have_count(0)
    assert daemon.docker("volume", "ls", "-q") == "kept-data"


def allow_registry(fresh: Fresh, registry: Registry) -> None:
    policy = fresh.panel.data / "policy.toml"
    line = f'insecure_registries = ["{registry.address}"]'
    text, changed = re.subn(r"(?m)^insecure_registries = .*$", line, policy.read_text())
    assert changed == 1
    policy.write_text(text)
    fresh.panel.down()
    ran = deploy("up", *fresh.panel.place, "--port", str(fresh.panel.port), "--docker-host", fresh.panel.docker_host, "--detach")
    assert ran.returncode == 0, ran.stdout + ran.stderr + fresh.panel.log_tails()


def import_from(page: Page, source: str, name: str, file: Path | None = None) -> None:
    page.get_by_test_id("import-image").click()
    page.get_by_test_id("import-type").select_option(source)
    if file is not None:
        page.get_by_test_id("import-file").set_input_files(str(file))
    page.get_by_test_id("import-name").fill(name)
    page.get_by_test_id("import-submit").click()


def test_images_are_pulled_loaded_named_removed_by_force_and_tidied_up(
    stranger: Page, fresh: Fresh, daemon: Dockerd, registry: Registry, tmp_path: Path
) -> None:
    name = f"{registry.address}/some/large:v1"
    (tmp_path / "large").write_bytes(os.urandom(LAYER_BYTES))
    daemon.docker("create", "--name", "growing", "busybox", "true")
    daemon.docker("cp", str(tmp_path / "large"), "growing:/large")
    daemon.docker("commit", "growing", name)
    daemon.docker("rm", "growing")
    daemon.docker("push", name)
    daemon.docker("rmi", name)
    daemon.docker("save", "-o", str(tmp_path / "saved.tar"), "busybox")
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        tar.add("/bin/busybox", "bin/sh")
    page = stranger
    allow_registry(fresh, registry)
    log_in(page, fresh.password)
    set_password(page)
    page.goto("/images/")
    page.evaluate(WATCH_LAYERS)
    import_from(page, "docker-pull", name)
    pulled = named(page, "image", name)
    expect(pulled).to_be_visible(timeout=60_000)
    told = page.evaluate("window.layers")
    assert any("downloading" in line and "MiB" in line for line in told) or any("extracting" in line for line in told), told[:20]
    assert len({line.split()[0] for line in told}) == 2  # busybox's and ours

    import_from(page, "docker-import", "small:v1", tmp_path / "root.tar")
    expect(named(page, "image", "small:v1")).to_be_visible(timeout=30_000)
    import_from(page, "docker-load", "saved", tmp_path / "saved.tar")
    expect(page.get_by_test_id("toast").last).to_contain_text("Loaded image")

    named(page, "image", "small:v1").get_by_test_id("image-tag").click()
    page.get_by_test_id("ask-text").fill("small:v2")
    page.get_by_test_id("ask-send").click()
    expect(named(page, "image", "small:v2")).to_be_visible()
    daemon.docker("create", "--name", "made-from-it", "small:v2", "/bin/sh")
    expect(named(page, "image", "small:v2")).to_contain_text("made-from-it")
    named(page, "image", "small:v1").get_by_test_id("image-remove").click()
    page.get_by_test_id("confirm-ok").click()
    expect(named(page, "image", "small:v1")).to_have_count(0)
    named(page, "image", "small:v2").get_by_test_id("image-remove").click()
    page.get_by_test_id("confirm-ok").click()
    expect(page.get_by_test_id("image-refused")).to_contain_text("must force")
    page.get_by_test_id("confirm-ok").click()
    expect(named(page, "image", "small:v2")).to_have_count(0)
    daemon.docker("rm", "made-from-it")

    import_from(page, "docker-import", "twice:v1", tmp_path / "root.tar")
    expect(named(page, "image", "twice:v1")).to_be_visible(timeout=30_000)
    daemon.docker("tag", "busybox", "twice:v1")  # the first one has no name any more
    page.get_by_test_id("prune-docker").click()
    expect(page.get_by_test_id("prune-list").locator("li")).to_have_count(1)
    expect(page.get_by_test_id("prune-sum")).to_contain_text("MiB")
    page.get_by_test_id("confirm-ok").click()
    expect(page.get_by_test_id("toast").last).to_contain_text("1 image removed")


def test_a_daemon_that_dies_is_said_and_heals_without_a_reload(page: Page, cleared: None, daemon: Dockerd) -> None:
    daemon.docker("run", "-d", "--name", "theirs", "busybox", "sleep", "1000")
    theirs = row_of(page, "theirs")
    expect(theirs).to_have_attribute("data-state", "running")
    page.evaluate("window.notReloaded = true")
    daemon.kill()
    expect(page.get_by_test_id("banner-engine-docker")).to_contain_text("docker does not answer")
    expect(theirs).to_have_attribute("data-stale", "true")
    expect(theirs).to_have_attribute("data-state", "unknown")
    page.get_by_test_id("new-sandbox").click()
    page.get_by_test_id("create-name").fill("ours")
    page.get_by_test_id("create-command").fill("sleep 1000")
    page.get_by_test_id("create-sandbox").click()
    expect(row_of(page, "ours")).to_have_attribute("data-state", "running")
    daemon.start()
    expect(page.get_by_test_id("banner-engine-docker")).to_have_count(0)
    expect(theirs).to_have_attribute("data-state", "running")
    expect(theirs).not_to_have_attribute("data-stale", re.compile(""))
    assert page.evaluate("window.notReloaded") is True
