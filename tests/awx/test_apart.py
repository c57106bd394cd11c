# SPDX-License-Identifier: Apache-2.0
"""The door could be taken out without a trace: only `bootstrap.DOORS` knows of it, and a worker carries little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from controlplane import bootstrap
from controlplane.api.app import create_app
from tests.awx.conftest import Door

ROOT = Path(bootstrap.__file__).parent


def test_without_its_line_nothing_of_it_is_there(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "DOORS", ())
    client = create_app(door.core).test_client()
    assert client.get("/api/v2/").status_code == 404
    assert client.get("/api/").status_code == 404
    assert client.get("/api/v1/openapi.json").status_code == 200
    assert bootstrap.scheduled() == ()


def test_nothing_else_imports_it() -> None:
    for file in ROOT.rglob("*.py"):
        if (ROOT / "awx") in file.parents:
            continue
        text = file.read_text()
        assert "controlplane.awx import" not in text, file
        assert "import controlplane.awx" not in text, file


def test_a_worker_does_not_carry_a_server() -> None:
    script = "import sys, controlplane.awx; sys.exit(1 if {'flask', 'marshmallow'} & set(sys.modules) else 0)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
