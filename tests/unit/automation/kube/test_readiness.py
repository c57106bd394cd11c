# SPDX-License-Identifier: Apache-2.0
"""When an object is ready, when it cannot become so, and what is said of it."""

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import hints, pods, readiness, stuck_pod


def thing(kind: str, spec: dict, status: dict, api: str = "apps/v1", **metadata: object) -> dict:
    return {
        "apiVersion": api, "kind": kind, "spec": spec, "status": status,
        "metadata": {"name": "web", "uid": "u", "generation": 2, **metadata},
    }  # fmt: skip


def deployment(**status: object) -> dict:
    return thing("Deployment", {"replicas": 5}, {"observedGeneration": 2, **status})


@pytest.mark.parametrize(
    ("one", "ready", "progress"),
    [
        (deployment(replicas=5, updatedReplicas=5, availableReplicas=5), True, "5/5 ready"),
        (deployment(replicas=6, updatedReplicas=3, availableReplicas=5), False, "3/5 ready"),
        (deployment(replicas=7, updatedReplicas=5, availableReplicas=7), False, "5/5 ready, 2 old to end"),
        (deployment(replicas=5, updatedReplicas=5, availableReplicas=5, observedGeneration=1), False, "0/5 ready"),
        (deployment(), False, "0/5 ready"),
        (thing("Deployment", {"replicas": 0}, {"observedGeneration": 2}), True, "0/0 ready"),
        (thing("Deployment", {}, {"observedGeneration": 2}), False, "0/1 ready"),
        (thing("StatefulSet", {"replicas": 2}, {"observedGeneration": 2, "readyReplicas": 2, "updatedReplicas": 1,
               "currentRevision": "a", "updateRevision": "b"}), False, "1/2 ready"),
        (thing("StatefulSet", {"replicas": 2}, {"observedGeneration": 2, "readyReplicas": 2, "updatedReplicas": 0,
               "currentRevision": "b", "updateRevision": "b"}), True, "2/2 ready"),
        (thing("DaemonSet", {}, {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 2,
               "numberAvailable": 3}), False, "2/3 ready"),
        (thing("DaemonSet", {}, {"observedGeneration": 2}), True, "0/0 ready"),
        (thing("Job", {"completions": 3}, {"succeeded": 1}, "batch/v1"), False, "1/3 completed"),
        (thing("Job", {}, {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}, "batch/v1"), True,
         "1/1 completed"),
        (thing("Service", {}, {}, "v1"), True, ""),
        (thing("Widget", {}, {}, "example.org/v1"), True, ""),
        (thing("Widget", {}, {"conditions": [{"type": "Ready", "status": "False", "reason": "Busy"}]}, "a.io/v1"),
         False, "Ready is False Busy"),
        (thing("Widget", {}, {"conditions": [{"type": "Ready", "status": "True"}]}, "example.org/v1"), True,
         "Ready is True"),
        (thing("Gateway", {}, {"conditions": [{"type": "Accepted", "status": "True"},
               {"type": "Programmed", "status": "False", "reason": "AddressNotAssigned"}]},
               "gateway.networking.k8s.io/v1"), False, "Programmed is False AddressNotAssigned"),
        (thing("APIService", {}, {"conditions": [{"type": "Available", "status": "False", "reason": "Missing"}]},
               "apiregistration.k8s.io/v1"), False, "Available is False Missing"),
        (thing("Ingress", {}, {"conditions": [{"type": "Ready", "status": "False"}]}, "networking.k8s.io/v1"), True,
         ""),
        (thing("Widget", {}, {"observedGeneration": 1}, "example.org/v1"), False, "is not seen yet"),
        (thing("CustomResourceDefinition", {}, {}, "apiextensions.k8s.io/v1"), False, "is not established yet"),
        (thing("Deployment", {"replicas": 0}, {"observedGeneration": 2}, deletionTimestamp="now"), False,
         "is being deleted"),
    ],
)  # fmt: skip
def test_states(one: dict, ready: bool, progress: str) -> None:
    state = readiness.assess(one)
    assert (state.ready, state.progress, state.hopeless) == (ready, progress, "")


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (deployment(conditions=[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
                                 "message": "timed out"}]), "ProgressDeadlineExceeded"),
        (deployment(conditions=[{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                                 "message": 'pods "x" is forbidden: exceeded quota: q'}]), "ExceededQuota"),
        (thing("Job", {}, {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
                                           "message": "too often"}]}, "batch/v1"), "BackoffLimitExceeded"),
        (thing("Widget", {}, {"conditions": [{"type": "Stalled", "status": "True", "message": "no"}]}, "a.io/v1"),
         "Stalled"),
        (thing("Pod", {}, {"phase": "Failed", "message": "no"}, "v1"), "PodFailed"),
    ],
)  # fmt: skip
def test_what_cannot_get_better(one: dict, reason: str) -> None:
    state = readiness.assess(one)
    assert not state.ready
    assert state.reason == reason
    assert state.hopeless
    assert hints.hints([reason]) != [hints.DEFAULT]


def test_a_definition_whose_names_are_taken_is_given_up() -> None:
    said = {
        "type": "NamesAccepted",
        "status": "False",
        "reason": "PluralConflict",
        "message": "tides is taken",
    }
    state = readiness.assess(
        thing("CustomResourceDefinition", {}, {"conditions": [said]}, "apiextensions.k8s.io/v1")
    )
    assert (state.ready, state.hopeless) == (False, "tides is taken")


def test_each_reason_that_ends_the_wait_has_a_hint_of_its_own() -> None:
    known = {
        *pods._NEVER,
        *pods._PULL,
        *pods._PULL_KEYS,
        *pods._TELLING,
        "CrashLoopBackOff",
        stuck_pod.REASON,
    }
    assert [reason for reason in known if hints.hints([reason]) == [hints.DEFAULT]] == []


def pod(name: str = "web-1", owner: str = "rs2", **container: object) -> dict:
    return {
        "metadata": {"name": name, "ownerReferences": [{"uid": owner, "controller": True}]},
        "status": {"containerStatuses": [{"name": "web", "restartCount": 0, "ready": False, **container}]},
    }


@pytest.mark.parametrize(
    ("one", "reason", "is_hopeless"),
    [
        (pod(state={"waiting": {"reason": "ImagePullBackOff", "message": "no such"}}), "ImagePullBackOff", True),
        (pod(state={"waiting": {"reason": "InvalidImageName"}}), "InvalidImageName", True),
        (pod(state={"waiting": {"reason": "ErrImagePull"}}), "ErrImagePull", False),
        (pod(state={"waiting": {"reason": "CreateContainerConfigError"}}), "CreateContainerConfigError", True),
        (pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=1,
             lastState={"terminated": {"exitCode": 3, "reason": "Error"}}), "CrashLoopBackOff", False),
        (pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=2,
             lastState={"terminated": {"exitCode": 3, "reason": "Error"}}), "CrashLoopBackOff", True),
        (pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=2,
             lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}), "OOMKilled", True),
        (pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=1,
             lastState={"terminated": {"exitCode": 128, "reason": "StartError", "message": "no such file"}}),
         "StartError", True),
        (pod(state={"terminated": {"exitCode": 128, "reason": "ContainerCannotRun"}}), "ContainerCannotRun", True),
        (pod(state={"waiting": {"reason": "ImageInspectError"}}), "ImageInspectError", True),
        (pod(state={"running": {}}), "NotReady", False),
    ],
)  # fmt: skip
def test_pods(one: dict, reason: str, is_hopeless: bool) -> None:
    (row,) = pods.problems([one])
    assert row["reason"] == reason
    assert (pods.hopeless([row]) is not None) is is_hopeless
    assert hints.hints([reason]) != [hints.DEFAULT]


def test_a_container_that_is_made_is_no_problem() -> None:
    assert (
        pods.problems(
            [pod(state={"waiting": {"reason": "ContainerCreating"}}), pod(state={"running": {}}, ready=True)]
        )
        == []
    )


def test_a_pod_that_no_node_takes() -> None:
    one = {"metadata": {"name": "a"}, "status": {"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}}  # fmt: skip
    (row,) = pods.problems([one])
    assert (row["reason"], row["message"]) == ("Unschedulable", "0/1 nodes")
    assert pods.hopeless([row]) is None


def test_only_pods_of_the_new_revision_count() -> None:
    revision = "deployment.kubernetes.io/revision"
    workload = thing("Deployment", {}, {}, annotations={revision: "2"})
    sets = [
        {
            "metadata": {
                "uid": f"rs{n}",
                "annotations": {revision: str(n)},
                "ownerReferences": [{"uid": "u", "controller": True}],
            }
        }
        for n in (1, 2)
    ]
    found = pods.of_revision(workload, [pod("old", "rs1"), pod("new", "rs2")], sets)
    assert [one["metadata"]["name"] for one in found] == ["new"]
