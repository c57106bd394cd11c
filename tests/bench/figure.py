# SPDX-License-Identifier: Apache-2.0
"""One measured figure beside what it is held against, and the table of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """`ours` and `against` in `unit`; what is judged is `ours / against`, or `ours` where there is nothing beside.

    Without `at_most` it is only told, to show what another figure is made of.
    """

    what: str
    ours: float
    unit: str
    at_most: float | None
    beside: str = ""
    against: float | None = None

    @property
    def judged(self) -> float:
        """Return what is held against `at_most`."""
        return self.ours if self.against is None else self.ours / self.against

    @property
    def holds(self) -> bool:
        """Say whether it is at most what it may be."""
        return self.at_most is None or self.judged <= self.at_most

    def as_dict(self) -> dict[str, Any]:
        """Return the figure as it is written to the file."""
        return {**asdict(self), "judged": round(self.judged, 4), "holds": self.holds}


def side_by_side(
    ours: Callable[[], float], others: Sequence[Callable[[], float]], rounds: int
) -> tuple[float, list[float]]:
    """Measure turn by turn, so that what else the machine does falls on all; return the medians.

    Each callable returns what it measured. A first turn of each is thrown away.
    """
    ours()
    for other in others:
        other()
    taken: list[float] = []
    beside: list[list[float]] = [[] for _ in others]
    for _ in range(rounds):
        taken.append(ours())
        for other, seconds in zip(others, beside, strict=True):
            seconds.append(other())
    return statistics.median(taken), [statistics.median(seconds) for seconds in beside]


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    table = Table(title="Tidegate beside the same by hand")
    for name in ("what", "measured", "beside", "measured", "ratio", "at most", ""):
        table.add_column(name, justify="right" if name in ("measured", "ratio", "at most") else "left")
    for figure in figures:
        has_other = figure.against is not None
        table.add_row(
            figure.what,
            f"{figure.ours:.3g} {figure.unit}",
            figure.beside,
            f"{figure.against:.3g} {figure.unit}" if has_other else "",
            f"{figure.judged:.2f} x" if has_other else "",
            f"{figure.at_most:g} {'x' if has_other else figure.unit}" if figure.at_most is not None else "",
            ("holds" if figure.holds else "MISSED") if figure.at_most is not None else "told only",
        )
    Console(width=150).print(table)
