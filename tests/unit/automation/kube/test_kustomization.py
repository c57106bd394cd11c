# SPDX-License-Identifier: Apache-2.0
"""A kustomization keeps to its own directory and runs nothing."""

import os
from pathlib import Path

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import kustomization
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

TOP = "kustomization.yaml"
OBJECT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def top(text: str, **files: str) -> dict[str, str]:
    return {TOP: text, "a.yaml": OBJECT, **files}


@pytest.mark.parametrize(
    "files",
    [
        top("resources: [https://example.org/a.yaml]"),
        top("resources: [github.com/example/repo?ref=main]"),
        top("resources: ['git@github.com:example/repo']"),
        top("resources: [../outside.yaml]"),
        top("resources: [/etc/passwd]"),
        top("resources: [missing.yaml]"),
        top("resources: [3]"),
        top("bases: [github.com/example/repo]"),
        top("components: [../../other]"),
        top("generators: [a.yaml]"),
        top("transformers: [a.yaml]"),
        top("validators: [a.yaml]"),
        top("helmCharts: [{name: a, repo: 'https://example.org'}]"),
        top("patches: [{path: ../a.yaml}]"),
        top("patches: [{path: /etc/passwd}]"),
        top("patchesStrategicMerge: [../a.yaml]"),
        top("replacements: [{path: ../../a.yaml}]"),
        top("openapi: {path: ../schema.json}"),
        top("configurations: [~/x.yaml]"),
        top("crds: ['file:///etc/passwd']"),
        top("configMapGenerator: [{name: a, files: [/etc/passwd]}]"),
        top("configMapGenerator: [{name: a, files: [key=../../etc/passwd]}]"),
        top("secretGenerator: [{name: a, envs: [/root/.env]}]"),
        top("secretGenerator: [{name: a, env: ../.env}]"),
        top("buildMetadata: [originAnnotations]"),
        top("resources: [base]", **{"base/kustomization.yml": "resources: [../../a.yaml]"}),
        top("resources: [base]", **{"base/Kustomization": "generators: [x.yaml]"}),
        top("Resources: ['http://192.0.2.1/x']"),
        top("Patches: [{path: 'http://192.0.2.1/x'}]"),
        top("patches: [{Path: 'http://192.0.2.1/x'}]"),
        top("Transformers: ['http://192.0.2.1/x']"),
        top("tran\u017fformers: ['http://192.0.2.1/x']"),
        top("BuildMetadata: [originAnnotations]"),
        top("configMapGenerator: [{name: a, Files: ['http://192.0.2.1/x']}]"),
        top("a: &a [*a]"),
        top("- a list"),
        {"a.yaml": OBJECT},
        {"../kustomization.yaml": "resources: []"},
        {"/kustomization.yaml": "resources: []"},
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
