# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin that gives tests a lab: load it with `pytest_plugins = ["tests.lab.fixtures"]`.

- `lab` (session): the lab that `TIDEGATE_LAB` names, which stays as it is, or one of this run's own, taken
  down when the run ends. `TIDEGATE_LAB_KEEP=1` keeps it, under the name `pytest`, for the next run to find.
- `lab_host`: a host that is this test's alone, removed after it.

With pytest-xdist all workers share one lab; hosts are told apart by their names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import paths
from .command import LabError
from .host import LabHost
from .lab import Lab

RUN = "TIDEGATE_LAB_RUN"
OWN = re.compile(r"pytest-(\d+)")


def pytest_configure(config: pytest.Config) -> None:
    """Name this run's lab before any worker starts, so that they all inherit the name."""
    config.addinivalue_line("markers", "lab: needs real hosts (root, and Debian packages the first time)")
    if not hasattr(config, "workerinput"):
        os.environ[RUN] = "pytest" if os.environ.get("TIDEGATE_LAB_KEEP") == "1" else f"pytest-{os.getpid()}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take this run's lab down, once, when all workers are through."""
    name = os.environ.get(RUN, "")
    if not hasattr(config, "workerinput") and OWN.fullmatch(name) and (paths.home() / name).exists():
        Lab(name).down()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab that is up. Skips, naming what is missing, where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    _remove_leftovers()
    made = Lab(os.environ.get("TIDEGATE_LAB") or os.environ[RUN])
    try:
        made.up()
    except LabError as error:
        if "is not installed" in str(error):
            pytest.skip(f"the lab cannot be made here: {error}")
        raise
    yield made


@pytest.fixture
def lab_host(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Callable[..., LabHost]]:
    """Makes hosts that are this test's alone: `lab_host(docker=False)`; takes Lab.host's arguments."""
    made: list[LabHost] = []
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")

    def make(**how: Any) -> LabHost:
        key = paths.digest(request.node.nodeid, length=8)
        host = lab.host(f"{worker}-{key}-{len(made)}", **how)
        made.append(host)
        return host

    yield make
    for host in made:
        host.remove()


def _remove_leftovers() -> None:
    """Take down labs of runs that ended without doing so."""
    for folder in paths.home().glob("pytest-*"):
        match = OWN.fullmatch(folder.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            Lab(folder.name).down()
