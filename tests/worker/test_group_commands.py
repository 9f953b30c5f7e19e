"""Groups by the worker's commands, while others change them."""

import pytest

from containers_app.worker.commands import handle
from containers_app.worker.protocol import ListGroups


async def test_a_group_that_is_removed_while_all_are_listed_is_left_out(site, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = site.worker.groups
    for name in ("stays", "went"):
        groups.create(name, "ann", {})
    read = groups.read_limits

    def meanwhile(name: str) -> object:
        if "went" in groups.names():
            groups.remove("went", [])
        return read(name)

    monkeypatch.setattr(groups, "read_limits", meanwhile)
    found = await handle(site.worker, ListGroups())
    assert [group.name for group in found] == ["stays"]
    groups.remove("stays", [])
