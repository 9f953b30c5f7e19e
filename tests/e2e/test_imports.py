"""Importing an image in a real browser: the job's card, its progress, calling it off, and where the files come from."""

from __future__ import annotations

import os
import re
import signal
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.deploy.test_images import at_work
from tests.deploy.test_lifecycle import wait_for
from tests.dockerd import Dockerd
from tests.engines.conftest import wait_until
from tests.panel import Panel

MIB = 1 << 20
LARGE, SMALL = 96 * MIB, 6 * MIB


def tar_of(path: Path, size: int) -> Path:
    """A root file system with one file of so many random bytes."""
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("etc/noise")
        member.size = size
        with open("/dev/urandom", "rb") as random:
            tar.addfile(member, random)
    return path


@pytest.fixture
def images(api: httpx.Client, panel: Panel) -> Iterator[Path]:
    """The panel's directory of images. What the test imports, or has left half way, goes with it."""
    directory = panel.data / "images"
    before = set(os.listdir(directory))
    yield directory
    for job in api.get("jobs").json()["items"]:
        if job["state"] == "running":
            api.post(f"jobs/{job['id']}/cancel")
    wait_until(lambda: not at_work(panel), 20)
    for name in set(os.listdir(directory)) - before:
        assert api.delete(f"images/{name}").status_code == 204


class Gate:
    """Lets so many pieces of an upload pass, and holds up the next one."""

    def __init__(self, page: Page) -> None:
        self._left, self._held = 0, list[Route]()
        page.route("**/api/v1/jobs/*/data?*", self._piece)

    def _piece(self, route: Route) -> None:
        if self._left:
            self._left -= 1
            route.continue_()
        else:
            self._held.append(route)

    def open(self, pieces: int) -> None:
        self._left += pieces
        while self._held and self._left:
            self._piece(self._held.pop())


def open_form(page: Page, source: str) -> Locator:
    page.goto("/images/")
    page.get_by_role("button", name="Import an image").first.click()
    form = page.get_by_role("dialog", name="Import an image")
    form.get_by_label("Where it comes from").select_option(label=source)
    return form


def send(form: Locator, name: str) -> None:
    form.get_by_label("Name").fill(name)
    form.get_by_role("button", name="Import", exact=True).click()


def begin(page: Page, name: str, archive: Path) -> Locator:
    """Upload it; the form."""
    form = open_form(page, "A tarball")
    form.get_by_label("File").set_input_files(archive)
    send(form, name)
    return form


@dataclass(frozen=True)
class Held:
    """An upload that goes on by so many pieces as its gate lets pass. ``before``: the images that there were."""

    gate: Gate
    form: Locator
    before: list[str]


@pytest.fixture
def large(page: Page, images: Path, tmp_path: Path) -> Held:
    before, gate = sorted(os.listdir(images)), Gate(page)
    return Held(gate, begin(page, "large", tar_of(tmp_path / "large.tar", LARGE)), before)


def card_of(page: Page, name: str) -> Locator:
    return page.get_by_test_id("job").filter(has_text=f"import {name}")


def nothing_is_left(api: httpx.Client, panel: Panel, images: Path, before: list[str]) -> None:
    wait_until(lambda: api.get("jobs").json()["items"][0]["state"] == "cancelled", 20)
    wait_until(lambda: not at_work(panel), 20)
    assert sorted(os.listdir(images)) == before
    assert "large" not in [image["name"] for image in api.get("images").json()["items"]]


def test_a_large_upload_is_seen_to_go_on_and_called_off_by_its_card(
    page: Page, api: httpx.Client, panel: Panel, images: Path, large: Held
) -> None:
    gate, form = large.gate, large.form
    other = page.context.new_page()  # the form lies over the first page's own card
    other.goto("/images/")
    card = card_of(other, "large")
    phase = card.get_by_test_id("job-phase")
    expect(card.get_by_role("progressbar")).to_be_visible()
    gate.open(8)
    expect(phase).to_have_text(re.compile(r"^Unpacking, [1-9]"))
    told = phase.inner_text()
    gate.open(40)
    expect(phase).not_to_have_text(told)
    expect(phase).to_have_text(re.compile(r"^Unpacking, 2[0-9](\.\d+)? MiB$"))
    upload = form.get_by_role("progressbar", name="Upload")
    wait_until(lambda: upload.evaluate("it => it.value") == pytest.approx(24 / 96, abs=0.01), 10)

    card.get_by_role("button", name="Cancel").click()
    expect(card).to_have_count(0)
    nothing_is_left(api, panel, images, large.before)
    gate.open(1000)
    expect(form.get_by_role("alert")).to_contain_text("The job takes no more: It was cancelled.")
    form.get_by_role("button", name="Cancel").click()
    expect(form).to_have_count(0)
    expect(card_of(page, "large")).to_have_count(0)


def test_an_upload_whose_form_is_closed_is_called_off(
    page: Page, api: httpx.Client, panel: Panel, images: Path, large: Held
) -> None:
    large.gate.open(3)
    expect(card_of(page, "large").get_by_test_id("job-phase")).to_have_text(re.compile(r"^Unpacking, [1-9]"))
    page.keyboard.press("Escape")
    expect(large.form).to_have_count(0)
    large.gate.open(1)
    expect(card_of(page, "large")).to_have_count(0)
    nothing_is_left(api, panel, images, large.before)


def test_one_that_ends_well_is_in_the_list_with_its_size(page: Page, images: Path, tmp_path: Path) -> None:
    form = begin(page, "small", tar_of(tmp_path / "small.tar", SMALL))
    expect(form).to_have_count(0)
    row = page.locator('[data-testid=image-row][data-name="small"]')
    expect(row).to_contain_text("6 MiB", timeout=30_000)
    expect(page.get_by_test_id("toast").last).to_contain_text("import small is done.")
    expect(page.get_by_test_id("job")).to_have_count(0)
    assert (images / "small/rootfs/etc/noise").stat().st_size == SMALL


def test_one_that_fails_says_why_until_it_is_dismissed(page: Page, images: Path, tmp_path: Path) -> None:
    before = sorted(os.listdir(images))
    (tmp_path / "none.tar").write_bytes(b"this is no tar\n" * 1000)
    begin(page, "none", tmp_path / "none.tar")
    card = card_of(page, "none")
    expect(card).to_have_attribute("data-state", "failed")
    expect(card.get_by_test_id("job-phase")).to_contain_text("failed: ")
    expect(card.get_by_role("button", name="Cancel")).to_be_hidden()
    page.keyboard.press("Escape")
    card.get_by_role("button", name="Dismiss").click()
    expect(card).to_have_count(0)
    assert sorted(os.listdir(images)) == before


@pytest.fixture
def roots(panel: Panel, tmp_path: Path) -> Iterator[Path]:
    """A host directory that images may come from, for one test."""
    policy, place = panel.data / "policy.toml", tmp_path.resolve() / "roots"
    place.mkdir()
    before = policy.read_text()
    for text in (before.replace("import_paths = []", f'import_paths = ["{place}"]'), before):
        policy.write_text(text)
        worker = panel.pid("worker")
        os.kill(worker, signal.SIGKILL)
        wait_for(panel, "worker", worker)
        if text != before:
            yield place


def test_files_come_from_a_path_of_the_host_that_the_policy_allows(
    page: Page, images: Path, roots: Path, dockerd: Dockerd
) -> None:
    archive = tar_of(roots / "small.tar", SMALL)
    form = open_form(page, "A tarball")
    path = form.get_by_label("Or its path on this host")
    path.fill(str(roots.parent / "other.tar"))
    send(form, "small")
    expect(form.get_by_role("alert")).to_contain_text("does not let")
    path.fill(str(archive))
    form.get_by_label("File").set_input_files(archive)
    send(form, "small")
    expect(form.get_by_role("alert")).to_contain_text("only one of them")
    form.get_by_label("File").set_input_files([])
    send(form, "small")
    expect(form).to_have_count(0)
    expect(page.locator('[data-testid=image-row][data-name="small"]')).to_contain_text("6 MiB", timeout=30_000)
    assert (images / "small/rootfs/etc/noise").stat().st_size == SMALL

    form = open_form(page, "An OCI or docker-save archive")
    form.get_by_label("Or its path on this host").fill(str(archive))
    send(form, "no-layers")
    expect(card_of(page, "no-layers").get_by_test_id("job-phase")).to_contain_text("failed: ")

    form = open_form(page, "For Docker: a tarball")
    form.get_by_label("Or its path on this host").fill(str(archive))
    send(form, "from-path:1")
    try:
        expect(page.locator('[data-testid=image-row][data-name="from-path:1"]')).to_be_visible(timeout=30_000)
    finally:
        dockerd.docker("rmi", "--force", "from-path:1")


def test_debootstrap_takes_a_mirror_of_the_hosts_and_no_other(page: Page, images: Path) -> None:
    before = sorted(os.listdir(images))
    form = open_form(page, "Debian, by debootstrap")
    form.get_by_label("Suite").fill("bookworm")
    form.get_by_label("Mirror").fill("http://mirror.invalid/debian")
    send(form, "deb")
    expect(card_of(page, "deb").get_by_test_id("job-phase")).to_contain_text(
        "http://mirror.invalid/debian is no mirror of this host"
    )
    form = open_form(page, "Debian, by debootstrap")
    form.get_by_label("Suite").fill("nonesuch")
    send(form, "deb")
    expect(card_of(page, "deb").get_by_test_id("job-phase")).to_contain_text("knows no suite nonesuch")
    assert sorted(os.listdir(images)) == before
