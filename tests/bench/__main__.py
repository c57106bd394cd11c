# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.bench`: measure, print the table, write bench.json; exit 1 when a figure was missed."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import (
    awx,
    environments,
    ingest,
    kubernetes,
    memory,
    network_entry,
    releases,
    streams,
    timeline,
)
from tests.bench.figure import Figure, show
from tests.lab import Lab

PARTS: dict[str, Callable[[Path, int], list[Figure]]] = {
    "releases": lambda folder, rounds: releases.measure(folder, _lab(), rounds),
    "environments": lambda folder, rounds: environments.measure(folder, _lab(), rounds),
    "network_entry": lambda folder, rounds: network_entry.measure(folder, _lab(), rounds),
    "kubernetes": lambda folder, rounds: kubernetes.measure(folder, rounds),
    "ingest": lambda folder, _rounds: ingest.measure(folder),
    "timeline": lambda folder, _rounds: timeline.measure(folder),
    "streams": lambda folder, _rounds: streams.measure(folder),
    "awx": lambda folder, rounds: awx.measure(folder, rounds),
    "memory": lambda folder, _rounds: memory.measure(folder),
}
LAB = "bench"


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each release (9)")
    parser.add_argument("--output", type=Path, default=Path("bench.json"), help="where the figures go")
    asked = parser.parse_args()
    unknown = set(asked.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    try:
        with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
            for name in asked.parts or PARTS:
                print(f"measuring {name}", file=sys.stderr, flush=True)
                figures += PARTS[name](Path(folder), asked.rounds)
    finally:
        if not os.environ.get("TIDEGATE_LAB") and not {
            "releases",
            "environments",
            "network_entry",
        }.isdisjoint(asked.parts or PARTS):
            Lab(LAB).down()
    asked.output.write_text(json.dumps([figure.as_dict() for figure in figures], indent=2) + "\n")
    show(figures)
    return 0 if all(figure.holds for figure in figures) else 1


def _lab() -> Lab:
    lab = Lab(os.environ.get("TIDEGATE_LAB") or LAB)
    lab.up()
    return lab


if __name__ == "__main__":
    sys.exit(main())
