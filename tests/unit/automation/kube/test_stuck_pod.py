# SPDX-License-Identifier: Apache-2.0
"""Which pod a StatefulSet waits for in vain, and when that is said of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import stuck_pod

BEGUN = "2026-01-01T00:00:00Z"
AT = datetime.fromisoformat(BEGUN).timestamp()


def stateful_set(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "store", "uid": "u"},
        "spec": spec,
    }


def pod(number: int, ready: bool = False, **status: Any) -> dict[str, Any]:
    metadata = {
        "name": f"store-{number}",
        "uid": f"p{number}",
        "creationTimestamp": BEGUN,
        "ownerReferences": [{"uid": "u", "controller": True}],
    }
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": BEGUN}
    return {
        "metadata": metadata,
        "spec": {"containers": [{}]},
        "status": {"conditions": [condition], **status},
    }


def waiting(reason: str) -> dict[str, Any]:
    return {
        "containerStatuses": [{"name": "web", "state": {"waiting": {"reason": reason}}, "restartCount": 0}]
    }


@pytest.mark.parametrize(
    ("spec", "is_so"),
    [
        ({}, True),
        ({"podManagementPolicy": "OrderedReady", "updateStrategy": {"type": "RollingUpdate"}}, True),
        # Its controller replaces whichever is to be replaced.
        ({"podManagementPolicy": "Parallel"}, False),
        # People delete its pods, and nobody else.
        ({"updateStrategy": {"type": "OnDelete"}}, False),
    ],
)
def test_only_ordered_rolling_updates_wait_for_such_a_pod(spec: dict[str, Any], is_so: bool) -> None:
    assert stuck_pod.may_wait_in_vain(stateful_set(**spec)) is is_so
    assert not stuck_pod.may_wait_in_vain({**stateful_set(**spec), "kind": "Deployment"})


def test_the_first_that_is_not_ready_is_the_one() -> None:
    every = [pod(10), pod(0, ready=True), pod(2), pod(1, ready=True)]
    found = stuck_pod.first_unready(stateful_set(), every)
    assert found is not None and found["metadata"]["name"] == "store-2"
    assert stuck_pod.first_unready(stateful_set(), [pod(0, ready=True)]) is None


def test_one_that_is_going_is_waited_for_and_one_of_others_does_not_count() -> None:
    going = pod(0)
    going["metadata"]["deletionTimestamp"] = BEGUN
    assert stuck_pod.first_unready(stateful_set(), [going, pod(1)]) is None
    other = pod(0)
    other["metadata"]["ownerReferences"][0]["uid"] = "another set"
    assert stuck_pod.first_unready(stateful_set(), [other]) is None


def test_one_below_the_partition_would_be_made_the_same_again() -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    assert stuck_pod.first_unready(stateful_set(updateStrategy=rolling), [pod(1)]) is None
    assert stuck_pod.first_unready(stateful_set(updateStrategy=rolling), [pod(1, ready=True), pod(2)])
    beginning = stateful_set(updateStrategy=rolling, ordinals={"start": 5})
    assert stuck_pod.first_unready(beginning, [pod(6)]) is None
    assert stuck_pod.first_unready(beginning, [pod(7)])


def test_it_has_the_time_that_its_probes_take_and_never_less_than_ten_seconds() -> None:
    assert stuck_pod.judged(pod(0), AT + 10) is None
    found = stuck_pod.judged(pod(0), AT + 11)
    assert found is not None
    assert (found.name, found.uid, found.is_hopeless) == ("store-0", "p0", False)
    assert "has not been ready for 11 s" in found.why
    slow = pod(0)
    probes = {
        "startupProbe": {"periodSeconds": 10, "failureThreshold": 30},
        "readinessProbe": {"initialDelaySeconds": 5},
    }
    slow["spec"]["containers"] = [{}, probes]
    assert stuck_pod.allowed(slow) == 300 + 5 + 30
    assert stuck_pod.judged(slow, AT + 335) is None
    assert stuck_pod.judged(slow, AT + 336)


def test_what_cannot_start_needs_no_time() -> None:
    found = stuck_pod.judged(pod(0, **waiting("ImagePullBackOff")), AT)
    assert found is not None and found.is_hopeless
    assert "ImagePullBackOff" in found.why
    assert stuck_pod.judged(pod(0, **waiting("ContainerCreating")), AT) is None


def test_one_that_no_node_takes_is_counted_from_its_making() -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    one = pod(0, conditions=[unscheduled])
    assert stuck_pod.judged(one, AT + 10) is None
    found = stuck_pod.judged(one, AT + 20)
    assert found is not None and "Unschedulable" in found.why
