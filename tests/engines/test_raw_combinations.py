"""Every two types of namespaces in every two modes on the running kernel: it works, or a named check says why it does not."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest

from containers_app import errors
from containers_app.engines.policy import Allow
from containers_app.engines.raw import RawEngine
from containers_app.kernel import namespaces
from containers_app.spec import NAMESPACE_TYPES

from .conftest import Home, spec

MODES = ("private", "host", "container:one")
PAIRS = [
    {first: one, second: other}
    for first, second in itertools.combinations(NAMESPACE_TYPES, 2)
    for one, other in itertools.product(MODES, MODES)
]


@pytest.fixture
async def lax(home: Home) -> AsyncIterator[RawEngine]:
    engine = home.engine(Allow(no_user_namespace=True, host_image=True))
    await engine.open(home.changes.append)
    await engine.create(spec("one", command=["sleep", "1000"], namespaces={"net": "none"}), "")
    yield engine
    for container in engine.all():
        await engine.remove(container.id, force=True)
    await engine.close()


async def tried(engine: RawEngine, modes: dict[str, str], **fields: object) -> str:
    """ "" when it runs in the namespaces that it asked for, else the named refusal's code. A bare errno fails the test."""
    wanted = {"net": "private"} | modes
    try:
        box = await engine.create(spec("two", command=["sleep", "1000"], namespaces=wanted, **fields), "")
    except errors.KernelRefused as error:
        raise AssertionError(f"{modes}: {error.message}") from error
    except errors.TerrariumError as error:
        assert error.hint, error.message
        return error.code
    try:
        one, two, host = (namespaces.namespaces_of(pid) for pid in (engine.get("one").pid, box.pid, "self"))
        for kind, mode in wanted.items():
            place = "host" if two[kind] == host[kind] else "container:one" if two[kind] == one[kind] else "private"
            assert place == mode, (modes, kind)
        ran = await engine.execute(box.id, ("true",), 10)
        assert ran.exit_code == 0, (modes, ran)
    finally:
        await engine.remove(box.id, force=True)
    return ""


async def test_each_pair_of_modes_works_or_is_refused_by_name(lax: RawEngine) -> None:
    refused = {}
    for modes in PAIRS:
        if code := await tried(lax, modes):
            refused[tuple(sorted(modes.items()))] = code
    assert set(refused.values()) == {"unsupported"}
    assert all(("mnt", "host") in pair for pair in refused), refused
    assert len(refused) == 7 * 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("user", MODES)
async def test_all_types_in_one_mode_and_the_user_namespace_in_another(lax: RawEngine, mode: str, user: str) -> None:
    modes = dict.fromkeys(NAMESPACE_TYPES, mode) | {"user": user, "mnt": "private" if mode == "host" else mode}
    assert await tried(lax, modes) == ""


@pytest.mark.parametrize(
    "modes", [{}, {"user": "container:one"}, {"user": "host"}, {"pid": "container:one"}, {"mnt": "container:one"}]
)
async def test_moved_clocks_go_with_whatever_is_joined(lax: RawEngine, modes: dict[str, str]) -> None:
    assert await tried(lax, modes, time_offsets={"boottime": 86400}) == ""
