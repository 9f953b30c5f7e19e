"""The README's picture: a panel of its own with sandboxes at work and a Docker container beside them, in a real browser."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser import ARGUMENTS, CHROMIUM
from tests.dockerd import Dockerd
from tests.panel import PASSWORD, Panel, free_port

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "panel.png"
SECONDS = 70  # until the lines of the last minute are full
BUSY = "while :; do i=$((i+1)); [ $((i % {})) = 0 ] && sleep 0.{}; done"
BOXES = {
    "web-1": {"command": ["sh", "-c", BUSY.format(20000, 2)], "limits": {"cpu": 0.5, "memory": "64M", "pids": 50}},
    "web-2": {"command": ["sh", "-c", BUSY.format(60000, 4)], "limits": {"cpu": 0.5, "memory": "64M", "pids": 50}},
    "cache": {
        "command": ["sh", "-c", "x=$(head -c 24000000 /dev/zero | tr '\\0' x); sleep 1000; true"],
        "limits": {"memory": "128M", "cpu": 0.5, "pids": 50},
    },
    "job-17": {
        "command": ["sh", "-c", "x=aaaaaaaa; while :; do x=$x$x; done"],
        "limits": {"memory": "32M", "cpu": 1},
    },
    "student-a": {"command": ["sleep", "infinity"], "limits": {"cpu": 0.2, "memory": "32M", "pids": 20}},
}


def fill(page: Page) -> None:
    for name, fields in BOXES.items():
        token = page.locator("meta[name=csrf-token]").get_attribute("content") or ""
        headers = {"X-CSRFToken": token, "Origin": page.url.rsplit("/", 2)[0]}
        answer = page.request.post("/api/v1/containers", data={"name": name, "image": "busybox", **fields}, headers=headers)
        assert answer.status == 201, answer.text()


def main() -> None:
    base = Path(tempfile.mkdtemp(prefix="terrarium-picture-"))
    (base / "docker").mkdir()
    dockerd = Dockerd(base / "docker")
    panel = Panel(base, free_port(), dockerd.url)
    try:
        dockerd.prepare()
        dockerd.start()
        dockerd.import_busybox()
        panel.up()
        dockerd.docker("run", "--detach", "--name", "db", "--memory", "256m", "busybox", "sh", "-c", BUSY.format(9000, 3))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = browser.new_context(
                base_url=panel.url, viewport={"width": 1280, "height": 520}, device_scale_factor=1.5
            ).new_page()
            page.goto("/login/")
            page.get_by_test_id("login-username").fill("admin")
            page.get_by_test_id("login-password").fill(PASSWORD)
            page.get_by_test_id("login-submit").click()
            page.wait_for_url("**/containers/")
            fill(page)
            time.sleep(SECONDS)
            PICTURE.parent.mkdir(exist_ok=True)
            page.screenshot(path=PICTURE)
            browser.close()
    finally:
        panel.down("--all", "--purge")
        dockerd.close()
        shutil.rmtree(base, ignore_errors=True)
    print("docs/panel.png is made anew.")


if __name__ == "__main__":
    main()
