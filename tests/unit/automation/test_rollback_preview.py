# SPDX-License-Identifier: Apache-2.0
"""What a host tells of a rollback before it: what goes, what is as it was, and what may not be undone there."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import (
    journal,
    kubeadm,
    preflight,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.environment.journal import Journal
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError


@pytest.fixture(autouse=True)
def of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal.state_folder, "path", lambda name: str(tmp_path / name))


def node(step: str, task: str) -> None:
    """A host that a first task made ready, and that this task had join."""
    Journal(task="tsk_1").note("container_runtime", "unit", "containerd.service", sha256="1")
    Journal(task="tsk_1").note("container_runtime", "file", "/etc/settings", sha256="1")
    later = Journal(task="tsk_2")
    later.note("container_runtime", "file", "/etc/settings", {"content": "1"}, sha256="2")
    later.note("kubernetes_node", "file", "/etc/added", sha256="2")
    Journal(task=task).note(step, "kubeadm", "node", done=True)


def test_a_rollback_of_some_tasks_tells_what_goes_and_what_is_as_it_was() -> None:
    node("worker_join", "tsk_1")
    told = preflight._looked_back(["tsk_2"], [])
    assert told["undo"] == [
        {"step": "kubernetes_node", "action": "undo", "detail": "takes away 1 things"},
        {"step": "container_runtime", "action": "undo", "detail": "brings back as it was: /etc/settings"},
    ]
    assert told["checks"] == []
    whole = preflight._looked_back(None, [])
    assert [one["step"] for one in whole["undo"]] == ["worker_join", "kubernetes_node", "container_runtime"]
    assert whole["checks"] == []


@pytest.mark.parametrize(
    ("step", "hint"),
    [("worker_join", "kind removal"), ("control_plane_join", "roll back the install that made that")],
)
def test_a_node_of_a_cluster_that_stays_is_not_taken_back_with_the_task_that_had_it_join(
    step: str, hint: str
) -> None:
    node(step, "tsk_2")
    (check,) = preflight._looked_back(["tsk_2"], [])["checks"]
    assert (check["level"], check["check"], check["code"]) == ("blocking", "rollback", "conflict")
    assert hint in check["hint"]
    with pytest.raises(ReleaseError, match="the cluster stays"):
        kubeadm.rollback(step)(Journal(undoes=["tsk_2"]))
    assert Journal().find("kubeadm", "node")
    assert preflight._looked_back(None, [])["checks"] == []
