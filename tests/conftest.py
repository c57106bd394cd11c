# SPDX-License-Identifier: Apache-2.0
"""What every test may ask for."""

import pytest
from hypothesis import settings

pytest_plugins = ["tests.lab.fixtures", "tests.lab.kube_fixtures", "tests.postgres", "tests.databases"]

# A machine under load is slow now and then; that is no fault of what is tested.
settings.register_profile("tidegate", deadline=None)
settings.load_profile("tidegate")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse to run tests of one group on several workers: they have one host, and take it from each other."""
    if getattr(config.option, "loadgroup", False):
        for item in items:
            if item.get_closest_marker("xdist_group") and "@" not in item.nodeid.rpartition("::")[2]:
                raise pytest.UsageError(f"pytest-xdist does not see the group of {item.nodeid}")
