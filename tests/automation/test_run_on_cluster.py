# SPDX-License-Identifier: Apache-2.0
"""What a run in a cluster does when something happens between two of its steps. No node runs pods here."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import (
    canary_run,
    inventory,
    kubeconfig,
    operation,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.hold import Hold
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.session import ApiError, Session
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

from tests.lab.kube import KubeApi

from .cluster_release import CONFIG, DEPLOYMENT, SERVICE
from .cluster_run import ClusterRuns, before, open_session

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(120), pytest.mark.xdist_group("kube_api")]
ADDED = CONFIG.replace("settings", "added")
BLUE_GREEN = {"strategy": "blue_green", "strategy_params": {"service": "web", "workload": "web"}}


@pytest.fixture
def shop(kube_api: KubeApi, kube_namespace: str) -> Iterator[ClusterRuns]:
    with open_session(kube_api) as session:
        yield ClusterRuns(kube_api, session, kube_namespace)


def test_a_run_that_was_overtaken_does_not_switch_even_when_it_had_nothing_to_write(
    shop: ClusterRuns,
) -> None:
    shop.release(shop.spec("rel_1", CONFIG, DEPLOYMENT, SERVICE, **BLUE_GREEN), 1)
    # Both colours are there: of the way back only the Service is changed.
    shop.release(
        shop.spec("rel_2", CONFIG, DEPLOYMENT, SERVICE, variables={"image": "shop:2"}, **BLUE_GREEN), 2
    )
    back = shop.spec("rel_2", CONFIG, DEPLOYMENT, SERVICE, **BLUE_GREEN)
    run = shop.begin(back, 3)
    before(run, "wait", lambda: shop.overtake(4))
    with pytest.raises(ReleaseError) as refused:
        operation.switch(run)
    assert refused.value.error_key == "target_locked"
    assert shop.get("service", "web")["spec"]["selector"]["dev.tidegate.colour"] == "green"


def test_a_run_that_was_overtaken_prunes_nothing(shop: ClusterRuns) -> None:
    shop.release(shop.spec("rel_1", CONFIG, ADDED), 1)
    run = shop.begin(shop.spec("rel_2", CONFIG), 2)
    before(run, "wait", lambda: shop.overtake(3))
    with pytest.raises(ReleaseError) as refused:
        operation.roll(run)
    assert refused.value.error_key == "target_locked"
    assert shop.get("configmap", "added")


def test_what_an_older_run_of_the_same_release_wrote_meanwhile_is_not_forgotten(shop: ClusterRuns) -> None:
    shop.release(shop.spec("rel_1", CONFIG), 1)
    lost = shop.begin(shop.spec("rel_2", CONFIG, ADDED), 2)
    taken_up = shop.begin(shop.spec("rel_2", CONFIG), 3)
    operation.take(lost, objects=lost.union())
    operation.take(taken_up, objects=taken_up.union())
    assert "added" in {one.name for one in shop.held().objects}
    other = shop.begin(shop.spec("rel_4", CONFIG), 4)
    third = shop.begin(shop.spec("rel_3", CONFIG, SERVICE), 4)
    operation.take(third, objects=third.union())
    with pytest.raises(ReleaseError) as refused:
        operation.take(other, objects=other.union())
    assert refused.value.error_key == "target_locked"


def canary(shop: ClusterRuns, release_id: str, image: str, *parts: str, **params: Any) -> dict[str, Any]:
    """A canary of a Deployment that is scaled to nothing: its own pods would be one."""
    asked = {"workload": "web", "steps": [10, 50], "pause_seconds": None, **params}
    given = {"strategy": "canary", "strategy_params": asked, "variables": {"image": image}}
    return shop.spec(release_id, CONFIG, DEPLOYMENT, SERVICE, *parts, **given)


@pytest.fixture
def ready_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no node: a canary's pods are taken for ready, so that the run comes to what is tested here."""
    monkeypatch.setattr(canary_run.canary, "replicas", lambda running, percent: 0)


def begun(shop: ClusterRuns) -> None:
    shop.release(shop.spec("rel_1", CONFIG, DEPLOYMENT, SERVICE), 1)


class Killed(BaseException):
    """The worker's process is gone: nothing more is done."""


def killed() -> None:
    raise Killed


@pytest.mark.usefixtures("ready_pods")
def test_a_canary_taken_up_again_after_a_kill_still_knows_what_was_there_before(shop: ClusterRuns) -> None:
    begun(shop)
    spec = canary(shop, "rel_2", "shop:2", ADDED)
    run = shop.begin(spec, 2)
    before(run, "wait", killed)
    with pytest.raises(Killed):
        canary_run.start(run)
    assert shop.get("configmap", "added")
    assert shop.release(spec, 3, taken_up=True)["paused"] is True
    shop.abort(spec, 4)
    assert shop.get("configmap", "added") is None
    assert shop.names() == ["web"]
    assert shop.held().release_id == "rel_1"
    assert shop.get("configmap", "settings")


@pytest.mark.usefixtures("ready_pods")
def test_a_canary_that_waits_for_people_waits_still_when_its_run_is_made_again(shop: ClusterRuns) -> None:
    begun(shop)
    spec = canary(shop, "rel_2", "shop:2")
    for token in (2, 3):
        assert shop.release(spec, token, taken_up=token > 2)["paused"] is True
    assert shop.held().paused["step"] == 0
    # The run of a promotion is lost after it did its part, and before it could tell.
    assert shop.promote(spec, 4)["paused"] is True
    assert shop.promote(spec, 5, taken_up=True)["paused"] is True
    assert shop.held().paused["step"] == 1
    assert "paused" not in shop.promote(spec, 6)
    assert shop.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:2"


@pytest.mark.usefixtures("ready_pods")
def test_a_promotion_that_was_lost_before_it_began_is_made_and_one_that_was_done_is_not_made_twice(
    shop: ClusterRuns,
) -> None:
    begun(shop)
    spec = canary(shop, "rel_2", "shop:2")
    assert shop.release(spec, 2)["paused"] is True
    # Run 3 was killed before it asked the cluster for anything.
    assert shop.promote(spec, 4, taken_up=True, begun_token=3)["paused"] is True
    assert shop.held().paused["step"] == 1
    # Killed after it did its part, and once more: it waits for the next decision.
    for token in (5, 6):
        assert shop.promote(spec, token, taken_up=True, begun_token=3)["paused"] is True
    assert shop.held().paused["step"] == 1
    assert "paused" not in shop.promote(spec, 7)
    # Killed after everything was done, and before it could tell.
    done = shop.promote(spec, 8, taken_up=True, begun_token=7)
    assert (done["changed"], "paused" in done) == (False, False)
    assert shop.names() == ["web"]
    with pytest.raises(ReleaseError, match="is not paused"):
        shop.promote(spec, 9)


@pytest.mark.usefixtures("ready_pods")
def test_an_abort_deletes_only_what_the_release_added_whatever_version_it_is_written_in(
    shop: ClusterRuns,
) -> None:
    scaler = """
apiVersion: autoscaling/%s
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
"""
    shop.release(shop.spec("rel_1", CONFIG, DEPLOYMENT, SERVICE, scaler % "v1"), 1)
    uid = shop.get("hpa", "web")["metadata"]["uid"]
    spec = canary(shop, "rel_2", "shop:2", scaler % "v2")
    assert shop.release(spec, 2)["paused"] is True
    shop.abort(spec, 3)
    assert shop.get("hpa", "web")["metadata"]["uid"] == uid
    assert "web" in {one.name for one in shop.held().objects if one.kind == "HorizontalPodAutoscaler"}


@pytest.mark.usefixtures("ready_pods")
@pytest.mark.parametrize("where", ["additions", "share", "watch"])
def test_a_canary_goes_back_when_the_server_fails_in_the_middle(
    shop: ClusterRuns, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(shop)
    run = shop.begin(canary(shop, "rel_2", "shop:2", ADDED, pause_seconds=2), 2)

    def broken(*_given: Any) -> None:
        raise ApiError(500, {"message": "etcdserver: leader changed"})

    if where == "additions":
        before(run, "wait", broken)
    elif where == "share":
        monkeypatch.setattr(canary_run, "_grow", broken)
    else:
        monkeypatch.setattr(canary_run, "_require_well", broken)
    with pytest.raises(ReleaseError) as failed:
        canary_run.start(run)
    assert failed.value.error_key == "internal_error"
    assert "leader changed" in str(failed.value)
    assert shop.names() == ["web"]
    assert shop.get("configmap", "added") is None
    assert shop.held().release_id == "rel_1"


def test_one_look_of_the_gate_at_a_canary_that_is_not_ready_does_not_promote_it(
    shop: ClusterRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(shop)
    spec = canary(shop, "rel_2", "shop:2")
    with monkeypatch.context() as patched:
        patched.setattr(canary_run.canary, "replicas", lambda running, percent: 0)
        assert shop.release(spec, 2)["paused"] is True
    # Its pods go: without a node they never come back.
    shop.kubectl("scale", "deployment", "web-canary", "--replicas=1")
    with pytest.raises(ReleaseError, match="not ready any more"):
        shop.promote(spec, 3)
    assert shop.names() == ["web"]
    assert shop.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"] != "shop:2"


def test_a_look_at_a_canary_that_waits_says_whether_it_is_well_and_changes_nothing(
    shop: ClusterRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(shop)
    spec = canary(shop, "rel_2", "shop:2")
    with pytest.raises(ReleaseError, match="is not paused in this cluster"):
        shop.look(spec, 2)
    with monkeypatch.context() as patched:
        patched.setattr(canary_run.canary, "replicas", lambda running, percent: 0)
        shop.release(spec, 3)
    held = shop.held()
    assert shop.look(spec, 4) == {"changed": False, "paused": True}
    shop.kubectl("scale", "deployment", "web-canary", "--replicas=1")
    with pytest.raises(ReleaseError, match="not ready any more") as unwell:
        shop.look(spec, 5)
    assert unwell.value.error_key == "rollout_failed"
    assert [one["object"] for one in unwell.value.detail["objects"]] == ["Deployment/web-canary"]
    assert "taken back" not in str(unwell.value)
    assert shop.held() == held
    assert shop.names() == ["web", "web-canary"]
    shop.kubectl("delete", "deployment", "web-canary")
    with pytest.raises(ReleaseError, match="Deployment/web-canary is gone"):
        shop.look(spec, 6)
    shop.overtake(8)
    with pytest.raises(ReleaseError) as overtaken:
        shop.look(spec, 7)
    assert overtaken.value.error_key == "target_locked"


@pytest.mark.usefixtures("ready_pods")
def test_a_watched_canary_may_be_decided_before_its_time(
    shop: ClusterRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(shop)
    told: list[bool] = []
    for token, verb in ((2, "abort"), (4, "promote")):
        spec = canary(shop, f"rel_{token}", "shop:2", ADDED, steps=[10], pause_seconds=600)
        run = shop.begin(spec, token)
        run.decidable = told.append
        with monkeypatch.context() as patched:
            patched.setattr(canary_run, "_require_well", lambda run, unready, then: killed())
            with pytest.raises(Killed):
                canary_run.start(run)
        assert told.pop() is True
        assert shop.names() == ["web", "web-canary"]
        getattr(shop, verb)(spec, token + 1)
        assert shop.names() == ["web"]
        found = shop.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"]
        assert (found == "shop:2") is (verb == "promote")
        assert (shop.get("configmap", "added") is not None) is (verb == "promote")


@pytest.mark.usefixtures("ready_pods")
def test_a_canary_that_gets_everything_is_not_taken_back_but_goes_on(shop: ClusterRuns) -> None:
    begun(shop)
    spec = canary(shop, "rel_2", "shop:2", ADDED, steps=[10], pause_seconds=0)
    run = shop.begin(spec, 2)
    whole = run.apply

    def apply(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len(objects) > 1:
            killed()
        return whole(objects)

    run.apply = apply  # type: ignore[method-assign]
    with pytest.raises(Killed):
        canary_run.start(run)
    with pytest.raises(ReleaseError, match="gets everything already"):
        shop.abort(spec, 3)
    assert "paused" not in shop.release(spec, 4, taken_up=True)
    assert shop.names() == ["web"]
    assert shop.held().paused is None
    assert shop.get("configmap", "added")


def blocking(preview: dict[str, Any]) -> list[str]:
    return [one["message"] for one in preview["checks"] if one["level"] == "blocking"]


def test_what_another_service_has_is_told_with_its_owner_and_never_taken(shop: ClusterRuns) -> None:
    shop.release(shop.spec("rel_1", CONFIG), 1)
    spec = {**shop.spec("rel_2", CONFIG, variables={"greeting": "mine"}), "project": "other-test"}
    assert blocking(shop.preview(spec)) == [
        "ConfigMap/settings belongs to shop-test, which Tidegate releases here too"
    ]
    with pytest.raises(ReleaseError, match="belongs to shop-test") as refused:
        shop.release({**spec, "strategy_params": {"force_conflicts": True}}, 2)
    assert refused.value.error_key == "conflict"
    assert shop.get("configmap", "settings")["data"] == {"greeting": "hello"}


OTHER_PLACE = DEPLOYMENT.replace("DB_KEY", "DSN")
NO_SECRET = DEPLOYMENT.replace('value: "{{ password }}"', "value: none")


def changed_fields(preview: dict[str, Any], name: str) -> dict[str, Any]:
    (row,) = [row for row in preview["services"] if row["name"] == name]
    return {change["path"].rpartition(".")[2]: change for change in row["changes"]}


def test_a_secret_of_what_runs_is_masked_still_after_a_release_that_failed_before_it_was_replaced(
    shop: ClusterRuns,
) -> None:
    shop.release(shop.spec("rel_1", DEPLOYMENT, variables={"password": "secret-of-1"}), 1)
    run = shop.begin(shop.spec("rel_2", OTHER_PLACE), 2)
    before(run, "apply", killed)
    with pytest.raises(Killed):
        operation.roll(run)
    found = shop.preview(shop.spec("rel_3", OTHER_PLACE))
    assert changed_fields(found, "Deployment/web")["env[DB_KEY]"]["before"].startswith("hmac:")
    assert "secret-of-1" not in json.dumps(found)
    shop.release(shop.spec("rel_3", OTHER_PLACE), 3)
    # What is there no more needs no mask.
    assert shop.held().hidden == {
        "apps/Deployment/web": ["spec.template.spec.containers[web].env[DSN].value"]
    }


def test_what_two_runs_of_one_release_hide_is_joined(shop: ClusterRuns) -> None:
    shop.release(shop.spec("rel_1", CONFIG), 1)
    lost, taken_up = (
        shop.begin(shop.spec("rel_2", text), token) for text, token in ((DEPLOYMENT, 2), (OTHER_PLACE, 3))
    )
    for run in (lost, taken_up):
        operation.take(run, objects=run.union())
    (paths,) = shop.held().hidden.values()
    assert [path.rpartition(".env")[2] for path in paths] == ["[DB_KEY].value", "[DSN].value"]


def test_a_secret_of_the_colour_that_is_kept_is_masked_when_it_is_taken_again(shop: ClusterRuns) -> None:
    first = shop.spec("rel_1", DEPLOYMENT, SERVICE, variables={"password": "secret-of-1"}, **BLUE_GREEN)
    shop.release(first, 1)
    shop.release(shop.spec("rel_2", NO_SECRET, SERVICE, variables={"image": "shop:2"}, **BLUE_GREEN), 2)
    found = shop.preview(shop.spec("rel_3", NO_SECRET, SERVICE, variables={"image": "shop:3"}, **BLUE_GREEN))
    row = changed_fields(found, "Deployment/web-blue")
    assert row["value"]["before"].startswith("hmac:")
    assert "secret-of-1" not in json.dumps(found)


def test_the_inventorys_own_name_is_refused_and_never_pruned(shop: ClusterRuns) -> None:
    shop.release(shop.spec("rel_1", CONFIG), 1)
    own = CONFIG.replace("settings", inventory.name("shop-test"))
    with pytest.raises(ReleaseError, match="keeps what it applied") as refused:
        shop.preview(shop.spec("rel_2", CONFIG, own))
    assert refused.value.error_key == "validation_error"
    # A release of before this was refused had it.
    objects = [*shop.held().objects, inventory.ref("shop-test", shop.namespace)]
    Hold(shop.cluster, "shop-test", shop.namespace, shop.held(), 2).begin(objects=objects, hidden={})
    spec = shop.spec("rel_3", CONFIG)
    assert {row["action"] for row in shop.preview(spec)["services"]} == {"none"}
    shop.release(spec, 3)
    assert [one.name for one in shop.held().objects] == ["settings"]


def test_a_certificate_that_is_not_checked_is_warned_of_and_raises_the_risk(
    shop: ClusterRuns, tmp_path: Path
) -> None:
    verified = shop.preview(shop.spec("rel_1", CONFIG))
    document = json.loads(shop.api.kubeconfig.read_text())
    server = document["clusters"][0]["cluster"]["server"]
    document["clusters"][0]["cluster"] = {"server": server, "insecure-skip-tls-verify": True}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(document))
    with Session(kubeconfig.read(str(path))) as session:
        found = ClusterRuns(shop.api, session, shop.namespace).preview(shop.spec("rel_1", CONFIG))
    told = [one for one in found["checks"] if one["code"] == "tls_unverified"]
    assert [one["level"] for one in told] == ["warning"]
    assert set(found["risk_facts"]) - set(verified["risk_facts"]) == {"tls_unverified"}
    assert "tls_unverified" not in [one["code"] for one in verified["checks"]]


def take_over(shop: ClusterRuns, manager: str, data: dict[str, str]) -> None:
    thing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}
    words = ["apply", "--server-side", "--force-conflicts", f"--field-manager={manager}", "-f", "-"]
    shop.kubectl(*words, input=json.dumps(thing))


def test_only_conflicts_that_the_preview_showed_are_forced(shop: ClusterRuns) -> None:
    two = CONFIG.replace("\ndata: {", '\ndata: {motto: "{{ greeting }}", ')
    shop.release(shop.spec("rel_1", two), 1)
    take_over(shop, "gitops", {"greeting": "theirs"})
    forced = {"variables": {"greeting": "ours"}, "strategy_params": {"force_conflicts": True}}
    spec = shop.spec("rel_2", two, **forced)
    shown = shop.preview(spec)["conflicts"]
    assert shown == ["ConfigMap/settings data.greeting (gitops)"]
    # Somebody becomes an owner of a field without changing it: nothing else tells of that.
    take_over(shop, "late", {"motto": "hello"})
    with pytest.raises(ReleaseError, match=r"data.motto \(late\), which the preview did not show") as refused:
        shop.release({**spec, "conflicts": shown}, 2)
    assert refused.value.error_key == "field_conflict"
    assert shop.get("configmap", "settings")["data"]["greeting"] == "theirs"
    shop.release({**spec, "conflicts": shop.preview(spec)["conflicts"]}, 3)
    assert shop.get("configmap", "settings")["data"] == {"greeting": "ours", "motto": "ours"}


def test_a_release_that_brings_its_namespace_is_checked_all_the_same(shop: ClusterRuns) -> None:
    own = f"{shop.namespace}-own"
    document = f"\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {own}}}\n"
    old = "\napiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: a}\nspec: {}\n"
    pulling = DEPLOYMENT.replace(
        "terminationGrace", "imagePullSecrets: [{name: pull}]\n      terminationGrace"
    )
    spec = shop.spec("rel_1", document, old, pulling, namespace=own, cluster_scoped=True)
    found = shop.preview(spec)["checks"]
    codes = sorted(one["code"] for one in found if one["level"] == "blocking")
    assert codes == ["api_version_gone", "pull_secret_missing"]
    secret = "\napiVersion: v1\nkind: Secret\nmetadata: {name: pull}\n"
    spec = shop.spec("rel_1", document, secret, pulling, namespace=own, cluster_scoped=True)
    assert blocking(shop.preview(spec)) == []


def test_a_kind_in_a_version_that_its_own_definition_does_not_serve_is_told(shop: ClusterRuns) -> None:
    definition = f"""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: tides.{shop.namespace}.example.org}}
spec:
  group: {shop.namespace}.example.org
  scope: Namespaced
  names: {{plural: tides, singular: tide, kind: Tide}}
  versions:
  - {{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object}}}}}}
"""
    custom = f"\napiVersion: {shop.namespace}.example.org/%s\nkind: Tide\nmetadata: {{name: high}}\n"
    fine = shop.spec("rel_1", definition, custom % "v1", cluster_scoped=True)
    assert blocking(shop.preview(fine)) == []
    (said,) = blocking(shop.preview(shop.spec("rel_1", definition, custom % "v2", cluster_scoped=True)))
    assert "has no Tide in" in said


def test_drift_of_a_colour_is_told_of_the_colour_that_is_there(shop: ClusterRuns) -> None:
    shop.release(shop.spec("rel_1", CONFIG, DEPLOYMENT, SERVICE, **BLUE_GREEN), 1)
    spec = shop.spec("rel_2", CONFIG, DEPLOYMENT, SERVICE, variables={"image": "shop:2"}, **BLUE_GREEN)
    shop.release(spec, 2)
    shop.kubectl("set", "image", "deployment/web-green", "web=shop:3")
    rows = {row["name"]: row for row in shop.preview(spec)["services"] if row["action"] != "none"}
    assert list(rows) == ["Deployment/web-green"]
    assert {"before": "shop:3", "after": "shop:2"}.items() <= rows["Deployment/web-green"]["changes"][
        0
    ].items()
    # Another release of the same still takes the other colour: what was changed by hand keeps the traffic till then.
    other = {row["name"]: row["action"] for row in shop.preview({**spec, "release_id": "rel_3"})["services"]}
    assert other["Deployment/web-blue"] == "change"


FAILING = """
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  activeDeadlineSeconds: 1
  template: {spec: {restartPolicy: Never, containers: [{name: migrate, image: "shop:1"}]}}
"""


def test_a_job_that_failed_in_an_earlier_release_runs_again_in_the_next(shop: ClusterRuns) -> None:
    with pytest.raises(ReleaseError) as failed:
        shop.release(shop.spec("rel_1", FAILING), 1)
    assert failed.value.error_key == "rollout_failed"
    uid = shop.get("job", "migrate")["metadata"]["uid"]
    # Where the run was lost and is taken up again, it is the same failure.
    with pytest.raises(ReleaseError):
        shop.release(shop.spec("rel_1", FAILING), 2, taken_up=True)
    assert shop.get("job", "migrate")["metadata"]["uid"] == uid
    preview = shop.preview(shop.spec("rel_2", FAILING))
    assert [one["code"] for one in preview["checks"] if one["level"] == "warning"].count("job_replaced") == 1
    assert [row["action"] for row in preview["services"]] == ["change"]
    with pytest.raises(ReleaseError):
        shop.release(shop.spec("rel_2", FAILING), 3)
    assert shop.get("job", "migrate")["metadata"]["uid"] != uid


def test_by_hand_a_job_that_failed_runs_again_whenever_it_is_released_again(shop: ClusterRuns) -> None:
    spec = {name: value for name, value in shop.spec("", FAILING).items() if name != "release_id"}
    uids = set()
    for token in (1, 2):
        with pytest.raises(ReleaseError):
            shop.release(spec, token)
        uids.add(shop.get("job", "migrate")["metadata"]["uid"])
    assert len(uids) == 2


SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store}
spec:
  replicas: 3
  podManagementPolicy: Parallel
  serviceName: store
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec: {containers: [{name: store, image: "shop:1"}]}
"""


def test_a_quota_that_lets_only_some_of_the_pods_in_is_told_at_once(shop: ClusterRuns) -> None:
    shop.kubectl("create", "quota", "small", "--hard=pods=1")
    began = time.monotonic()
    with pytest.raises(ReleaseError, match="exceeded quota") as failed:
        shop.release(shop.spec("rel_1", SET, health_timeout=90), 1)
    assert failed.value.error_key == "rollout_failed"
    assert time.monotonic() - began < 30
    assert shop.names("pods")


GATE = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gates.%(group)s}
spec:
  group: %(group)s
  scope: Namespaced
  names: {kind: Gate, plural: gates, singular: gate}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        x-kubernetes-preserve-unknown-fields: true
---
apiVersion: %(group)s/v1
kind: Gate
metadata: {name: lock}
spec: {open: "{{ greeting }}"}
"""


def say(shop: ClusterRuns, **status: Any) -> None:
    """Let the Gate's controller say something: there is none but the test."""
    patch = json.dumps({"status": status})
    shop.kubectl(
        "patch",
        f"gates.{shop.namespace}.example",
        "lock",
        "--subresource=status",
        "--type=merge",
        "-p",
        patch,
    )


def test_an_object_of_any_other_kind_is_waited_for_by_its_conditions(shop: ClusterRuns) -> None:
    parts = GATE % {"group": f"{shop.namespace}.example"}
    # Without conditions there is nothing to wait for.
    shop.release(shop.spec("rel_1", parts, cluster_scoped=True), 1)
    busy = {"type": "Ready", "status": "False", "reason": "Opening"}
    say(shop, observedGeneration=1, conditions=[busy])
    well = {"observedGeneration": 2, "conditions": [{**busy, "status": "True"}]}
    later = threading.Timer(3, say, [shop], well)
    later.start()
    try:
        shop.release(shop.spec("rel_2", parts, variables={"greeting": "bye"}, cluster_scoped=True), 2)
    finally:
        later.join()
    assert "Gate/lock: is not seen yet" in shop.told
    assert shop.told[-1] == "Gate/lock: Ready is True Opening"
    say(shop, observedGeneration=2, conditions=[{"type": "Stalled", "status": "True", "message": "it rusts"}])
    began = time.monotonic()
    with pytest.raises(ReleaseError, match="it rusts") as failed:
        shop.release(shop.spec("rel_3", parts, variables={"greeting": "bye"}, cluster_scoped=True), 3)
    assert failed.value.error_key == "rollout_failed"
    assert time.monotonic() - began < 10
    assert "gave up" in failed.value.hint
    (row,) = failed.value.detail["objects"]
    assert row["conditions"][0]["message"] == "it rusts"
    shop.api.kubectl(["delete", "crd", f"gates.{shop.namespace}.example"])


def test_a_quota_of_objects_counts_all_that_the_release_brings(shop: ClusterRuns) -> None:
    # One more ConfigMap than there is room for: each by itself would be let in.
    there = len(shop.names("configmaps"))
    shop.kubectl("create", "quota", "few", f"--hard=configmaps={there + 2}")
    until = time.monotonic() + 15
    while "used" not in shop.get("quota", "few").get("status", {}) and time.monotonic() < until:
        time.sleep(0.2)
    found = shop.preview(shop.spec("rel_1", CONFIG, ADDED))["checks"]
    (check,) = [one for one in found if one["code"] == "quota_exceeded"]
    assert f"configmaps {there} used and 3 more asked for, {there + 2} allowed" in check["message"]
    found = shop.preview(shop.spec("rel_1", CONFIG))["checks"]
    assert "quota_exceeded" not in [one["code"] for one in found]
    shop.release(shop.spec("rel_1", CONFIG), 1)


def test_what_was_applied_in_a_version_that_is_served_no_more_is_pruned_all_the_same(
    shop: ClusterRuns,
) -> None:
    group = f"{shop.namespace}.example"
    definition, _, gate = (GATE % {"group": group}).partition("---")
    shop.release(shop.spec("rel_1", definition, gate, CONFIG, cluster_scoped=True), 1)
    (served,) = shop.get("crd", f"gates.{group}")["spec"]["versions"]
    versions = [{**served, "served": False, "storage": False}, {**served, "name": "v2"}]
    patch = json.dumps({"spec": {"versions": versions}})
    shop.kubectl("patch", "crd", f"gates.{group}", "--type=merge", "-p", patch)
    until = time.monotonic() + 15
    while shop.get(f"gates.v2.{group}", "lock") is None and time.monotonic() < until:
        time.sleep(0.2)
    newer = ClusterRuns(shop.api, shop.cluster.session, shop.namespace)
    spec = newer.spec("rel_2", CONFIG, cluster_scoped=True)
    told = {row["name"]: row["action"] for row in newer.preview(spec)["services"]}
    assert told["Gate/lock"] == "remove"
    newer.release(spec, 2)
    assert newer.get(f"gates.v2.{group}", "lock") is None
    shop.api.kubectl(["delete", "crd", f"gates.{group}"])
