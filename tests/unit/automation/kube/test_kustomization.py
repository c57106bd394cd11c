# SPDX-License-Identifier: Apache-2.0
"""A kustomization keeps to its own directory and runs nothing."""

import os
from pathlib import Path

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import kustomization
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

from tests.hostile_kustomizations import HOSTILE, TOP, top


@pytest.mark.parametrize(
    "files",
    [
        *HOSTILE,
        {TOP: 3},
        {},
        "words",
        None,
    ],
)  # fmt: skip
def test_what_leads_outside_or_runs_something_is_refused(files: object) -> None:
    with pytest.raises(ReleaseError) as refused:
        kustomization.require(files)
    assert refused.value.error_key == "manifest_invalid"


def test_what_keeps_to_itself_passes() -> None:
    text = (
        "resources: [a.yaml, ./base]\npatches: [{path: patch.yaml}, {patch: 'x: y', target: {kind: A}}]\n"
        "patchesStrategicMerge: ['kind: A\n\n  x: y']\n"
        "configMapGenerator: [{name: b, files: [k=a.yaml], literals: [x=y]}]\n"
    )
    files = top(text, **{"patch.yaml": "x", "base/kustomization.yaml": "resources: [../a.yaml]"})
    assert set(kustomization.require(files)) == set(files)


def test_without_kubectl_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ReleaseError) as refused:
        kustomization.build(top("resources: [a.yaml]"))
    assert refused.value.error_key == "kubectl_missing"


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / TOP).write_text("resources: []")
    os.symlink("/etc/passwd", tmp_path / "a.yaml")
    with pytest.raises(ReleaseError, match="link"):
        kustomization.folder_files(tmp_path)
