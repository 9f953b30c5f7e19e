"""Network rates of Docker's containers: on the host's ends of their veths, as for sandboxes (kernel/shaping.py).

Docker makes new links at each start and for each network, so every look at a container compares: an ifb whose link has gone is
removed, a link that has come gets what was asked for. A container on several networks has the rate on each of its links.
"""

from __future__ import annotations

import glob
import logging
import threading
from collections.abc import Mapping
from typing import Any

from ..errors import TerrariumError, Unsupported
from ..kernel import peers, shaping
from ..spec import NET_LIMITS, LimitValue, whole
from .docker_kept import KeptLimits

Values = dict[str, LimitValue | None]
_NO_LINK = "It has no link of its own on this host."
log = logging.getLogger(__name__)


class DockerRates:
    """``tag`` names the ifbs of this instance; "" is for a daemon whose links can't be reached: all is locked.

    A change of a link's rates takes several steps, and looks come from several threads: one at a time.
    """

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._links: dict[str, dict[str, int]] = {}  # container → its links on the host → their indexes
        self._looks: dict[str, int] = {}  # container → number of its newest look
        self._lock = threading.Lock()

    def locked(self, host: Mapping[str, Any]) -> dict[str, str]:
        """Why a container with this record (HostConfig) has no rates, by limit; {} when it can have some."""
        mode = str(host.get("NetworkMode") or "")
        if not self._tag:
            why = "The panel can't reach the links of this daemon's containers."
        elif mode == "host":
            why = "It has the host's own network, and no link of its own."
        elif mode == "none":
            why = "It has no network."
        elif mode.startswith("container:"):
            why = "Its network is another container's: limit that one."
        else:
            return {}
        return dict.fromkeys(NET_LIMITS, why)

    def look(
        self, container_id: str, number: int, pid: int, host: Mapping[str, Any], wanted: Mapping[str, LimitValue | None]
    ) -> Values:
        """What its links have, after new ones got what is ``wanted``. ``pid`` 0: it does not run.

        ``number`` is the look's: one that comes after a newer one may know the pid of an earlier run, and changes nothing.
        """
        with self._lock:
            if number >= self._looks.get(container_id, 0):
                self._looks[container_id] = number
                self._compare(container_id, pid, host, wanted)
            return self.read(container_id)

    def _compare(self, container_id: str, pid: int, host: Mapping[str, Any], wanted: Mapping[str, LimitValue | None]) -> None:
        links: dict[str, int] = {}
        if pid and not self.locked(host):
            links = {name: shaping.link_index(name) for name in peers.links_to(pid)}
        before = self._links.get(container_id, {})
        for name, index in before.items():
            if links.get(name) != index:
                shaping.forget(self._tag, index)
        if links:
            self._links[container_id] = links
        else:
            self._links.pop(container_id, None)
        for name, index in links.items():
            if before.get(name) != index:
                self._begin(name, wanted)

    def _begin(self, link: str, wanted: Mapping[str, LimitValue | None]) -> None:
        """A link that has some already has them from before this worker."""
        has = shaping.read_rates(self._tag, link)
        for limit in NET_LIMITS:
            rate = wanted.get(limit)
            if rate is not None and has.get(limit) is None:
                try:
                    shaping.set_rate(self._tag, link, limit, whole(rate))
                except TerrariumError as error:
                    log.warning("could not set %s of %s again: %s", limit, link, error.message)

    def read(self, container_id: str) -> Values:
        """The kernel's: None where one of its links has none. {} when it has no link."""
        found = [shaping.read_rates(self._tag, link) for link in self._links.get(container_id, ())]
        if not found:
            return {}
        rates = {limit: [one.get(limit) for one in found] for limit in NET_LIMITS}
        return {
            limit: None if None in values else min(value for value in values if value is not None)
            for limit, values in rates.items()
        }

    def links(self, container_id: str) -> dict[str, int]:
        return self._links.get(container_id, {})

    def change(self, container_id: str, changes: Mapping[str, LimitValue | None]) -> None:
        """All of ``changes`` on all of its links, or none."""
        if not changes:
            return
        with self._lock:
            links = self._links.get(container_id)
            if not links:
                raise Unsupported(_NO_LINK, code="limit_locked", hint="Its network is not a bridge of this host.")
            before = {link: shaping.read_rates(self._tag, link) for link in links}
            try:
                for link in links:
                    for limit, rate in changes.items():
                        shaping.set_rate(self._tag, link, limit, None if rate is None else whole(rate))
            except TerrariumError:
                for link, rates in before.items():
                    for limit in changes:
                        shaping.set_rate(self._tag, link, limit, rates.get(limit))
                raise

    def forget(self, container_id: str, number: int) -> None:
        """It was removed. A look with a lower ``number`` may still come, and its pid may be another's by then."""
        with self._lock:
            self._looks[container_id] = number
            for index in self._links.pop(container_id, {}).values():
                shaping.forget(self._tag, index)

    def forget_looks(self, container_id: str) -> None:
        """Of one that was removed, once none is under way any more."""
        with self._lock:
            self._looks.pop(container_id, None)


def remove_rates(tag: str, data: str) -> None:
    """Take the rates off the links of all containers; they run on."""
    for path in glob.glob(f"{glob.escape(data)}/state/*_limits.json"):
        for link, index in KeptLimits(path).links():
            if shaping.link_index(link) == index:
                for limit in NET_LIMITS:
                    shaping.set_rate(tag, link, limit, None)
