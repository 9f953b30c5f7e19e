"""Volumes of a Docker daemon, of its driver "local": list, create, remove, prune. Source: Docker Engine API 1.41, "Volume".

A volume is made by its name alone: the driver's options could bind any directory of the host, past the panel's policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ..errors import Conflict, NotFound
from .docker_client import DockerClient
from .docker_images import PRUNE_SECONDS
from .docker_spec import OWNER_LABEL
from .docker_words import Prunable, Volume


class DockerVolumes:
    def __init__(self, client: DockerClient, must_be_up: Callable[[], None]) -> None:
        self._client, self._must_be_up = client, must_be_up

    async def all(self, sizes: bool = False) -> list[Volume]:
        """By name. With ``sizes`` the daemon counts the bytes of every file, which takes its time."""
        self._must_be_up()
        found, containers = await self._client.call(lambda sdk: (sdk.volumes(), sdk.containers(all=True)))
        counted = await self._counted() if sizes else {}
        used: dict[str, list[str]] = {}
        for container in containers:
            for mount in container.get("Mounts") or ():
                if mount.get("Type") == "volume":
                    used.setdefault(str(mount.get("Name")), []).append(str(container.get("Id")))
        volumes = [
            _volume(one, used.get(name, []), counted.get(name, (None, 0))[0])
            for one in found.get("Volumes") or ()
            for name in (str(one.get("Name")),)
        ]
        return sorted(volumes, key=lambda volume: volume.name)

    async def _counted(self) -> dict[str, tuple[int | None, int]]:
        """Name → (bytes, how many containers have it); where the daemon does not count them, -1 of it is None here."""
        used = await self._client.call(lambda sdk: sdk.df(), PRUNE_SECONDS)
        found = {}
        for one in used.get("Volumes") or ():
            usage = one.get("UsageData") or {}
            size = usage.get("Size")
            found[str(one["Name"])] = (None if size is None or size < 0 else int(size), int(usage.get("RefCount") or 0))
        return found

    async def create(self, name: str, owner: str) -> Volume:
        """The one that there is when there is one of this name, as Docker has it."""
        self._must_be_up()
        labels = {OWNER_LABEL: owner} if owner else {}
        return _volume(await self._client.call(lambda sdk: sdk.create_volume(name, labels=labels), PRUNE_SECONDS), [], None)

    async def remove(self, name: str) -> None:
        """Conflict while a container has it."""
        self._must_be_up()
        await self._client.call(lambda sdk: sdk.remove_volume(name), PRUNE_SECONDS)

    async def prune(self, preview: bool) -> Prunable:
        """Volumes that no container has. What Docker takes differs by its version, so each is removed by its name."""
        self._must_be_up()
        sizes = {name: size or 0 for name, (size, users) in (await self._counted()).items() if users == 0}
        if not preview:
            for name in list(sizes):
                try:
                    await self.remove(name)
                except (Conflict, NotFound):  # somebody has begun to use it, or was quicker
                    del sizes[name]
        return Prunable(sorted(sizes), sum(sizes.values()))


def _volume(found: Mapping[str, Any], used_by: list[str], size: int | None) -> Volume:
    try:
        created = datetime.fromisoformat(str(found.get("CreatedAt"))).timestamp()
    except ValueError:
        created = None
    return Volume(
        name=str(found.get("Name") or ""), driver=str(found.get("Driver") or ""), path=str(found.get("Mountpoint") or ""),
        created_at=created, owner=str((found.get("Labels") or {}).get(OWNER_LABEL, "")), used_by=tuple(sorted(used_by)),
        size=size,
    )  # fmt: skip
