# SPDX-License-Identifier: Apache-2.0
"""Server and worker as processes of their own on PostgreSQL: whichever is killed, each release ends once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash import test_killed_in_each_state as states
from tests.crash.installation import KILLED, ScaledOut
from tests.crash.test_killed_in_each_state import Hosts
from tests.lab import Lab
from tests.postgres import drop_database, fresh_database

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.xdist_group("lab-crash-postgres"),
]
each_victim = pytest.mark.parametrize("victim", KILLED)


@pytest.fixture(scope="module")
def scaled_out(lab: Lab, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScaledOut]:
    """A served installation on a database of its own, with short leases."""
    url = fresh_database(postgres_url)
    made = ScaledOut(tmp_path_factory.mktemp("crash-postgres") / "home", lab, url)
    try:
        yield made
    finally:
        made.close()
        drop_database(url)


@pytest.fixture(scope="module")
def two_hosts(scaled_out: ScaledOut) -> Hosts:
    """Two registered hosts."""
    return [scaled_out.site.host("crash-pg-a"), scaled_out.site.host("crash-pg-b")]


@each_victim
@pytest.mark.parametrize(
    "state",
    [
        states.test_previewing,
        states.test_approved_and_waiting_for_the_lock,
        states.test_verifying,
        states.test_paused,
        states.test_being_cancelled,
    ],
    ids=lambda state: state.__name__.removeprefix("test_"),
)
def test_killed_while(scaled_out: ScaledOut, two_hosts: Hosts, victim: str, state: object) -> None:
    assert callable(state)
    state(scaled_out, two_hosts, victim)
