"""What was asked for beside what the kernel has, for each limit of the table, and whether the two have come apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..errors import InvalidInput
from ..kernel.cgroups import Cgroups, values
from ..spec import LIMITS, LimitChanges, LimitReading, LimitValue

Values = Mapping[str, LimitValue | None]
NOTHING: Mapping[str, str] = {}


def readings(
    requested: Values,
    paths: Mapping[str, str],
    cgroups: Cgroups,
    rates: Values = NOTHING,
    locked: Mapping[str, str] = NOTHING,
    only: Collection[str] | None = None,
) -> dict[str, LimitReading]:
    """Without ``paths`` there is no kernel's word. NotFound when the control group has gone.

    ``rates`` are the kernel's of its link; ``locked`` says of this container what ``cgroups`` says of the host.
    ``only`` these limits; None is all.
    """
    kernel = cgroups.read(paths, only) if paths else {}
    kernel |= {name: (rate, rate) for name, rate in rates.items()}
    locked, maximums, parts = {**cgroups.locked(), **locked}, cgroups.maximums(), cgroups.parts()
    found = {}
    for name, row in LIMITS.items():
        if only is not None and name not in only:
            continue
        now, effective = kernel.get(name, (None, None))
        asked, reason = requested.get(name), locked.get(name, "")
        drift = name in kernel and not reason and not values.same(name, asked, now)
        if drift and name == "cpuset" and asked is None:
            drift = now != cgroups.inherited_cpus(paths)
        found[name] = LimitReading(
            asked, now, effective, row.unit, maximums.get(name, row.maximum), reason, parts.get(name, ()), drift
        )  # fmt: skip
    return found


def check_changes(changes: LimitChanges, cgroups: Cgroups, locked: Mapping[str, str] = NOTHING) -> None:
    """InvalidInput for what this host can't enforce, or has not so much of; ``locked`` as above."""
    locked, maximums = {**cgroups.locked(), **locked}, cgroups.maximums()
    for name, value in changes.items():
        if value is not None and name in locked:
            raise InvalidInput(f"{name} can't be set on this host: {locked[name]}", code="limit_locked")
        if isinstance(value, (int, float)) and name in maximums and value > maximums[name]:
            raise InvalidInput(f"{name} can't be above {maximums[name]:g} here.", hint="Send null to clear the limit.")
