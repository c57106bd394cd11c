# SPDX-License-Identifier: Apache-2.0
"""A member leaves a cluster's own etcd only where a majority is well, before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import etcd_gateway, etcd_members
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

OWN = "https://127.0.0.1:2379"


class Etcd:
    """Its members, name -> id; `ill` do not answer, `learners` do not vote yet."""

    def __init__(self, *names: str) -> None:
        self.members = {name: str(number) for number, name in enumerate(names)}
        self.ill: set[str] = set()
        self.learners: set[str] = set()

    def ask(
        self, endpoint: str, path: str, asked: Mapping[str, Any] | None, _context: object
    ) -> dict[str, Any]:
        if path == "/health":
            name = endpoint.removeprefix("https://").partition(":")[0]
            if name in self.ill:
                raise ReleaseError("preflight_failed", f"{name} does not answer")
            return {"health": "true"}
        assert endpoint == OWN
        if path == "/v3/cluster/member/remove":
            assert asked is not None
            self.members = {name: one for name, one in self.members.items() if one != asked["ID"]}
            return {}
        return {"members": [self._shown(name, one) for name, one in self.members.items()]}

    def _shown(self, name: str, number: str) -> dict[str, Any]:
        learns = {"isLearner": True} if name in self.learners else {}
        return {"ID": number, "name": name, "clientURLs": [f"https://{name}:2379"], **learns}


@pytest.fixture
def etcd(monkeypatch: pytest.MonkeyPatch) -> Etcd:
    made = Etcd("a", "b", "c")
    monkeypatch.setattr(etcd_gateway, "ask", made.ask)
    monkeypatch.setattr(etcd_members, "_context", lambda: None)
    monkeypatch.setattr(etcd_members, "is_there", lambda: True)
    return made


def refused(*names: str) -> str:
    with pytest.raises(ReleaseError) as caught:
        etcd_members.require_majority(names)
    assert caught.value.error_key == "insufficient_nodes" and "Bring back" in caught.value.hint
    return str(caught.value)


def test_one_of_three_leaves_whether_it_is_well_or_lost(etcd: Etcd) -> None:
    etcd_members.require_majority(["c"])
    etcd.ill = {"c"}
    etcd_members.require_majority(["c"])
    assert etcd_members.remove(["c", "worker"]) == ["c"]
    assert list(etcd.members) == ["a", "b"]
    assert etcd_members.remove(["c"]) == []


def test_none_leaves_while_another_is_ill(etcd: Etcd) -> None:
    etcd.ill = {"b"}
    assert refused("c") == (
        "of etcd's 3 members b does not answer; without c 1 of 2 would be well, which is no majority"
    )
    with pytest.raises(ReleaseError, match="no majority"):
        etcd_members.remove(["c"])
    assert list(etcd.members) == ["a", "b", "c"]


def test_two_leave_one_after_another_while_all_are_well(etcd: Etcd) -> None:
    etcd_members.require_majority(["b", "c"])
    assert etcd_members.remove(["c", "b"]) == ["b", "c"]
    assert list(etcd.members) == ["a"]


def test_two_that_are_lost_of_three_have_the_majority_with_them(etcd: Etcd) -> None:
    etcd.ill = {"b", "c"}
    assert "of etcd's 3 members b, c does not answer" in refused("b", "c")


def test_one_that_never_voted_leaves_at_any_time(etcd: Etcd) -> None:
    etcd.members, etcd.learners, etcd.ill = {"a": "1", "b": "2"}, {"b"}, {"b"}
    etcd_members.require_majority(["b"])
    assert etcd_members.remove(["b"]) == ["b"]


def test_a_worker_and_a_cluster_with_its_etcd_elsewhere_have_no_member(
    etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    etcd.ill = {"a", "b", "c"}
    etcd_members.require_majority(["worker"])
    monkeypatch.setattr(etcd_members, "is_there", lambda: False)
    assert etcd_members.named(["a"]) == []
    etcd_members.require_majority(["a"])
