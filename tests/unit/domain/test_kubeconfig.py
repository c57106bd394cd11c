# SPDX-License-Identifier: Apache-2.0
"""From a kubeconfig to one connection. What is refused: tests/api/test_hostile_kubeconfigs.py has more of them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from controlplane.domain.cluster import UNVERIFIED
from controlplane.domain.errors import Problem
from controlplane.domain.kubeconfig import read

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


def data(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def document(**other: Any) -> dict[str, Any]:
    """Return one with two contexts: `blue` with a token, `green` with a certificate."""
    return {
        "apiVersion": "v1", "kind": "Config", "preferences": {},
        "clusters": [
            {"name": "blue", "cluster": {"server": "https://blue:6443", "certificate-authority-data": data(PEM)}},
            {"name": "green", "cluster": {"server": "https://green", "tls-server-name": "api", "extensions": []}},
        ],
        "users": [
            {"name": "robot", "user": {"token": "word"}},
            {"name": "person", "user": {"client-certificate-data": data(PEM), "client-key-data": data(KEY)}},
        ],
        "contexts": [
            {"name": "blue", "context": {"cluster": "blue", "user": "robot", "namespace": "shop"}},
            {"name": "green", "context": {"cluster": "green", "user": "person"}},
        ],
        "current-context": "blue", **other,
    }  # fmt: skip


def refused(given: Any, context: str | None = None) -> Problem:
    with pytest.raises(Problem) as raised:
        read(given, context)
    return raised.value


def test_the_current_context_is_taken() -> None:
    found = read(document())
    assert (found.endpoint, found.ca, found.token, found.namespace) == (
        "https://blue:6443",
        PEM,
        "word",
        "shop",
    )
    assert (found.certificate, found.key, found.credential_kind) == (None, None, "token")


def test_another_context_is_taken_when_it_is_named() -> None:
    found = read(document(), "green")
    assert (found.endpoint, found.ca, found.tls_server_name) == ("https://green:443", None, "api")
    assert (found.token, found.certificate, found.key) == (None, PEM, KEY)
    assert refused(document(), "red").errors == {"context": ["there is no such context"]}


def test_everything_that_is_unsafe_is_named_at_once_and_before_what_is_merely_wrong() -> None:
    given = document(kind="Secret")
    given["users"][0]["user"] |= {"exec": {"command": "/bin/sh"}, "tokenFile": "/etc/shadow"}
    given["clusters"][1]["cluster"]["proxy-url"] = "http://192.0.2.1"
    problem = refused(given)
    assert problem.error_key == "kubeconfig_unsafe"
    assert problem.errors.keys() == {
        "users[0].user.exec", "users[0].user.tokenFile", "clusters[1].cluster.proxy-url"
    }  # fmt: skip
    assert "shadow" not in str(problem.document())


def test_everything_that_is_wrong_is_named_at_once() -> None:
    given = document(apiVersion="v2")
    given["users"][0]["user"] = {"token": "two words", "username": "admin"}
    given["contexts"].append("none")
    problem = refused(given)
    assert problem.error_key == "kubeconfig_invalid"
    assert problem.errors.keys() == {"apiVersion", "users[0].user.username", "contexts[2]"}


def test_a_name_that_is_not_known_is_not_repeated_when_it_is_long() -> None:
    given = document()
    given["users"][0]["user"]["x" * 100] = 1
    assert refused(given).errors.keys() == {"users[0].user.?"}


def test_no_verification_passes_only_where_it_may() -> None:
    given = document()
    given["clusters"][0]["cluster"] = {"server": "https://blue", "insecure-skip-tls-verify": True}
    problem = refused(given)
    assert (problem.error_key, problem.errors) == (
        "kubeconfig_unsafe", {"clusters[0].cluster.insecure-skip-tls-verify": [UNVERIFIED]}
    )  # fmt: skip
    assert read(given, allow_insecure=True).is_insecure
    given["clusters"][0]["cluster"]["certificate-authority-data"] = data(PEM)
    with pytest.raises(Problem, match="kubeconfig_invalid"):
        read(given, allow_insecure=True)


@pytest.mark.parametrize("given", [None, [], "words", 7])
def test_what_is_no_mapping_is_no_kubeconfig(given: Any) -> None:
    assert refused(given).error_key == "kubeconfig_invalid"


@pytest.mark.parametrize("name", ["exec", "auth-provider", "tokenFile", "client-certificate", "client-key"])
@pytest.mark.parametrize("value", [None, "", {}, [], False])
def test_an_unsafe_member_is_refused_whatever_it_holds(name: str, value: Any) -> None:
    given = document()
    given["users"][1]["user"][name] = value
    assert refused(given).errors.keys() == {f"users[1].user.{name}"}
