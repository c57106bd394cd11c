# SPDX-License-Identifier: Apache-2.0
"""Endpoints, the addresses that they may lead to, and what a credential says of itself."""

from __future__ import annotations

import base64
import ipaddress
import json
from datetime import UTC, datetime

import pytest

from controlplane.domain import kubeconfig
from controlplane.domain.cluster import (
    NEEDED,
    Ability,
    Connection,
    is_namespace,
    is_token,
    lacking,
    read_endpoint,
    token_expiry,
    why_forbidden,
)
from controlplane.domain.errors import Problem


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("https://192.0.2.1:6443", "https://192.0.2.1:6443"), ("https://Blue.Example", "https://blue.example:443"),
        ("https://[2001:db8::1]:6443/", "https://[2001:db8::1]:6443"), ("https://a/k8s/clusters/c-1", "https://a:443/k8s/clusters/c-1"),
        ("https://a_b.example:1", "https://a_b.example:1"), ("HTTPS://a", "https://a:443"),
    ],
)  # fmt: skip
def test_an_endpoint_is_read_and_written_in_one_way(text: str, read: str) -> None:
    assert str(read_endpoint(text)) == read
    assert str(read_endpoint(read)) == read


@pytest.mark.parametrize(
    "text",
    ["http://a", "https://", "https://a:0", "https://a:65536", "https://u:p@a", "https://a?b", "https://a#b", "https://127.1",
     "https://0x7f.1", "https://1", "https://a..b", "https://-a", "https://a/../b", "https://a%2e", "https://a\\b",
     "https://a\tb", " https://a", "https://[::1%25lo]", "https://" + "a" * 254, "https://a/" + "b" * 243, None, 7, b"https://a"],
)  # fmt: skip
def test_what_hides_where_it_leads_is_no_endpoint(text: object) -> None:
    with pytest.raises(Problem) as raised:
        read_endpoint(text)
    assert raised.value.error_key == "endpoint_invalid"
    assert raised.value.errors.keys() == {"endpoint"}
    assert "p@" not in raised.value.detail


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"), ("127.9.9.9", "loopback"), ("::1", "loopback"), ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"), ("2002:7f00:1::", "loopback"), ("169.254.0.1", "link-local"),
        ("fe80::1", "link-local"), ("169.254.169.254", "metadata"), ("::ffff:169.254.169.254", "metadata"),
        ("fd00:ec2::254", "metadata"), ("100.100.100.200", "metadata"), ("168.63.129.16", "metadata"),
        ("192.0.0.192", "metadata"), ("224.0.0.1", "multicast"), ("ff02::1", "multicast"), ("0.0.0.0", "no address"),
        ("::", "no address"), ("0.1.2.3", "this machine"), ("255.255.255.255", "reserved"), ("240.0.0.1", "reserved"),
        ("::127.0.0.1", "reserved"),
    ],
)  # fmt: skip
def test_addresses_where_no_cluster_is(address: str, kind: str) -> None:
    found = why_forbidden(ipaddress.ip_address(address))
    assert found is not None
    assert kind in found


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "203.0.113.1", "fd00::1", "2001:db9::1"]
)
def test_private_networks_are_where_clusters_are(address: str) -> None:
    assert why_forbidden(ipaddress.ip_address(address)) is None


def test_the_settings_let_networks_through_and_no_others() -> None:
    allowed = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("fe80::/10")]
    for text in ("127.0.0.1", "::ffff:127.0.0.1", "fe80::1"):
        assert why_forbidden(ipaddress.ip_address(text), allowed) is None
    for text in ("::1", "169.254.169.254", "0.0.0.0"):
        assert why_forbidden(ipaddress.ip_address(text), allowed) is not None


def jwt(claims: object) -> str:
    """Return a token that says this of itself."""
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"head.{middle}.signature"


def test_a_token_says_when_it_ends() -> None:
    assert token_expiry(jwt({"exp": 1893456000})) == datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "token",
    ["opaque", "a.b.c", "a.!!.c", jwt([]), jwt({}), jwt({"exp": "soon"}), jwt({"exp": None}), jwt({"exp": 1e30}),
     jwt({"exp": float("inf")}), jwt({"exp": float("nan")}), jwt({"exp": {}}), jwt(7)],
)  # fmt: skip
def test_a_token_that_does_not_say_when_it_ends_is_none_the_worse(token: str) -> None:
    assert token_expiry(token) is None


def test_words_that_are_tokens_and_namespaces() -> None:
    assert is_token("abc.def-_~+/=")
    assert not any(is_token(word) for word in ("", "a b", "a\n", "ä", "x" * 16385, 7, None))
    assert is_namespace("shop-1")
    assert not any(is_namespace(word) for word in ("", "Shop", "-a", "a-", "a/b", "a" * 64, "a\n", 7, None))


def test_what_was_not_answered_is_lacking() -> None:
    answers = dict.fromkeys(NEEDED, True)
    assert lacking(answers) == []
    del answers[Ability("get", "pods", subresource="log")]
    answers[Ability("create", "deployments", "apps")] = False
    assert sorted(lacking(answers)) == ["create deployments.apps", "get pods/log"]


@pytest.mark.parametrize(
    "connection",
    [
        Connection("https://a:443", "-----BEGIN CERTIFICATE-----\n", token="t"),
        Connection(
            "https://a:443", certificate="-----BEGIN C-----\n", key="-----BEGIN K-----\n", namespace="shop"
        ),
        Connection("https://a:443", token="t", is_insecure=True, tls_server_name="b"),
    ],
)
def test_a_connection_is_the_same_after_it_was_written(connection: Connection) -> None:
    written = json.loads(json.dumps(connection.kubeconfig()))
    assert kubeconfig.read(written, allow_insecure=True) == connection
    assert "token='t'" not in repr(connection)
    assert "BEGIN K" not in repr(connection)
