# SPDX-License-Identifier: Apache-2.0
"""Small bundles for the commands that work on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controlplane.adapters.bundle import rules
from tests.unit.bundle_folder import write

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a locked bundle of this name; `more` are members of its index."""

    def made(name: str = "bundle", locked: bool = True, **more: Any) -> Path:
        folder = write(tmp_path / name, **more)
        if locked:
            assert rules.part("lock").lock(str(folder))[2] == []
        return folder

    return made
