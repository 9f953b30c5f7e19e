"""One boot for all: begun when the tests are collected, so that its minutes pass beside the other tests', and asked last."""

from __future__ import annotations

import pytest

from .guest import Guest

GUEST = pytest.StashKey[Guest]()


def _in_guest(item: pytest.Item) -> bool:
    return "guest" in getattr(item, "fixturenames", ())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_in_guest)  # stable


def pytest_collection_finish(session: pytest.Session) -> None:
    tests = [str(item.callspec.params["test"]) for item in session.items if _in_guest(item) and isinstance(item, pytest.Function)]
    if tests and not session.config.option.collectonly:
        session.config.stash[GUEST] = Guest(tests)


def pytest_unconfigure(config: pytest.Config) -> None:
    if guest := config.stash.get(GUEST, None):
        guest.close()


@pytest.fixture
def guest(request: pytest.FixtureRequest) -> Guest:
    return request.config.stash[GUEST]
