"""The end of an instance: every sandbox, its control groups and its network, whatever state they are in."""

from __future__ import annotations

import asyncio
import contextlib
import os

from ..errors import NotFound, TerrariumError
from ..kernel import file_tree
from ..kernel.cgroups import Cgroups, files
from ..kernel.networks import remove_networks
from .docker_rates import remove_rates
from .groups import DOCKERS, PREFIX, PROCESSES, let_go
from .raw_store import Store


def group_names(cgroups: Cgroups, tag: str) -> set[str]:
    """The control groups of this instance's sandboxes and groups, known or not, wherever they are (``Cgroups.former_paths``)."""
    found: set[str] = set()
    top = f"terrarium-{tag}"
    for path in dict.fromkeys((*cgroups.paths(top).values(), *cgroups.former_paths(top).values())):
        for name in _inside(path):
            found.add(f"{top}/{name}")
            if name.startswith(PREFIX):
                found |= {f"{top}/{name}/{member}" for member in _inside(f"{path}/{name}")}
    return found


def dockers(names: set[str]) -> set[str]:
    """Of these, the control groups of Docker's containers and the groups that have one in them."""
    found = {name for name in names if DOCKERS.fullmatch(os.path.basename(name))}
    return found | {os.path.dirname(name) for name in found}


def _inside(path: str) -> list[str]:
    return [entry.name for entry in os.scandir(path) if entry.is_dir()] if os.path.isdir(path) else []


async def remove_everything(*, tag: str, data: str, run: str, cgroups: Cgroups) -> list[str]:
    """Every sandbox, their cgroups and networks, and the rates of Docker's links. Returns what could not be removed, in words.

    What is in a group ends with it, Docker's containers too; processes of the host that were put into one go back to the host.
    """
    store, left = Store(data), []
    top = f"terrarium-{tag}"
    for group in sorted(group_names(cgroups, tag), reverse=True):  # members before their groups
        if os.path.basename(group) == PROCESSES:
            let_go(os.path.dirname(group), cgroups)
        for paths in (cgroups.paths(group), cgroups.former_paths(group)):
            try:
                with contextlib.suppress(NotFound):
                    cgroups.kill(paths)
                await asyncio.to_thread(cgroups.remove, paths)
            except (TerrariumError, OSError) as error:
                left.append(f"control group {group}: {error}")
    for name in store.names():
        try:
            await asyncio.to_thread(store.remove, name)
        except (TerrariumError, OSError) as error:
            left.append(f"sandbox {name}: {error}")
    left += store.half_removed()
    try:
        for paths in (cgroups.paths(top), cgroups.former_paths(top)):
            await asyncio.to_thread(cgroups.remove, paths)
        for root in cgroups.elsewhere:
            await asyncio.to_thread(files.remove, f"{root}/{top}")
        await asyncio.to_thread(file_tree.clear_away, f"{data}/groups")
        await asyncio.to_thread(remove_rates, tag, data)
        await asyncio.to_thread(remove_networks, tag, f"{data}/state/network.json")
    except (TerrariumError, OSError) as error:
        left.append(str(error))
    return left
