# SPDX-License-Identifier: Apache-2.0
"""A bundle that is small and whole, to be spoilt by tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.bundle.inspection import inspect
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle.lock import lock

from tests.unit.bundle_folder import TOOL as TOOL
from tests.unit.bundle_folder import index as index
from tests.unit.bundle_folder import write


def make(folder: Path, locked: bool = True, **more: Any) -> Path:
    """Write the bundle, and lock it unless told otherwise."""
    write(folder, **more)
    if locked:
        assert lock(str(folder))[2] == []
    return folder


def faults(folder: Path, **how: Any) -> list[tuple[str, str]]:
    """Key and path of each fault."""
    return [(one.key, one.path) for one in inspect(str(folder), **how).faults]
