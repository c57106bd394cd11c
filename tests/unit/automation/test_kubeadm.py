# SPDX-License-Identifier: Apache-2.0
"""A cluster is begun once, and goes on with what it was begun with; a node stays what it is in it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import (
    external_etcd,
    journal,
    kubeadm,
    kubectl,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.environment.journal import Journal
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

LASTING = {"pod_subnet": "10.244.0.0/16", "control_plane_name": "blue.control-plane.internal"}


class Host:
    """A host on which kubeadm is played; `happened` tells in order what was done to it and to the etcd elsewhere."""

    def __init__(self, root: Path) -> None:
        self.root, self.is_broken = root, False
        self.happened: list[str] = []
        self.held = 0

    @property
    def journal(self) -> Journal:
        return Journal(str(self.root / "journal.json"))

    def run(self, *words: str, timeout: int = 0) -> subprocess.CompletedProcess[str]:
        if words[0] == "kubeadm":
            self.happened.append(words[1])
            kubelet = self.root / "kubelet.conf"
            if words[1] == "reset":
                kubelet.unlink(missing_ok=True)
            else:
                self.held += 1
                kubelet.touch()
        return subprocess.CompletedProcess(words, 1 if self.is_broken else 0, "", "it broke")

    def require_empty(self, _endpoints: list[str], _files: dict[str, str]) -> None:
        if self.held:
            raise ReleaseError("conflict", "it holds another cluster")

    def clear(self, _endpoints: list[str], cluster: str) -> str:
        self.happened.append(f"clear {cluster}".strip())
        self.held = 0
        return ""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    for module in (kubeadm, journal):
        monkeypatch.setattr(module, "run", made.run)
    monkeypatch.setattr(kubeadm, "KUBELET", str(tmp_path / "kubelet.conf"))
    monkeypatch.setattr(kubeadm, "_MEMORY", str(tmp_path))
    left = {name: (str(tmp_path / name), check) for name, (_path, check) in kubeadm.LEFTOVERS.items()}
    monkeypatch.setattr(kubeadm, "LEFTOVERS", left)
    monkeypatch.setattr(kubeadm, "delete_tokens", lambda is_meant: None)
    monkeypatch.setattr(kubectl, "ask", lambda *words: {"metadata": {"uid": "uid-1"}})
    monkeypatch.setattr(journal.state_folder, "path", lambda name: str(tmp_path / "state" / name))
    monkeypatch.setattr(external_etcd, "require_empty", made.require_empty)
    monkeypatch.setattr(external_etcd, "clear", made.clear)
    return made


def work(etcd: bool = False, **lasting: Any) -> dict[str, Any]:
    elsewhere = {"endpoints": ["https://192.0.2.20:2379"], "files": {}} if etcd else {}
    return {
        "init": {"config": "c", "seconds": 1, "lasting": {**LASTING, **lasting}, "etcd": elsewhere},
        "join": {"config": "c", "seconds": 1},
        "inputs": {"kubeadm_ignore_preflight": []},
    }


def begin(host: Host, promise_only: bool = False, **more: Any) -> list[str]:
    return list(kubeadm.init(work(**more), host.journal, promise_only)["changes"])


def test_it_is_begun_once(host: Host) -> None:
    assert begin(host, promise_only=True) == begin(host) == ["kubeadm init"]
    assert begin(host) == []
    assert host.happened == ["init"]


@pytest.mark.parametrize("promise_only", [True, False])
def test_other_inputs_than_it_was_begun_with_are_refused_and_not_forgotten(
    host: Host, promise_only: bool
) -> None:
    begin(host)
    with pytest.raises(ReleaseError, match=r'pod_subnet was "10\.244\.0\.0/16"') as caught:
        begin(host, promise_only, pod_subnet="10.1.0.0/16")
    assert caught.value.error_key == "conflict" and "anew" in caught.value.hint
    assert host.happened == ["init"]


def test_one_that_was_broken_off_may_be_begun_with_others(host: Host) -> None:
    host.is_broken = True
    with pytest.raises(ReleaseError, match="it broke"):
        begin(host)
    host.is_broken = False
    assert begin(host, pod_subnet="10.1.0.0/16") == ["kubeadm init"]
    assert begin(host, pod_subnet="10.1.0.0/16") == []
    assert host.happened == ["init", "reset", "init"]


Step = Callable[[dict[str, Any], Journal, bool], dict[str, Any]]


def joining(step: str) -> Step:
    return lambda given, known, promise_only: kubeadm.join(step, given, known, promise_only)


@pytest.mark.parametrize("promise_only", [True, False])
@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        (
            kubeadm.init,
            joining(kubeadm.JOIN_PLANE),
            "began its cluster, and would have to be one that joined as a con",
        ),
        (
            joining(kubeadm.JOIN_PLANE),
            kubeadm.init,
            "joined as a control plane, and would have to be one that began",
        ),
        (joining(kubeadm.JOIN_WORKER), joining(kubeadm.JOIN_PLANE), "joined as a worker"),
    ],
)
def test_a_node_that_would_be_another_thing_is_refused(
    host: Host, first: Step, then: Step, said: str, promise_only: bool
) -> None:
    first(work(), host.journal, False)
    before = list(host.happened)
    with pytest.raises(ReleaseError, match=said) as caught:
        then(work(), host.journal, promise_only)
    assert caught.value.error_key == "conflict" and "before all others" in caught.value.hint
    assert host.happened == before


def test_an_etcd_elsewhere_is_cleared_after_its_api_server_is_gone(host: Host) -> None:
    assert begin(host, etcd=True) == ["kubeadm init"]
    assert begin(host, etcd=True) == []
    undone, left = host.journal.undo(kubeadm.INIT)
    assert (undone, left) == (["kubeadm node", "external_etcd etcd"], [])
    assert host.happened == ["init", "reset", "clear uid-1"]


def test_one_that_was_broken_off_begins_anew_in_its_etcd(host: Host) -> None:
    host.is_broken = True
    with pytest.raises(ReleaseError, match="it broke"):
        begin(host, etcd=True)
    host.is_broken = False
    assert begin(host, promise_only=True, etcd=True) == ["kubeadm init"]
    assert begin(host, etcd=True) == ["kubeadm init"]
    assert host.happened == ["init", "reset", "clear", "init"]


@pytest.mark.parametrize("promise_only", [True, False])
def test_an_etcd_with_a_cluster_in_it_is_not_begun_in(host: Host, promise_only: bool) -> None:
    host.held = 3
    with pytest.raises(ReleaseError, match="it holds another cluster"):
        begin(host, promise_only, etcd=True)
    assert host.happened == [] and host.journal.entries == []


def test_a_node_of_somebody_else_s_cluster_is_left_alone_and_so_is_the_etcd(host: Host) -> None:
    (host.root / "kubelet.conf").touch()
    with pytest.raises(ReleaseError, match="that Tidegate did not make"):
        begin(host, etcd=True)
    assert host.happened == [] and host.journal.entries == []


@pytest.mark.parametrize("promise_only", [True, False])
@pytest.mark.parametrize("name", ["manifests", "etcd"])
def test_what_an_earlier_cluster_left_is_named_before_anything_is_done(
    host: Host, name: str, promise_only: bool
) -> None:
    (host.root / name).mkdir()
    (host.root / name / "something").touch()
    with pytest.raises(ReleaseError, match=f"something of an earlier cluster in .*/{name}") as caught:
        begin(host, promise_only)
    assert caught.value.error_key == "conflict" and "kubeadm reset" in caught.value.hint
    assert host.happened == [] and host.journal.entries == []
    meant = work()
    meant["inputs"] = {"kubeadm_ignore_preflight": [kubeadm.LEFTOVERS[name][1]]}
    assert kubeadm.init(meant, host.journal, promise_only)["changes"] == ["kubeadm init"]


def test_a_worker_and_an_etcd_elsewhere_need_no_empty_folder_for_one(host: Host) -> None:
    (host.root / "etcd").mkdir()
    (host.root / "etcd/something").touch()
    assert joining(kubeadm.JOIN_WORKER)(work(), host.journal, True)["changes"] == ["kubeadm join"]
    assert begin(host, True, etcd=True) == ["kubeadm init"]
