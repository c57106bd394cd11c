# SPDX-License-Identifier: Apache-2.0
"""Releases to a real API server: nothing runs the pods here, everything else is what a cluster does."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.kube import KubeApi

from .cluster_release import (
    CONFIG,
    DEPLOYMENT,
    JOB,
    SECRET,
    SERVICE,
    ClusterReleases,
    actions,
    codes,
)

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300), pytest.mark.xdist_group("kube_api")]
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.%(group)s}
spec:
  group: %(group)s
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {size: {type: integer}}}}
"""
WIDGET = """
apiVersion: %(group)s/v1
kind: Widget
metadata: {name: first}
spec: {size: 3}
"""
CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""


@pytest.fixture
def shop(kube_api: KubeApi, kube_namespace: str, tmp_path: Path) -> ClusterReleases:
    return ClusterReleases(kube_api.kubeconfig, kube_namespace, tmp_path)


@pytest.fixture
def get(kube_api: KubeApi, kube_namespace: str) -> Callable[..., Any]:
    def ask(*words: str) -> Any:
        done = kube_api.kubectl(
            ["get", "-n", kube_namespace, "-o", "json", "--show-managed-fields", *words], check=False
        )
        return json.loads(done.stdout) if done.returncode == 0 else None

    return ask


def versions(get: Callable[..., Any], *kinds: str) -> dict[str, str]:
    """The resource version of every object that Tidegate made, but for its own inventory."""
    listed = get(
        ",".join(kinds or ("configmaps", "secrets", "services", "deployments", "jobs")),
        "-l",
        "dev.tidegate.project",
    )
    return {
        f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
        for one in listed["items"]
        if not one["metadata"]["name"].startswith("tidegate-")
    }


def test_check_mode_tells_what_would_change_and_changes_nothing(
    shop: ClusterReleases, get: Callable[..., Any]
) -> None:
    def foreseen(spec: dict[str, Any]) -> bool:
        """Whether `--check` says that something would change; every object stays as it is."""
        before = versions(get)
        assert shop.run("apply", spec, "--check"), shop.said
        assert versions(get) == before
        return bool(shop.result("apply")["changed"])

    first = shop.previewed(shop.spec("rel_1"), 1)
    assert foreseen(first)
    assert shop.run("apply", first), shop.said
    assert not foreseen(shop.previewed(shop.spec("rel_2"), 2))
    assert foreseen(shop.previewed(shop.spec("rel_3", variables={"greeting": "bye"}), 3))
    assert foreseen(shop.previewed(shop.spec("rel_4", CONFIG, SECRET, DEPLOYMENT, JOB), 4)), "one goes"


def test_first_release_no_change_update_prune_and_rollback(
    shop: ClusterReleases, get: Callable[..., Any]
) -> None:
    first = shop.spec("rel_1")
    preview = shop.preview(first)
    assert set(actions(preview).values()) == {"add"}
    assert preview["risk_facts"] == []
    stored = shop.previewed(first, 1)
    assert shop.run("apply", stored), shop.said
    assert shop.steps() == {"objects_applied": "succeeded", "rollout": "succeeded"}
    labels = get("deployment", "web")["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "tidegate"
    assert labels["dev.tidegate.release"] == "rel_1"
    assert "dev.tidegate.release" not in get("deployment", "web")["spec"]["template"]["metadata"]["labels"]

    before = versions(get)
    assert shop.release(shop.spec("rel_2"), 2)["changed"] is False
    assert set(shop.steps().values()) == {"unchanged"}
    assert versions(get) == before

    update = shop.spec("rel_3", CONFIG, SECRET, DEPLOYMENT, JOB, variables={"greeting": "bye"})
    told = {row["name"]: row for row in shop.preview(update)["services"]}
    assert told["ConfigMap/settings"]["changes"] == [
        {"path": "data.greeting", "before": "hello", "after": "bye"}
    ]
    assert told["Service/web"]["action"] == "remove"
    assert told["Deployment/web"]["action"] == "none"
    assert "deletes" in shop.result("preview")["risk_facts"]
    shop.release(update, 3)
    assert get("service", "web") is None
    after = versions(get)
    assert {name for name in before if after.get(name) != before[name]} == {
        "ConfigMap/settings",
        "Service/web",
    }
    assert get("configmap", "settings")["metadata"]["labels"]["dev.tidegate.release"] == "rel_3"

    back = {**stored, "release_id": "rel_4", "fencing_token": None, "compare_fingerprint": False}
    assert actions(shop.preview(back))["Service/web"] == "add"
    assert shop.run("rollback", {**back, "fencing_token": 4}), shop.said
    assert get("configmap", "settings")["data"] == {"greeting": "hello"}
    assert get("service", "web") is not None
    assert shop.run("status", back)
    status = shop.result("status")
    assert status["release_id"] == "rel_4"
    assert {row["name"] for row in status["services"]} == {"Deployment/web", "Job/migrate"}


def test_definitions_come_before_what_is_of_their_kind(
    shop: ClusterReleases, get: Callable[..., Any], kube_api: KubeApi
) -> None:
    names = {"group": f"{shop.namespace}.example.org"}
    spec = shop.spec("rel_1", WIDGET % names, CONFIG, CRD % names, cluster_scoped=True)
    preview = shop.preview(spec)
    assert codes(preview) == []
    assert codes(preview, "info") == ["definition_first"]
    shop.release(spec, 1)
    assert get("widgets." + names["group"], "first")["spec"] == {"size": 3}
    assert shop.release({**spec, "release_id": "rel_2"}, 2)["changed"] is False
    # Without its kind the release prunes the widget, and never the definition.
    shop.release(shop.spec("rel_3", CONFIG, cluster_scoped=True), 3)
    assert get("widgets." + names["group"], "first") is None
    assert get("crd", "widgets." + names["group"]) is not None
    kube_api.kubectl(["delete", "crd", "widgets." + names["group"]])


def test_a_namespace_of_the_releases_own(shop: ClusterReleases, kube_api: KubeApi) -> None:
    own = f"{shop.namespace}-own"
    document = f"\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {own}}}\n"
    inside = {"namespace": own, "cluster_scoped": True}
    assert codes(shop.preview(shop.spec("rel_0", CONFIG, namespace=own))) == ["namespace_missing"]
    shop.release(shop.spec("rel_1", CONFIG, document, **inside), 1)
    assert shop.release(shop.spec("rel_2", CONFIG, document, **inside), 2)["changed"] is False
    preview = shop.preview(shop.spec("rel_3", CONFIG, **inside))
    assert (codes(preview), codes(preview, "info")) == ([], ["not_pruned"])
    kube_api.kubectl(["delete", "namespace", own, "--wait=false"])


def test_a_field_that_moved_after_the_preview_is_told_with_who_did_it(
    shop: ClusterReleases, get: Callable[..., Any], kube_api: KubeApi
) -> None:
    shop.release(shop.spec("rel_1"), 1)
    spec = shop.previewed(shop.spec("rel_2", variables={"greeting": "bye"}), 2)
    kube_api.kubectl(["scale", "deployment/web", "-n", shop.namespace, "--replicas=2"])
    before = versions(get)
    assert not shop.run("apply", spec)
    failed = shop.result("apply")
    assert failed["error_key"] == "preview_stale"
    assert failed["detail"]["moved"] == ["Deployment/web spec.replicas (kubectl)"]
    assert (failed["changed"], failed["steps"]) == (False, [])
    assert versions(get, "configmaps") == {k: v for k, v in before.items() if k.startswith("ConfigMap")}
    # The stored release previewed again is what tells drift.
    drift = shop.preview({**spec, "release_id": "rel_1"})
    (row,) = [one for one in drift["services"] if one["name"] == "Deployment/web"]
    assert {"path": "spec.replicas", "before": 2, "after": 0} in row["changes"]
    assert codes(drift) == ["field_conflict"]


def test_content_counts_where_there_is_no_generation(shop: ClusterReleases, kube_api: KubeApi) -> None:
    shop.release(shop.spec("rel_1"), 1)
    spec = shop.previewed(shop.spec("rel_2", variables={"greeting": "bye"}), 2)
    kube_api.kubectl(["label", "service/web", "-n", shop.namespace, "seen=yes"])
    patch = '{"data":{"greeting":"other"}}'
    kube_api.kubectl(["patch", "configmap/settings", "-n", shop.namespace, "--type=merge", "-p", patch])
    assert not shop.run("apply", spec)
    moved = shop.result("apply")["detail"]["moved"]
    assert "ConfigMap/settings data.greeting (kubectl-patch)" in moved
    assert "Service/web metadata.labels.seen (kubectl-label)" in moved


def test_fields_of_others_are_left_unless_the_release_forces(
    shop: ClusterReleases, get: Callable[..., Any], kube_api: KubeApi
) -> None:
    shop.release(shop.spec("rel_1"), 1)
    other = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 7},
    }
    words = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=other-team",
        "-n",
        shop.namespace,
        "-f",
        "-",
    ]
    kube_api.kubectl(words, input=json.dumps(other))
    spec = shop.spec("rel_2", variables={"replicas": 1})
    (check,) = [one for one in shop.preview(spec)["checks"] if one["level"] == "blocking"]
    assert check["code"] == "field_conflict"
    assert "Deployment/web: spec.replicas is owned by other-team" in check["message"]
    assert not shop.run("apply", {**spec, "fencing_token": 2})
    assert shop.result("apply")["error_key"] == "field_conflict"
    assert get("deployment", "web")["spec"]["replicas"] == 7
    forced = {**spec, "variables": {}, "strategy_params": {"force_conflicts": True}}
    preview = shop.preview(forced)
    assert (codes(preview), codes(preview, "warning")) == ([], ["field_conflict"])
    assert "field_takeover" in preview["risk_facts"]
    assert "replica_loss" in preview["risk_facts"]
    shop.release(forced, 3)
    assert get("deployment", "web")["spec"]["replicas"] == 0


def test_a_rollback_by_hand_takes_over_what_somebody_scaled(
    shop: ClusterReleases, get: Callable[..., Any], kube_api: KubeApi
) -> None:
    first = shop.spec("rel_1", variables={"greeting": "first"})
    assert shop.run("apply", first), shop.said
    assert shop.run("apply", shop.spec("rel_2", variables={"greeting": "second"})), shop.said
    kube_api.kubectl(["scale", "deployment/web", "--replicas=3", "-n", shop.namespace])
    assert not shop.run("rollback", first)
    result = shop.result("apply")
    assert result["error_key"] == "field_conflict"
    (hint,) = result["diagnostics"]["hints"]
    assert "force_conflicts: true" in hint and "strategy_params" in hint
    assert get("configmap", "settings")["data"] == {"greeting": "second"}
    assert shop.run("rollback", {**first, "strategy_params": {"force_conflicts": True}}), shop.said
    assert get("deployment", "web")["spec"]["replicas"] == 0
    assert get("configmap", "settings")["data"] == {"greeting": "first"}


def test_secrets_are_shown_nowhere(shop: ClusterReleases) -> None:
    known = ["canary-secret-1", "canary-secret-2", "not a real one", "Y2FuYXJ5LXNlY3JldC"]
    shop.release(shop.spec("rel_1"), 1)
    preview = shop.preview(shop.spec("rel_2", variables={"password": "canary-secret-2"}))
    rows = {row["name"]: row["changes"] for row in preview["services"]}
    assert [row["path"] for row in rows["Secret/keys"]] == ["data.password"]
    assert [row["path"] for row in rows["Deployment/web"]] == [
        "spec.template.spec.containers[web].env[DB_KEY].value"
    ]
    assert all(
        str(row[side]).startswith("hmac:") for row in rows["Secret/keys"] for side in ("before", "after")
    )
    # A rollback's preview still knows what was hidden when the secret is no variable any more.
    plain = DEPLOYMENT.replace("{{ password }}", "plain-now")
    shop.preview(shop.spec("rel_3", CONFIG, SECRET, plain, SERVICE, JOB))
    texts = [shop.said]
    for path in shop.folder.glob("lab.*.json"):
        document = json.loads(path.read_text())
        document.pop("rendered", None)
        texts.append(json.dumps(document))
        assert path.stat().st_mode & 0o777 == 0o600
    assert not [secret for secret in known if any(secret in text for text in texts)]


def test_a_secret_that_is_spelled_like_an_objects_name_does_not_change_what_a_preview_binds(
    shop: ClusterReleases,
) -> None:
    preview = shop.preview(shop.spec("rel_1", CONFIG, SECRET, variables={"password": "settings"}))
    assert set(preview["fingerprint_parts"]) == {"ConfigMap/settings", "Secret/keys"}


def test_a_lower_token_is_refused_and_an_own_release_does_not_compare(shop: ClusterReleases) -> None:
    spec = shop.previewed(shop.spec("rel_1"), 10)
    assert shop.run("apply", spec), shop.said
    late = shop.previewed(shop.spec("rel_2", variables={"greeting": "bye"}), 9)
    assert not shop.run("apply", late)
    assert shop.result("apply")["error_key"] == "target_locked"
    assert shop.steps() == {}
    # Taken up again after its worker was lost: what moved is its own work.
    assert shop.run("apply", {**spec, "fencing_token": 11}), shop.said
    assert shop.result("apply")["changed"] is False


def test_what_was_made_by_others_is_never_pruned(
    shop: ClusterReleases, get: Callable[..., Any], kube_api: KubeApi
) -> None:
    shop.release(shop.spec("rel_1", CONFIG, SERVICE, CLAIM), 1)
    kube_api.kubectl(["label", "service/web", "-n", shop.namespace, "dev.tidegate.project-", "--overwrite"])
    preview = shop.preview(shop.spec("rel_2", CONFIG))
    assert "remove" not in actions(preview).values()
    assert codes(preview, "info") == ["not_pruned"]
    shop.release(shop.spec("rel_2", CONFIG), 2)
    assert get("service", "web")
    assert get("pvc", "data")
    shop.release(shop.spec("rel_3", CONFIG, prune_kinds=["PersistentVolumeClaim"]), 3)
    assert "deletionTimestamp" in (get("pvc", "data") or {"metadata": {"deletionTimestamp": ""}})["metadata"]


def test_a_job_that_runs_something_else_is_made_anew(shop: ClusterReleases, get: Callable[..., Any]) -> None:
    shop.release(shop.spec("rel_1", JOB), 1)
    uid = get("job", "migrate")["metadata"]["uid"]
    spec = shop.spec("rel_2", JOB, variables={"image": "shop:2"})
    preview = shop.preview(spec)
    assert codes(preview) == []
    assert codes(preview, "warning") == ["image_unpinned", "job_replaced"]
    assert preview["risk_facts"] == ["image_unpinned"]
    (row,) = preview["services"]
    assert [one["path"] for one in row["changes"]] == ["spec.template.spec.containers[migrate].image"]
    shop.release(spec, 2)
    assert get("job", "migrate")["metadata"]["uid"] != uid
    assert shop.release(shop.spec("rel_3", JOB, variables={"image": "shop:2"}), 3)["changed"] is False


def test_checks_of_the_namespace(shop: ClusterReleases, kube_api: KubeApi) -> None:
    quota = ["create", "quota", "small", "-n", shop.namespace, "--hard=pods=2,configmaps=1"]
    kube_api.kubectl(quota)
    pulling = DEPLOYMENT.replace(
        "terminationGrace", "imagePullSecrets: [{name: pull}]\n      terminationGrace"
    )
    old = "\napiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: a}\nspec: {}\n"
    preview = shop.preview(shop.spec("rel_1", CONFIG, pulling, old, variables={"replicas": 3}))
    assert codes(preview) == ["api_version_gone", "pull_secret_missing", "quota_exceeded"]
    assert all(one["hint"] for one in preview["checks"])


def test_a_credential_that_may_too_little_is_told_what(shop: ClusterReleases, kube_api: KubeApi) -> None:
    rules = [
        {"apiGroups": ["", "apps"], "resources": ["configmaps", "services", "deployments"], "verbs": ["*"]}
    ]
    shop.kubeconfig = kube_api.kubeconfig_for("deployer", shop.namespace, rules=rules, kind="token")
    preview = shop.preview(shop.spec("rel_1", CONFIG, SERVICE, DEPLOYMENT))
    assert codes(preview) == []
    shop.release(shop.spec("rel_1", CONFIG, SERVICE, DEPLOYMENT), 1)
    assert not shop.run("preview", shop.spec("rel_2"))
    failed = shop.result("preview")
    assert failed["error_key"] == "cluster_permission_insufficient"
    assert failed["failure_domain"] == "auth"
    assert "secrets" in failed["diagnostics"]["summary"] or "jobs" in failed["diagnostics"]["summary"]


def test_a_cluster_that_is_not_there(shop: ClusterReleases, tmp_path: Path) -> None:
    text = shop.kubeconfig.read_text()
    shop.kubeconfig = tmp_path / "kubeconfig"
    document = json.loads(text) if text.startswith("{") else None
    address = text.split("https://")[1].split("\n")[0].strip('",')
    shop.kubeconfig.write_text(text.replace(address, "127.0.0.1:1"))
    assert document is None or document["clusters"]
    assert not shop.run("preview", shop.spec("rel_1"))
    assert shop.result("preview")["error_key"] == "cluster_unreachable"
    assert shop.result("preview")["failure_domain"] == "connection"


def test_a_kustomization_is_rendered(shop: ClusterReleases, get: Callable[..., Any]) -> None:
    files = {
        "kustomization.yaml": "resources: [base, extra.yaml]\nnamePrefix: a-\nimages: [{name: shop, newTag: '7'}]\n"
        "configMapGenerator: [{name: made, files: [data/x.txt]}]\n",
        "base/kustomization.yaml": "resources: [web.yaml]\n",
        "base/web.yaml": DEPLOYMENT.replace("{{ image }}", "shop:1").replace("{{ replicas }}", "0"),
        "extra.yaml": CONFIG,
        "data/x.txt": "content",
    }
    spec = {**shop.spec("rel_1"), "manifests": None, "kustomization": {"files": files}}
    preview = shop.preview(spec)
    assert {"Deployment/a-web", "ConfigMap/a-settings"} < set(actions(preview))
    shop.release(spec, 1)
    assert get("deployment", "a-web")["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:7"
    assert get("configmap", "a-settings")["data"] == {"greeting": "hello"}


def test_variables_in_the_generators_of_a_kustomization_are_filled_in(
    shop: ClusterReleases, get: Callable[..., Any]
) -> None:
    long = "x" * 80
    files = {
        "kustomization.yaml": "generatorOptions: {disableNameSuffixHash: true}\n"
        "secretGenerator: [{name: keys, literals: ['pw={{ password }}'], envs: [keys.env], files: [whole.txt]}]\n"
        "configMapGenerator: [{name: settings, literals: ['greeting={{ greeting }}']}]\n",
        "keys.env": f"dsn={long}{{{{ password }}}}@db\n",
        "whole.txt": "count {{ replicas }}\n",
    }
    spec = {**shop.spec("rel_1"), "manifests": None, "kustomization": {"files": files}}
    preview = shop.preview(spec)
    shop.release(spec, 1)
    held = {key: base64.b64decode(value).decode() for key, value in get("secret", "keys")["data"].items()}
    assert held == {
        "pw": "canary-secret-1", "dsn": f"{long}canary-secret-1@db", "whole.txt": "count 0\n",
    }  # fmt: skip
    assert get("configmap", "settings")["data"] == {"greeting": "hello"}
    preview.pop("rendered")
    told = json.dumps([preview, shop.result("apply"), shop.said])
    assert "canary-secret-1" not in told
    assert get("secret", "keys")["data"]["pw"] not in told


def test_by_hand_without_a_preview(shop: ClusterReleases, get: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "manifests.yaml"
    path.write_text(CONFIG + "---" + SERVICE)
    spec = shop.spec("rel_1")
    by_hand = {**spec, "manifests_file": str(path)}
    del by_hand["manifests"]
    assert shop.run("apply", by_hand), shop.said
    assert get("service", "web")
    path.write_text(CONFIG + "---" + SERVICE.replace("port: 80", "port: 99999"))
    assert not shop.run("apply", {**by_hand, "variables": {"greeting": "bye"}})
    assert shop.result("apply")["error_key"] == "manifest_invalid"
    # Nothing is touched when anything of it would be refused.
    assert get("configmap", "settings")["data"] == {"greeting": "hello"}
    assert shop.run("cancel", spec)
    assert shop.result("cancel")["ended"] is True


def test_values_that_look_like_templates_are_never_evaluated(
    shop: ClusterReleases, get: Callable[..., Any], tmp_path: Path
) -> None:
    evil = "{{ lookup('pipe', 'touch %s') }}" % (tmp_path / "pwned")
    shop.release(shop.spec("rel_1", CONFIG, variables={"greeting": evil}), 1)
    assert get("configmap", "settings")["data"]["greeting"] == evil
    assert not (tmp_path / "pwned").exists()


COLOURS = {"service": "web", "workload": "web"}


def both(shop: ClusterReleases, release_id: str, greeting: str, **params: Any) -> dict[str, Any]:
    """Blue/green; no node runs the pods here, so there are none."""
    labelled = DEPLOYMENT.replace("labels: {app: web}", 'labels: {app: web, said: "{{ greeting }}"}')
    asked = {"strategy": "blue_green", "strategy_params": {**COLOURS, **params}}
    return shop.spec(release_id, CONFIG, labelled, SERVICE, variables={"greeting": greeting}, **asked)


def colour_of(get: Callable[..., Any]) -> str:
    return str(get("service", "web")["spec"]["selector"]["dev.tidegate.colour"])


def deployments(get: Callable[..., Any]) -> list[str]:
    return sorted(one["metadata"]["name"] for one in get("deployments")["items"])


def test_blue_green_ends_at_its_switch_and_what_it_keeps_is_switched_back_to_or_retired(
    shop: ClusterReleases, get: Callable[..., Any], kube_api: KubeApi
) -> None:
    shop.release(both(shop, "rel_1", "one"), 1)
    began = time.time()
    done = shop.release(both(shop, "rel_2", "two", keep_old_seconds=3600), 2)
    assert time.time() - began < 120
    assert 3500 < done["kept_until"] - began < 3800
    assert deployments(get) == ["web-blue", "web-green"]
    retiring = both(shop, "rel_2", "two", keep_old_seconds=3600)
    # Its time is not over.
    assert shop.run("retire", {**retiring, "fencing_token": 3}), shop.said
    assert shop.result("apply")["changed"] is False
    assert deployments(get) == ["web-blue", "web-green"]
    blue = get("deployment", "web-blue")["metadata"]["uid"]
    shop.release(both(shop, "rel_3", "one", keep_old_seconds=1), 4)
    assert colour_of(get) == "blue"
    assert shop.steps() == {"objects_applied": "succeeded", "rollout": "unchanged", "switch": "succeeded"}
    assert get("deployment", "web-blue")["metadata"]["uid"] == blue
    # The release before does not judge what this one keeps; nor is what has the traffic deleted.
    assert shop.run("retire", {**retiring, "fencing_token": 5}), shop.said
    assert deployments(get) == ["web-blue", "web-green"]
    last = both(shop, "rel_3", "one", keep_old_seconds=1)
    green = '{"spec":{"selector":{"dev.tidegate.colour":"green"}}}'
    kube_api.kubectl(["patch", "service/web", "-n", shop.namespace, "-p", green])
    assert not shop.run("retire", {**last, "fencing_token": 6})
    assert shop.result("apply")["error_key"] == "conflict"
    assert deployments(get) == ["web-blue", "web-green"]
    kube_api.kubectl(["patch", "service/web", "-n", shop.namespace, "-p", green.replace("green", "blue")])
    assert shop.run("retire", {**last, "fencing_token": 7}), shop.said
    assert shop.steps() == {"pruned": "succeeded"}
    assert deployments(get) == ["web-blue"]
    assert shop.run("status", last), shop.said
    assert (shop.result("status")["kept"], shop.result("status")["kept_until"]) == ([], None)
