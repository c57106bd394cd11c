# SPDX-License-Identifier: Apache-2.0
"""What every test may ask for."""

from hypothesis import settings

pytest_plugins = ["tests.lab.fixtures", "tests.lab.kube_fixtures", "tests.postgres"]

# A machine under load is slow now and then; that is no fault of what is tested.
settings.register_profile("tidegate", deadline=None)
settings.load_profile("tidegate")
