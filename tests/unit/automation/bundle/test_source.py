# SPDX-License-Identifier: Apache-2.0
"""What tasks are told of a bundle on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle import folder as folders
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import bundle_source

from .small_bundle import index, make


def asked(folder: Path, **more: Any) -> dict[str, Any]:
    return {**dict.fromkeys(bundle_source.ARGUMENTS), "bundle_dir": str(folder), **more}


def test_the_version_that_is_to_be_installed_is_told_with_its_status(tmp_path: Path) -> None:
    version = index()["runtimes"]["compose"]["versions"][0]
    runtimes = {"compose": {"versions": [version, {**version, "version": "3", "status": "preview"}]}}
    folder = make(tmp_path / "bundle", runtimes=runtimes)

    def chosen(**more: Any) -> Any:
        return bundle_source.verified(asked(folder, **more))["runtime"]

    assert chosen() is None
    assert chosen(runtime_type="compose") == {"version": "2.40", "status": "supported"}
    named = {"runtime_type": "compose", "runtime_version": "3"}
    assert chosen(**named) == {"version": "3", "status": "preview"}


def test_a_folder_that_cannot_be_read_is_told_as_such_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "bundle")
    known = bundle_source.verified(asked(folder))
    monkeypatch.setattr(folders, "MOST_FILES", 2)
    for look in (lambda: bundle_source.verified(asked(folder)), lambda: bundle_source.unchanged(known)):
        with pytest.raises(ReleaseError, match="holds more than 2 files") as caught:
            look()
        assert caught.value.error_key == "bundle_index_missing"
