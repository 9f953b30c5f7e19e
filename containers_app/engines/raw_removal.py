"""The end of an instance: every sandbox, its control groups and its network, whatever state they are in."""

from __future__ import annotations

import asyncio
import contextlib
import os

from ..errors import NotFound, TerrariumError
from ..kernel.cgroups import Cgroups
from ..kernel.networks import remove_networks
from .raw_store import Store


def group_names(cgroups: Cgroups, tag: str) -> set[str]:
    """The sandboxes of this instance that have a control group, known or not."""
    tops = [path for path in cgroups.paths(f"terrarium-{tag}").values() if os.path.isdir(path)]
    return {entry.name for path in tops for entry in os.scandir(path) if entry.is_dir()}


async def remove_everything(*, tag: str, data: str, run: str, cgroups: Cgroups) -> list[str]:
    """Every sandbox, their cgroups and the network of this instance. Returns what could not be removed, in words."""
    store, left = Store(data), []
    top = cgroups.paths(f"terrarium-{tag}")
    for name in sorted(group_names(cgroups, tag) | set(store.names())):
        paths = cgroups.paths(f"terrarium-{tag}/{name}")
        try:
            with contextlib.suppress(NotFound):
                cgroups.kill(paths)
            await asyncio.to_thread(cgroups.remove, paths)
            await asyncio.to_thread(store.remove, name)
        except (TerrariumError, OSError) as error:
            left.append(f"sandbox {name}: {error}")
    try:
        await asyncio.to_thread(cgroups.remove, top)
        await asyncio.to_thread(remove_networks, tag, f"{data}/state/network.json")
    except (TerrariumError, OSError) as error:
        left.append(str(error))
    return left
