# SPDX-License-Identifier: Apache-2.0
"""Manifests that mean harm, given to a real API server's release: refused by name, nothing made and nothing run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.kube import KubeApi

from .cluster_release import CONFIG, DEPLOYMENT, SERVICE, ClusterReleases

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300), pytest.mark.xdist_group("kube_api")]
ELSEWHERE = CONFIG.replace("{name: settings}", "{name: settings, namespace: kube-system}")
ROLE = "\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: evil}\nrules: []\n"
SPACE = "\napiVersion: v1\nkind: Namespace\nmetadata: {name: evil}\n"
CYCLE = "\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: &a {b: *a}\n"
DEEP = "\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: " + "[" * 100_000
TAGGED = (
    "\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: !!python/object/apply:os.system [id]\n"
)
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "another namespace": ({"manifests": ELSEWHERE}, "validation_error"),
    "cluster-scoped": ({"manifests": ROLE}, "validation_error"),
    "a namespace": ({"manifests": SPACE}, "validation_error"),
    "cyclic": ({"manifests": CYCLE}, "manifest_invalid"),
    "deep": ({"manifests": DEEP}, "manifest_invalid"),
    "tagged": ({"manifests": TAGGED}, "manifest_invalid"),
    "huge": ({"manifests": "#" * (9 * 1024 * 1024)}, "manifest_invalid"),
    "a path for a name": (
        {"manifests": CONFIG.replace("name: settings", "name: ../../../x")},
        "manifest_invalid",
    ),
    "a secret in a label": (
        {"manifests": CONFIG.replace("{name: settings}", '{name: a, labels: {x: "{{ password }}"}}')},
        "validation_error",
    ),
    "an expression": (
        {"manifests": CONFIG.replace("greeting }}", "greeting | lower }}")},
        "validation_error",
    ),
    "a project that is a selector": ({"project": "a,b=c"}, "validation_error"),
    "a namespace that is a path": ({"namespace": "../kube-system"}, "validation_error"),
    "a remote base": (
        {
            "manifests": None,
            "kustomization": {"files": {"kustomization.yaml": "resources: ['https://192.0.2.1/a']"}},
        },
        "manifest_invalid",
    ),
    "a plugin": (
        {
            "manifests": None,
            "kustomization": {"files": {"kustomization.yaml": "generators: [a.yaml]", "a.yaml": "x"}},
        },
        "manifest_invalid",
    ),
    "another strategy's parameter": ({"strategy_params": {"max_parallel": 1}}, "validation_error"),
    "nothing at all": ({"manifests": None}, "manifest_invalid"),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_by_name(name: str, kube_api: KubeApi, kube_namespace: str, tmp_path: Path) -> None:
    change, key = CASES[name]
    shop = ClusterReleases(kube_api.kubeconfig, kube_namespace, tmp_path)
    # By hand, with no preview before it: as far as a release could get.
    assert not shop.run("apply", {**shop.spec("rel_1"), **change})
    refused = shop.result("apply")
    assert (refused["error_key"], refused["changed"], refused["steps"]) == (key, False, [])
    assert refused["failure_domain"] == "preflight"
    made = kube_api.kubectl(["get", "all,configmap,secret", "-n", kube_namespace, "-o", "json"])
    names = [one["metadata"]["name"] for one in json.loads(made.stdout)["items"]]
    # The cluster's controllers put the certificates of their authorities into each namespace.
    assert [name for name in names if not name.endswith("-ca.crt")] == []


WRONG = {
    "unknown field": CONFIG + "unknown: 1\n",
    "unknown kind": "\napiVersion: example.org/v9\nkind: Evil\nmetadata: {name: a}\n",
    "wrong type": SERVICE.replace("port: 80", "port: many"),
    "selector without its pods": DEPLOYMENT.replace("matchLabels: {app: web}", "matchLabels: {app: other}"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_server_refuses_is_a_blocking_check(
    name: str, kube_api: KubeApi, kube_namespace: str, tmp_path: Path
) -> None:
    shop = ClusterReleases(kube_api.kubeconfig, kube_namespace, tmp_path)
    preview = shop.preview(shop.spec("rel_1", WRONG[name]))
    (check,) = [one for one in preview["checks"] if one["level"] == "blocking"]
    assert check["code"] == ("api_version_gone" if name == "unknown kind" else "manifest_invalid")
    assert check["hint"]
