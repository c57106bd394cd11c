# SPDX-License-Identifier: Apache-2.0
"""Kustomizations that lead outside of their directory, run something, or are none: refused where they are packed, and
again where they are built."""

TOP = "kustomization.yaml"
OBJECT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def top(text: str, **files: str) -> dict[str, str]:
    """The files of a kustomization, with one object beside it."""
    return {TOP: text, "a.yaml": OBJECT, **files}


HOSTILE: list[dict[str, str]] = [
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
    top("configMapGenerator: [{name: a, envs: {b: c}}]"),
    top("configMapGenerator: [{name: a, files: [3]}]"),
    top("secretGenerator: {name: a, files: [/etc/passwd]}"),
    top("secretGenerator: [words]"),
    top("secretGenerator: 3"),
    top("secretGenerator: [{name: a, files: 3}]"),
    top("patches: [{path: [/etc/passwd]}]"),
    top("patchesJson6902: [{target: {kind: A, name: a}, path: missing.yaml}]"),
    top("openapi: {path: 'https://192.0.2.1/schema.json'}"),
    top("crds: ['https://192.0.2.1/crd.json']"),
    top("patchesStrategicMerge: [missing.yaml]"),
    top("a: &a [*a]"),
    top("- a list"),
    {"a.yaml": OBJECT},
    {"../kustomization.yaml": "resources: []"},
    {"/kustomization.yaml": "resources: []"},
]  # fmt: skip
