"""How a benchmark tells its figures: medians of interleaved runs, and ratios to a peer or a floor of the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Run = Callable[[], object]


@dataclass(frozen=True)
class Row:
    what: str
    value: float
    unit: str
    against: str = ""
    ratio: float | None = None


def interleave(runs: Mapping[str, Run], rounds: int) -> dict[str, list[float]]:
    """Each of ``runs`` once a round, in turn; the milliseconds that each took, sorted. The first round only warms up."""
    took: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            begun = time.perf_counter()
            run()
            if number:
                took[name].append((time.perf_counter() - begun) * 1000)
    return {name: sorted(values) for name, values in took.items()}


def median(values: list[float]) -> float:
    return statistics.median(values)


def p95(values: list[float]) -> float:
    return sorted(values)[max(0, round(len(values) * 0.95) - 1)]


def show(title: str, rows: list[Row]) -> None:
    """The headline is the last row."""
    print(f"\n{title}\n")
    width = max(len(row.what) for row in rows)
    for row in rows:
        ratio = f"{row.ratio:6.2f} × {row.against}" if row.ratio is not None else row.against
        print(f"  {row.what:<{width}}  {row.value:9.2f} {row.unit:<4}  {ratio}")
    print()
