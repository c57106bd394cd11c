# SPDX-License-Identifier: Apache-2.0
"""One installation and two hosts for all tests of this folder: what is killed in one test must not harm the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.installation import Installation
from tests.lab import Lab, LabHost


@pytest.fixture(scope="package")
def installation(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A served installation with short leases."""
    made = Installation(tmp_path_factory.mktemp("crash") / "home", lab)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no application at work when a test is over: they would slow down all that come after it."""
    names = [name for name in ("installation", "scaled_out") if name in request.fixturenames]
    made: list[Installation] = [request.getfixturevalue(name) for name in names]
    yield
    for one in made:
        one.site.quiet()


@pytest.fixture(scope="package")
def hosts(installation: Installation) -> list[tuple[LabHost, str]]:
    """Two registered hosts."""
    return [installation.site.host("crash-a"), installation.site.host("crash-b")]
