"""In the guest: a plugin of pytest that tells how each test ended as soon as it did, one JSON object per line."""

from __future__ import annotations

import json
import os

import pytest

_path = os.environ["TERRARIUM_GUEST_RESULTS"]
_failures: dict[str, list[str]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    texts = _failures.setdefault(report.nodeid, [])
    if report.outcome != "passed":
        texts.append(f"{report.when} {report.outcome}\n{report.longreprtext}")
        texts += [f"--- {title}\n{content}" for title, content in report.sections]
    if report.when == "teardown":
        with open(_path, "a") as file:
            file.write(json.dumps({"test": report.nodeid, "failure": "\n".join(texts)}) + "\n")
