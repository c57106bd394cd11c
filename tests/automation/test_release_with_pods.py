# SPDX-License-Identifier: Apache-2.0
"""Releases to a cluster whose node runs the pods: waiting with progress, failing early, both colours, canaries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import hints

from tests.conformance.runtimes import OnCluster
from tests.lab.kube_cluster import KubeCluster
from tests.lab.lab import Lab

from .cluster_release import CONFIG, JOB, SECRET, ClusterReleases, actions, codes

pytestmark = [
    pytest.mark.lab,
    pytest.mark.kubernetes,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("kube_cluster"),
]
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: {{ replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: "{{ image }}"
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
"""
FRONT = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""
CRASHING = WEB.replace(
    "ports:",
    'command: ["/bin/sh", "-c", "echo the key is ${KEY}, without its words ${KEY#of:}; exit 3"]\n'
    '        env: [{name: KEY, value: "of:{{ password }}"}]\n        ports:',
)


@pytest.fixture
def shop(kube_cluster: KubeCluster, kube_cluster_namespace: str, lab: Lab, tmp_path: Path) -> ClusterReleases:
    for version in ("1", "2"):
        kube_cluster.load(lab.app_archive(version))
    kube_cluster.load(lab.app_archive("bad", healthy=False))
    return ClusterReleases(kube_cluster.api.kubeconfig, kube_cluster_namespace, tmp_path)


@pytest.fixture
def get(kube_cluster: KubeCluster, kube_cluster_namespace: str) -> Callable[..., Any]:
    def ask(*words: str) -> Any:
        done = kube_cluster.api.kubectl(
            ["get", "-n", kube_cluster_namespace, "-o", "json", *words], check=False
        )
        return json.loads(done.stdout) if done.returncode == 0 else None

    return ask


def web(
    shop: ClusterReleases, release_id: str, version: str = "1", replicas: int = 2, **more: Any
) -> dict[str, Any]:
    values = {"image": f"shop:{version}", "replicas": replicas}
    return shop.spec(release_id, *more.pop("parts", (CONFIG, WEB, FRONT)), variables=values, **more)


def answer(cluster: KubeCluster, get: Callable[..., Any], seconds: float = 10) -> str:
    """What the Service answers on the node. Right after pods went, the node's own rules may still be of before."""
    port = get("service", "web")["spec"]["ports"][0]["nodePort"]
    end = time.monotonic() + seconds
    while True:
        asked = ["curl", "-sS", "-m", "2", f"http://{cluster.node.address}:{port}/"]
        said = str(cluster.node.exec(asked, check=False).stdout).strip()
        if said or time.monotonic() > end:
            return said
        time.sleep(0.2)


def names(get: Callable[..., Any], kind: str = "deployments") -> list[str]:
    return sorted(one["metadata"]["name"] for one in get(kind)["items"])


def test_progress_is_told_while_waiting_and_the_new_version_answers(
    shop: ClusterReleases, get: Callable[..., Any], kube_cluster: KubeCluster
) -> None:
    shop.release(web(shop, "rel_1", replicas=3, strategy_params={"max_surge": 1, "max_unavailable": 0}), 1)
    assert "Deployment/web: 0/3 ready" in shop.said
    assert "Deployment/web: 3/3 ready" in shop.said
    assert shop.result("apply")["live"]["services"][0]["running"] == 3
    assert get("deployment", "web")["spec"]["strategy"]["rollingUpdate"] == {
        "maxSurge": 1,
        "maxUnavailable": 0,
    }
    assert "shop 1" in answer(kube_cluster, get)
    pods = names(get, "pods")
    assert (
        shop.release(
            web(shop, "rel_2", replicas=3, strategy_params={"max_surge": 1, "max_unavailable": 0}), 2
        )["changed"]
        is False
    )
    assert names(get, "pods") == pods
    shop.release(web(shop, "rel_3", "2", replicas=3), 3)
    assert "shop 2" in answer(kube_cluster, get)


def test_an_image_that_is_nowhere_fails_within_half_a_minute_and_is_rolled_back(
    shop: ClusterReleases, kube_cluster: KubeCluster, get: Callable[..., Any]
) -> None:
    stored = shop.previewed(web(shop, "rel_1"), 1)
    assert shop.run("apply", stored), shop.said
    spec = shop.previewed(web(shop, "rel_2", "no-such", health_timeout=120), 2)
    began = time.monotonic()
    assert not shop.run("apply", spec)
    assert time.monotonic() - began < 30
    failed = shop.result("apply")
    assert (failed["error_key"], failed["failure_domain"]) == ("image_missing", "runtime")
    assert "shop:no-such" in failed["diagnostics"]["summary"]
    assert failed["diagnostics"]["stage"] == "rollout"
    (row,) = failed["diagnostics"]["objects"]
    assert row["object"] == "Deployment/web"
    assert {one["reason"] for one in row["pods"]} == {"ImagePullBackOff"}
    assert row["conditions"]
    assert row["events"]
    assert "registry" in failed["diagnostics"]["hints"][0]
    assert "shop 1" in answer(kube_cluster, get)
    back = {**stored, "release_id": "rel_3", "compare_fingerprint": False, "fencing_token": 3}
    assert shop.run("rollback", back), shop.said
    assert "shop 1" in answer(kube_cluster, get)


def test_a_crash_loop_is_told_with_its_last_words_and_no_secret(shop: ClusterReleases) -> None:
    began = time.monotonic()
    spec = web(shop, "rel_1", parts=(CRASHING, CONFIG))
    assert not shop.run("apply", spec)
    assert time.monotonic() - began < 40
    failed = shop.result("apply")
    assert failed["error_key"] == "rollout_failed"
    (row,) = failed["diagnostics"]["objects"]
    assert {one["reason"] for one in row["pods"]} <= {"CrashLoopBackOff", "Error"}
    assert {one["exit_code"] for one in row["pods"]} == {3}
    assert any("the key is ***, without its words ***" in one["log_tail"] for one in row["pods"])
    assert "canary-secret-1" not in json.dumps(failed) + shop.said


def test_a_pod_that_never_gets_ready_times_out_with_counts(shop: ClusterReleases) -> None:
    shop.release(web(shop, "rel_1"), 1)
    assert not shop.run("apply", shop.previewed(web(shop, "rel_2", "bad", health_timeout=6), 2))
    failed = shop.result("apply")
    assert (failed["error_key"], failed["failure_domain"]) == ("rollout_timeout", "timeout")
    assert "/2 ready" in failed["diagnostics"]["summary"]
    assert any("readiness probe" in hint for hint in failed["diagnostics"]["hints"])


BROKEN = {
    "a key that is not there": (
        "env: [{name: A, valueFrom: {configMapKeyRef: {name: settings, key: gone}}}]",
        "CreateContainerConfigError",
        "rollout_failed",
    ),
    "a command that is not there": ('command: ["/no/such"]', "StartError", "rollout_failed"),
    "an image that may not be pulled": (
        "imagePullPolicy: Never\n        env: []",
        "ErrImageNeverPull",
        "image_missing",
    ),
    "an image that cannot be": ("env: []", "InvalidImageName", "image_missing"),
    "too little memory": (
        'command: ["/bin/sh", "-c", "tail /dev/zero"]\n        resources: {limits: {memory: 16Mi}}',
        "OOMKilled",
        "rollout_failed",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_get_better_is_told_soon_with_its_reason_and_a_hint(
    shop: ClusterReleases, what: str
) -> None:
    line, reason, key = BROKEN[what]
    tag = {"ErrImageNeverPull": "gone", "InvalidImageName": "No:Such:Thing"}.get(reason, "1")
    part = WEB.replace("ports:", f"{line}\n        ports:")
    began = time.monotonic()
    assert not shop.run("apply", web(shop, "rel_1", tag, 1, parts=(CONFIG, part), health_timeout=120))
    # A container that is started and ends is given up when it was started the third time: 10 s and 20 s later.
    assert time.monotonic() - began < (60 if reason == "OOMKilled" else 30)
    failed = shop.result("apply")
    assert failed["error_key"] == key
    (row,) = failed["diagnostics"]["objects"]
    # It depends on the moment of the look, which of the two a container that cannot be started is said to have.
    reasons = {"RunContainerError", "StartError"} if reason == "StartError" else {reason}
    assert reasons & {one["reason"] for one in row["pods"]}, row
    assert failed["diagnostics"]["hints"][0] in {hints.HINTS[one] for one in reasons}


def test_a_job_that_fails_is_told_with_its_last_words(shop: ClusterReleases, get: Callable[..., Any]) -> None:
    shop.release(web(shop, "rel_1", replicas=1), 1)
    failing = JOB.replace("suspend: true", "backoffLimit: 0").replace(
        "containers: [{name: migrate,",
        'containers: [{name: migrate, command: ["/bin/sh", "-c", "echo 0042 is missing; exit 7"],',
    )
    spec = web(shop, "rel_2", "1", 1, parts=(CONFIG, WEB, FRONT, failing), health_timeout=120)
    began = time.monotonic()
    assert not shop.run("apply", shop.previewed(spec, 2))
    assert time.monotonic() - began < 30
    failed = shop.result("apply")
    assert failed["error_key"] == "rollout_failed"
    (row,) = failed["diagnostics"]["objects"]
    assert row["object"] == "Job/migrate"
    assert any("0042 is missing" in one["log_tail"] and one["exit_code"] == 7 for one in row["pods"]), row
    assert hints.HINTS["BackoffLimitExceeded"] in failed["diagnostics"]["hints"]


WHOLE = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tides.%(group)s}
spec:
  group: %(group)s
  scope: Namespaced
  names: {kind: Tide, plural: tides, singular: tide}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {height: {type: integer}}}}
---
apiVersion: %(group)s/v1
kind: Tide
metadata: {name: high}
spec: {height: 3}
"""


def test_all_kinds_of_objects_by_playbook_alone(
    shop: ClusterReleases, get: Callable[..., Any], kube_cluster: KubeCluster
) -> None:
    group = f"{shop.namespace}.example"
    job = JOB.replace("  suspend: true\n", "").replace(
        "containers: [{name: migrate,", 'containers: [{name: migrate, command: ["/bin/sh", "-c", "exit 0"],'
    ).replace("{{ image }}", "shop:1")  # fmt: skip
    parts = (WHOLE % {"group": group}, CONFIG, SECRET, WEB, FRONT, job)

    def spec(release_id: str, tag: str = "1", **more: Any) -> dict[str, Any]:
        return web(shop, release_id, tag, 1, cluster_scoped=True, **{"parts": parts, **more})

    first = spec("rel_1")
    assert shop.run("apply", first), shop.said
    assert get(f"tides.{group}", "high")["spec"] == {"height": 3}
    assert get("job", "migrate")["status"]["succeeded"] == 1
    assert get("secret", "keys")
    assert "shop 1" in answer(kube_cluster, get)
    assert shop.run("apply", spec("rel_2", "2")), shop.said
    assert "shop 2" in answer(kube_cluster, get)
    assert shop.run("apply", spec("rel_3", "2", parts=tuple(one for one in parts if one is not FRONT)))
    assert shop.steps()["pruned"] == "succeeded"
    assert get("service", "web") is None
    began = time.monotonic()
    assert not shop.run("apply", spec("rel_4", "no-such"))
    assert time.monotonic() - began < 30
    assert shop.result("apply")["error_key"] == "image_missing"
    assert shop.run("rollback", {**first, "release_id": "rel_5"}), shop.said
    assert "shop 1" in answer(kube_cluster, get)
    kube_cluster.api.kubectl(["delete", "crd", f"tides.{group}"])


def test_a_quota_that_refuses_pods_is_told_at_once(shop: ClusterReleases, kube_cluster: KubeCluster) -> None:
    shop.release(web(shop, "rel_1"), 1)
    spec = shop.previewed(web(shop, "rel_2", replicas=4, health_timeout=120), 2)
    kube_cluster.api.kubectl(["create", "quota", "small", "-n", shop.namespace, "--hard=pods=2"])
    began = time.monotonic()
    assert not shop.run("apply", spec)
    assert time.monotonic() - began < 30
    failed = shop.result("apply")
    assert failed["error_key"] == "rollout_failed"
    assert "exceeded quota" in failed["diagnostics"]["summary"]
    assert "quota" in failed["diagnostics"]["hints"][0]


def test_blue_green_stands_beside_switches_and_goes_back_at_once(
    shop: ClusterReleases, get: Callable[..., Any], kube_cluster: KubeCluster
) -> None:
    params = {"strategy": "blue_green", "strategy_params": {"service": "web", "workload": "web"}}
    shop.release(web(shop, "rel_0"), 1)
    first = shop.previewed(web(shop, "rel_1", **params), 2)
    assert shop.run("apply", first), shop.said
    assert names(get) == ["web", "web-blue"]
    preview = shop.preview(web(shop, "rel_2", "2", **params))
    told = actions(preview)
    assert told["Deployment/web-green"] == "add"
    assert told["Deployment/web"] == "remove"
    assert told["Service/web"] == "change"
    shop.release(web(shop, "rel_2", "2", **params), 3)
    assert shop.steps()["switch"] == "succeeded"
    assert names(get) == ["web-blue", "web-green"]
    assert "shop 2" in answer(kube_cluster, get)
    pods = names(get, "pods")
    # One that does not get ready never gets the traffic.
    assert not shop.run("apply", shop.previewed(web(shop, "rel_3", "bad", health_timeout=5, **params), 4))
    assert "switch" not in shop.steps()
    assert "shop 2" in answer(kube_cluster, get)
    assert shop.release(web(shop, "rel_4", "2", **params), 5)["changed"] is False
    shop.release(web(shop, "rel_5", "1", **params), 6)
    assert "shop 1" in answer(kube_cluster, get)
    # The colour that was kept is as the release wants it: the Service is all that changes.
    again = shop.previewed(web(shop, "rel_6", "2", **params), 7)
    assert shop.run("rollback", again), shop.said
    assert shop.steps() == {"objects_applied": "unchanged", "rollout": "unchanged", "switch": "succeeded"}
    assert "shop 2" in answer(kube_cluster, get)
    assert set(pods) & set(names(get, "pods"))
    shop.release(web(shop, "rel_7", "1", strategy="blue_green",
                     strategy_params={"service": "web", "workload": "web", "keep_old_seconds": 0}), 8)  # fmt: skip
    assert names(get) == ["web-blue"]
    # And back to one Deployment, which takes over before the colour goes.
    shop.release(web(shop, "rel_8", "2"), 9)
    assert names(get) == ["web"]
    assert "shop 2" in answer(kube_cluster, get)


def test_a_canary_waits_for_people_grows_and_gets_everything(
    shop: ClusterReleases, get: Callable[..., Any], kube_cluster: KubeCluster
) -> None:
    params = {
        "strategy": "canary",
        "strategy_params": {"workload": "web", "steps": [25, 50], "pause_seconds": None},
    }
    shop.release(web(shop, "rel_1", replicas=3, **params), 1)
    assert names(get) == ["web"]
    spec = shop.previewed(web(shop, "rel_2", "2", replicas=3, **params), 2)
    assert codes(shop.result("preview")) == []
    assert shop.run("apply", spec), shop.said
    assert shop.result("apply")["paused"] is True
    assert get("deployment", "web-canary")["spec"]["replicas"] == 1
    assert get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1"
    assert shop.run("promote", {**spec, "fencing_token": 3}), shop.said
    assert shop.result("apply")["paused"] is True
    assert get("deployment", "web-canary")["spec"]["replicas"] == 3
    answers = {answer(kube_cluster, get) for _ in range(20)}
    assert len(answers) == 2
    assert shop.run("promote", {**spec, "fencing_token": 4}), shop.said
    assert "paused" not in shop.result("apply")
    assert names(get) == ["web"]
    assert "shop 2" in answer(kube_cluster, get)
    assert not shop.run("promote", {**spec, "fencing_token": 5})
    assert shop.result("apply")["error_key"] == "validation_error"


def test_a_canary_is_taken_back_by_people_and_by_its_gate(
    shop: ClusterReleases, get: Callable[..., Any], kube_cluster: KubeCluster
) -> None:
    params = {
        "strategy": "canary",
        "strategy_params": {"workload": "web", "steps": [50], "pause_seconds": None},
    }
    shop.release(web(shop, "rel_1"), 1)
    added = CONFIG.replace("settings", "added")
    spec = shop.previewed(web(shop, "rel_2", "2", parts=(CONFIG, WEB, FRONT, added), **params), 2)
    assert shop.run("apply", spec), shop.said
    assert get("configmap", "added")
    assert shop.run("abort", {**spec, "fencing_token": 3}), shop.said
    assert names(get) == ["web"]
    assert get("configmap", "added") is None
    assert shop.run("status", spec)
    assert shop.result("status")["release_id"] == "rel_1"
    assert not shop.run("abort", {**spec, "fencing_token": 4})
    # By its gate: pods that crash after a while, and pods that never get ready.
    watched = {
        "strategy": "canary",
        "strategy_params": {"workload": "web", "steps": [50], "pause_seconds": 8},
    }
    dying = WEB.replace("ports:", 'command: ["/bin/sh", "-c", "sleep 3; exit 4"]\n        ports:')
    dying = dying.split("        readinessProbe")[0]
    assert not shop.run(
        "apply", shop.previewed(web(shop, "rel_3", "2", parts=(CONFIG, dying, FRONT), **watched), 5)
    )
    failed = shop.result("apply")
    assert failed["error_key"] == "rollout_failed"
    assert failed["diagnostics"]["objects"][0]["object"] == "Deployment/web-canary"
    assert names(get) == ["web"]
    assert not shop.run("apply", shop.previewed(web(shop, "rel_4", "bad", health_timeout=4, **watched), 6))
    assert names(get) == ["web"]
    assert "shop 1" in answer(kube_cluster, get)
    fine = {"strategy": "canary", "strategy_params": {"workload": "web", "steps": [50], "pause_seconds": 2}}
    shop.release(web(shop, "rel_5", "2", **fine), 7)
    assert "shop 2" in answer(kube_cluster, get)
    assert names(get) == ["web"]


STORE = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store}
spec:
  replicas: {{ replicas }}
  serviceName: store
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: store
        image: "{{ image }}"
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
"""
AGENT = (
    STORE.replace("StatefulSet", "DaemonSet")
    .replace("store", "agent")
    .replace("  replicas: {{ replicas }}\n  serviceName: agent\n", "")
)


def images(get: Callable[..., Any], app: str) -> set[str]:
    """What the pods that are not going run."""
    found = [
        pod for pod in get("pods", "-l", f"app={app}")["items"] if "deletionTimestamp" not in pod["metadata"]
    ]
    return {pod["spec"]["containers"][0]["image"] for pod in found}


@pytest.mark.parametrize(
    ("part", "kind", "name", "count"),
    [
        pytest.param(STORE, "StatefulSet", "store", 3, id="stateful"),
        pytest.param(AGENT, "DaemonSet", "agent", 1, id="daemon"),
    ],
)
def test_stateful_and_daemon_sets_are_waited_for_until_every_pod_is_of_the_release(
    shop: ClusterReleases, get: Callable[..., Any], part: str, kind: str, name: str, count: int
) -> None:
    title = f"{kind}/{name}"
    shop.release(web(shop, "rel_1", replicas=count, parts=(part,)), 1)
    assert f"{title}: {count}/{count} ready" in shop.said
    assert shop.result("apply")["live"]["services"][0]["running"] == count
    assert len(get("pods", "-l", f"app={name}")["items"]) == count
    assert shop.release(web(shop, "rel_2", replicas=count, parts=(part,)), 2)["changed"] is False
    # One pod after another: the set is ready only when the last of them is new.
    shop.release(web(shop, "rel_3", "2", replicas=count, parts=(part,)), 3)
    assert f"{title}: 0/{count} ready" in shop.said
    assert images(get, name) == {"shop:2"}
    began = time.monotonic()
    assert not shop.run("apply", shop.previewed(web(shop, "rel_4", "no-such", count, parts=(part,)), 4))
    assert time.monotonic() - began < 40
    failed = shop.result("apply")
    assert failed["error_key"] == "image_missing"
    assert failed["diagnostics"]["objects"][0]["object"] == title
    # The way back has to get past the pod that never came up.
    assert shop.run("rollback", shop.previewed(web(shop, "rel_5", "2", count, parts=(part,)), 5)), shop.said
    assert images(get, name) == {"shop:2"}


def uids(get: Callable[..., Any], app: str) -> dict[str, str]:
    return {
        pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in get("pods", "-l", f"app={app}")["items"]
    }


def test_a_stateful_set_gets_past_a_pod_that_runs_and_is_never_ready(
    shop: ClusterReleases, get: Callable[..., Any], kube_cluster: KubeCluster, tmp_path: Path
) -> None:
    shop.release(web(shop, "rel_1", replicas=3, parts=(STORE,)), 1)
    before = uids(get, "store")
    assert not shop.run(
        "apply", shop.previewed(web(shop, "rel_2", "bad", 3, parts=(STORE,), health_timeout=6), 2)
    )
    assert shop.result("apply")["error_key"] == "rollout_timeout"
    broken = uids(get, "store")["store-2"]
    assert broken != before["store-2"]
    back = shop.previewed(web(shop, "rel_3", "1", 3, parts=(STORE,)), 3)
    (check,) = [one for one in shop.result("preview")["checks"] if one["code"] == "pod_in_the_way"]
    assert check["level"] == "warning"
    assert "StatefulSet/store waits for pod store-2" in check["message"]

    # Whoever may not delete pods is told which one to delete, while it is waited for and after.
    may = [one for one in OnCluster.rules() if one["resources"] != ["pods"] or one["verbs"] != ["delete"]]
    weak = ClusterReleases(
        kube_cluster.api.kubeconfig_for("weak", shop.namespace, may), shop.namespace, tmp_path / "weak"
    )
    assert not weak.run("rollback", {**back, "health_timeout": 25, "result_dir": str(weak.folder)})
    assert "store-2" in weak.said
    assert "somebody has to delete it" in weak.said
    failed = weak.result("apply")
    assert failed["error_key"] == "rollout_timeout"
    (row,) = failed["diagnostics"]["objects"]
    assert ("store-2", "EarlierRevision") in {(one["name"], one["reason"]) for one in row["pods"]}
    assert any("kubectl delete pod" in one for one in failed["diagnostics"]["hints"])
    assert uids(get, "store")["store-2"] == broken

    assert shop.run("rollback", {**back, "fencing_token": 4}), shop.said
    (step,) = [one for one in shop.result("apply")["steps"] if one["step"] == "stuck_pod_deleted"]
    assert (step["status"], step["detail"]["pod"]) == ("succeeded", "store-2")
    assert "not been ready for" in step["detail"]["why"]
    assert "pod store-2, of an earlier revision" in shop.said
    after = uids(get, "store")
    assert images(get, "store") == {"shop:1"}
    # Those that were well are the same pods still.
    assert {name: after[name] for name in ("store-0", "store-1")} == {
        name: before[name] for name in ("store-0", "store-1")
    }
    assert after["store-2"] not in (before["store-2"], broken)


def test_a_pod_of_an_earlier_revision_that_only_takes_its_time_is_not_deleted(
    shop: ClusterReleases, get: Callable[..., Any]
) -> None:
    slow = STORE.replace("periodSeconds: 1}", "periodSeconds: 1, initialDelaySeconds: 15}")
    assert not shop.run("apply", web(shop, "rel_1", "1", 1, parts=(slow,), health_timeout=3))
    shop.release(web(shop, "rel_2", "2", 1, parts=(STORE,)), 2)
    assert images(get, "store") == {"shop:2"}
    assert "stuck_pod_deleted" not in shop.steps()


def test_a_daemon_set_that_crashes_is_given_up_soon(shop: ClusterReleases) -> None:
    crashing = AGENT.replace(
        'image: "{{ image }}"', 'image: "{{ image }}"\n        command: ["/bin/sh", "-c", "exit 5"]'
    )
    began = time.monotonic()
    assert not shop.run("apply", web(shop, "rel_1", parts=(crashing,), health_timeout=120))
    assert time.monotonic() - began < 60
    failed = shop.result("apply")
    assert failed["error_key"] == "rollout_failed"
    assert {one["exit_code"] for one in failed["diagnostics"]["objects"][0]["pods"]} == {5}
