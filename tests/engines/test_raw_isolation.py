"""Little isolation, down to a mere chroot: it runs where the policy lets it, and says plainly how weak it is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from containers_app import errors
from containers_app.engines.policy import Allow
from containers_app.engines.raw import RawEngine
from containers_app.kernel import namespaces
from containers_app.spec import NAMESPACE_TYPES

from .conftest import Home, spec

CHROOT = dict.fromkeys(NAMESPACE_TYPES, "host") | {"mnt": "private"}


@pytest.fixture
async def lax(home: Home) -> AsyncIterator[RawEngine]:
    engine = home.engine(Allow(no_user_namespace=True))
    await engine.open(home.changes.append)
    yield engine
    for container in engine.all():
        await engine.remove(container.id, force=True)
    await engine.close()


async def test_a_mere_chroot_runs_and_is_labelled_weak(lax: RawEngine) -> None:
    box = await lax.create(spec(namespaces=CHROOT), "")
    found, host = namespaces.namespaces_of(box.pid), namespaces.initial()
    assert {kind for kind in NAMESPACE_TYPES if found[kind] != host[kind]} == {"mnt"}
    listed = await lax.execute(box.id, ("ls", "/"), 10)
    assert "bin" in listed.stdout.split() and "boot" not in listed.stdout.split()
    facts = lax.security(box.id)
    assert facts["isolation"] == "weak" and "chroot" in facts["warnings"][0] and "root" in facts["warnings"][1]
    written = await lax.execute(box.id, ("sh", "-c", "echo x > /proc/sys/kernel/domainname"), 10)
    assert written.exit_code != 0  # what confines it beside the namespaces still does
    await lax.stop(box.id, 1)
    assert lax.get(box.id).state == "exited"


async def test_a_mere_chroot_is_refused_where_the_policy_says_so(raw: RawEngine) -> None:
    with pytest.raises(errors.PolicyRefused) as refused:
        await raw.create(spec(namespaces=CHROOT), "")
    assert "no_user_namespace" in refused.value.hint


async def test_the_default_is_full_isolation_without_a_warning(raw: RawEngine) -> None:
    box = await raw.create(spec(), "")
    facts = raw.security(box.id)
    assert (facts["isolation"], facts["warnings"]) == ("full", [])
    other = await raw.create(spec("other", namespaces={"net": "container:box"}), "")
    assert raw.security(other.id)["isolation"] == "shared"
    assert raw.security(other.id)["warnings"] == ["It shares the net namespace of box."]
