# SPDX-License-Identifier: Apache-2.0
"""What a release may hold, what is pruned, what quotas have room for, and how strategies reshape it."""

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import (
    canary,
    colours,
    field_owners,
    fingerprint,
    images,
    inventory,
    kinds,
    ownership,
    quota,
    rolling,
    strategy,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.module_utils.release.veil import Veil


def thing(kind: str, name: str = "web", api: str = "v1", **more: object) -> dict:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **more}


def deployment(replicas: int | None = 4, **spec: object) -> dict:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "containers": [{"name": "web", "image": "shop:1", "resources": {"requests": {"cpu": "250m"}}}]
        },
    }
    return thing(
        "Deployment", api="apps/v1",
        spec={"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template, **spec},
    )  # fmt: skip


SERVICE = thing("Service", spec={"selector": {"app": "web"}})


def is_namespaced(one: kinds.Ref) -> bool:
    return one.kind not in kinds.CLUSTER_SCOPED


def placed(*objects: dict, cluster: bool = False) -> list[dict]:
    return ownership.placed(list(objects), "shop", is_namespaced, cluster, inventory.ref("Shop_prod", "shop"))


def test_a_namespace_is_given_and_the_servers_own_is_left_out() -> None:
    given = deployment()
    given["metadata"] |= {"resourceVersion": "1", "uid": "x", "managedFields": []}
    (found,) = placed({**given, "status": {}})
    assert found["metadata"] == {"name": "web", "namespace": "shop"}
    assert "status" not in found


@pytest.mark.parametrize(
    ("objects", "field"),
    [
        ([{**thing("ConfigMap"), "metadata": {"name": "a", "namespace": "kube-system"}}], "namespace"),
        ([thing("Namespace")], "cluster_scoped"),
        ([thing("ClusterRole", api="rbac.authorization.k8s.io/v1")], "cluster_scoped"),
        ([thing("ConfigMap"), thing("ConfigMap")], "manifests"),
        ([thing("ConfigMap", "tidegate-shop-prod")], "manifests"),
        (
            [thing("ConfigMap"), {**thing("ConfigMap"), "metadata": {"name": "web", "namespace": "shop"}}],
            "manifests",
        ),
    ],
)
def test_what_a_release_may_not_hold(objects: list[dict], field: str) -> None:
    with pytest.raises(ReleaseError) as refused:
        placed(*objects)
    assert (refused.value.error_key, refused.value.detail["field"]) == ("validation_error", field)


def test_only_the_inventorys_own_name_is_reserved() -> None:
    assert placed(thing("Secret", "tidegate-shop-prod"), thing("ConfigMap", "tidegate-shop"))


def test_cluster_scoped_objects_with_permission() -> None:
    (found,) = placed({**thing("ClusterRole"), "metadata": {"name": "a", "namespace": "x"}}, cluster=True)
    assert "namespace" not in found["metadata"]


@pytest.mark.parametrize("words", [("a b", "rel", "shop"), ("shop", "-rel", "shop"), ("shop", "rel", "Shop"),
                                   ("shop", "rel", "../kube-system"), (None, "rel", "shop")])  # fmt: skip
def test_words_that_become_labels_and_addresses(words: tuple) -> None:
    with pytest.raises(ReleaseError) as refused:
        ownership.require_words(*words)
    assert refused.value.error_key == "validation_error"


def test_the_order_of_kinds() -> None:
    order = [
        "Ingress",
        "Deployment",
        "Widget",
        "Service",
        "Secret",
        "ServiceAccount",
        "CustomResourceDefinition",
        "Namespace",
    ]
    waves = kinds.waves([thing(kind) for kind in order])
    assert [one[0]["kind"] for one in waves] == list(reversed(order))


def ref(kind: str, name: str = "a", api: str = "v1") -> kinds.Ref:
    return kinds.Ref(api, kind, "shop", name)


def test_what_is_gone_is_pruned_but_never_what_cannot_be_made_again() -> None:
    before = [ref("ConfigMap"), ref("ConfigMap", "b"), ref("PersistentVolumeClaim"), ref("Namespace")]
    assert inventory.gone(before, [ref("ConfigMap")], []) == (
        [ref("ConfigMap", "b")], [ref("PersistentVolumeClaim"), ref("Namespace")],
    )  # fmt: skip
    pruned, _ = inventory.gone(before, [], ["PersistentVolumeClaim"])
    assert ref("PersistentVolumeClaim") in pruned
    # Another version of the same object is the same object.
    assert inventory.gone(
        [ref("Ingress", api="networking.k8s.io/v1beta1")], [ref("Ingress", api="networking.k8s.io/v1")], []
    ) == ([], [])
    with pytest.raises(ReleaseError):
        inventory.require_prune_kinds(["Secret"])


def test_the_inventory_is_read_as_it_was_written_and_is_nobody_elses() -> None:
    one = inventory.Inventory(
        "rel_1", 7, [ref("ConfigMap")], [], 5.5, {"step": 1}, {"Deployment/web": ["spec.x"]}, "12"
    )
    written = one.config_map("shop-prod", "shop")
    assert inventory.Inventory.read(written, "shop-prod") == one
    with pytest.raises(ReleaseError):
        inventory.Inventory.read(written, "other")
    with pytest.raises(ReleaseError, match="newer operation"):
        one.require_newest(6)
    one.require_newest(7)


def test_what_any_of_several_releases_hides_stays_hidden() -> None:
    first, second = (
        {"Secret/a": ["data.x"], "Deployment/web": ["env.B"]},
        {"Deployment/web": ["env.A", "env.B"]},
    )
    both = {"Deployment/web": ["env.A", "env.B"], "Secret/a": ["data.x"]}
    assert inventory.joined(first, second) == inventory.joined(second, first) == both


def test_quotas() -> None:
    full = {
        "metadata": {"name": "q"},
        "status": {"hard": {"pods": "5", "requests.cpu": "1"}, "used": {"pods": "2", "requests.cpu": "500m"}},
    }
    said = quota.exceeded([full], [(None, deployment(4))])
    assert said == [
        "quota q: pods 2 used and 4 more asked for, 5 allowed",
        "quota q: requests.cpu 0.5 used and 1 more asked for, 1 allowed",
    ]
    assert quota.exceeded([full], [(deployment(3), deployment(4))]) == []
    assert quota.exceeded([full], [(None, deployment(2))]) == []
    assert [quota.quantity(text) for text in ("1Gi", "250m", "1e3", "x")] == [
        2**30,
        quota.quantity("0.25"),
        1000,
        0,
    ]


def test_quotas_of_objects_and_storage() -> None:
    def full(name: str, hard: int, used: int) -> dict:
        return {"metadata": {"name": "q"}, "status": {"hard": {name: str(hard)}, "used": {name: str(used)}}}

    def asked(one: dict, said: str) -> None:
        (found,) = quota.exceeded([one], pairs)
        assert found == f"quota q: {said}"

    claim = thing("PersistentVolumeClaim", spec={"resources": {"requests": {"storage": "3Gi"}}})
    balanced = thing("Service", spec={"type": "LoadBalancer", "ports": [{}, {}]})
    pairs: list = [
        (None, thing("ConfigMap", "a")),
        (None, thing("ConfigMap", "b")),
        (None, claim),
        (None, balanced),
    ]
    pairs += [(None, deployment(0)), (thing("Secret"), thing("Secret")), (thing("Secret", "gone"), None)]
    asked(full("configmaps", 2, 1), "configmaps 1 used and 2 more asked for, 2 allowed")
    asked(full("count/configmaps", 2, 1), "count/configmaps 1 used and 2 more asked for, 2 allowed")
    asked(
        full("count/deployments.apps", 4, 4), "count/deployments.apps 4 used and 1 more asked for, 4 allowed"
    )
    asked(
        full("requests.storage", 2**30, 0),
        "requests.storage 0 used and 3221225472 more asked for, 1073741824 allowed",
    )
    asked(full("services.nodeports", 2, 1), "services.nodeports 1 used and 2 more asked for, 2 allowed")
    asked(
        full("services.loadbalancers", 0, 0), "services.loadbalancers 0 used and 1 more asked for, 0 allowed"
    )
    assert quota.exceeded([full("configmaps", 3, 1), full("secrets", 2, 2)], pairs) == []
    # What goes is there until the last.
    assert quota.exceeded([full("secrets", 2, 2)], [(thing("Secret"), None), (None, thing("Secret", "new"))])


def test_a_daemon_set_asks_for_a_pod_on_each_of_its_nodes() -> None:
    full = {"metadata": {"name": "all"}, "status": {"hard": {"pods": "4"}, "used": {"pods": "3"}}}
    pod = {"containers": [{"name": "a"}]}
    agent = thing("DaemonSet", api="apps/v1", spec={"template": {"spec": pod}})
    assert quota.exceeded([full], [(None, agent)]) == []
    assert quota.exceeded([full], [(None, agent), (None, deployment(1))])
    live = {**agent, "status": {"desiredNumberScheduled": 3}}
    assert quota.exceeded([full], [(live, agent)]) == []
    asking = thing("DaemonSet", api="apps/v1", spec={"template": {"spec": {"containers": [
        {"name": "a", "resources": {"requests": {"cpu": "2"}}}]}}})  # fmt: skip
    cpu = {"metadata": {"name": "cpu"}, "status": {"hard": {"cpu": "5"}, "used": {"cpu": "0"}}}
    assert "6 more asked for" in quota.exceeded([cpu], [(live, asking)])[0]


def test_what_an_autoscaler_tells_of_itself_in_annotations_is_no_wish() -> None:
    veil = Veil(b"k" * 32)
    scaler = thing("HorizontalPodAutoscaler", api="autoscaling/v1", spec={"maxReplicas": 3})

    def part(annotations: dict[str, str]) -> str:
        return fingerprint.part(
            {**scaler, "metadata": {**scaler["metadata"], "annotations": annotations}}, veil
        )

    told = {
        "autoscaling.alpha.kubernetes.io/conditions": "[1]",
        "autoscaling.alpha.kubernetes.io/current-metrics": "[]",
    }
    assert part(told) == part({**told, "autoscaling.alpha.kubernetes.io/conditions": "[2]"}) == part({})
    assert part({"autoscaling.alpha.kubernetes.io/behavior": "{}"}) != part({})


def test_images_and_pull_secrets() -> None:
    digest = "sha256:" + "a" * 64
    one = deployment()
    one["spec"]["template"]["spec"] |= {
        "initContainers": [{"name": "init", "image": f"host:5000/x@{digest}"}], "imagePullSecrets": [{"name": "pull"}],
    }  # fmt: skip
    first, second = images.images([one])
    assert (first["service"], first["digest"], first["pinned"]) == ("Deployment/web/init", digest, True)
    assert (second["reference"], second["digest"], second["pinned"]) == ("shop:1", None, False)
    assert images.pull_secrets([one]) == {"pull"}
    account = thing("ServiceAccount", imagePullSecrets=[{"name": "other"}])
    assert images.pull_secrets([one, account]) == {"pull", "other"}
    assert images.images([account]) == []


CONFLICT = {"details": {"causes": [
    {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl" using apps/v1', "field": ".spec.replicas"},
    {"reason": "Other"},
]}}  # fmt: skip


def test_conflicts_and_owned_fields() -> None:
    assert field_owners.conflicts(CONFLICT) == [{"field": "spec.replicas", "manager": "kubectl"}]
    entry = {
        "fieldsV1": {
            "f:spec": {"f:containers": {'k:{"name":"web"}': {".": {}, "f:image": {}}}, "f:x": {"v:1": {}}}
        }
    }
    assert list(field_owners.fields_of(entry)) == ["spec.containers[web].image", "spec.x[1]"]


def test_surge_and_unavailable_are_the_releases() -> None:
    (found,) = rolling.paced([deployment()], {"max_surge": "50%", "max_unavailable": None})
    assert found["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "50%"}}
    recreate = deployment(strategy={"type": "Recreate"})
    assert rolling.paced([recreate], {"max_surge": 1}) == [recreate]
    assert rolling.paced([SERVICE, deployment()], {}) == [SERVICE, deployment()]


def test_what_keeps_its_own_pace_is_named() -> None:
    recreate = deployment(strategy={"type": "Recreate"})
    others = [thing(kind, api="apps/v1", spec={}) for kind in ("StatefulSet", "DaemonSet")]
    found = rolling.unpaced([SERVICE, deployment(), recreate, *others], {"max_surge": 1})
    assert [one.kind for one in found] == ["Deployment", "StatefulSet", "DaemonSet"]
    assert rolling.unpaced([recreate, *others], {"max_surge": None, "max_unavailable": None}) == []


def test_blue_and_green() -> None:
    scaler = thing(
        "HorizontalPodAutoscaler",
        api="autoscaling/v2",
        spec={"scaleTargetRef": {"kind": "Deployment", "name": "web"}},
    )
    colours.require_fit([deployment(), SERVICE], "web", "web")
    first, front, aimed = colours.coloured([deployment(), SERVICE, scaler], "web", "web", "green")
    assert first["metadata"]["name"] == "web-green"
    assert first["spec"]["selector"]["matchLabels"] == first["spec"]["template"]["metadata"]["labels"]
    assert front["spec"]["selector"] == {"app": "web", colours.LABEL: "green"}
    assert aimed["spec"]["scaleTargetRef"]["name"] == "web-green"
    assert colours.live_colour(front) == "green"
    assert colours.live_colour(SERVICE) is None
    assert [colours.other(one) for one in (None, "blue", "green")] == ["blue", "green", "blue"]
    for objects in (
        [deployment()],
        [SERVICE],
        [deployment(), thing("Service", spec={"selector": {"app": "other"}})],
    ):
        with pytest.raises(ReleaseError):
            colours.require_fit(objects, "web", "web")


def test_a_canary_is_a_share_of_the_pods() -> None:
    assert [canary.replicas(4, percent) for percent in (1, 20, 50)] == [1, 1, 4]
    found = canary.deployment(deployment(), 4, 50)
    assert (found["metadata"]["name"], found["spec"]["replicas"]) == ("web-canary", 4)
    labels = found["spec"]["template"]["metadata"]["labels"]
    assert labels == {"app": "web", canary.LABEL: "canary"} == found["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("rolling", {"max_parallel": 1}), ("rolling", {"max_surge": "lots"}),
        ("rolling", {"max_surge": 0, "max_unavailable": "0%"}),
        ("blue_green", {"service": "web"}), ("blue_green", {"service": "web", "workload": "Web/../x"}),
        ("blue_green", {"service": "web", "workload": "web", "keep_old_seconds": -1}),
        ("canary", {}), ("canary", {"workload": "web", "steps": [50, 10]}),
        ("canary", {"workload": "web", "steps": [100]}),
        ("canary", {"workload": "web", "steps": 10}), ("canary", {"workload": "web", "max_restarts": True}),
        ("rolling", {"force_conflicts": "yes"}), ("recreate", {}), ("rolling", []),
    ],
)  # fmt: skip
def test_parameters_that_cannot_be(name: str, params: object) -> None:
    with pytest.raises(ReleaseError) as refused:
        strategy.parse(name, params)
    assert refused.value.error_key == "validation_error"
    assert refused.value.detail["field"]
