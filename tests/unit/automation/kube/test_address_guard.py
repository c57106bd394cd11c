# SPDX-License-Identifier: Apache-2.0
"""Where a run goes: only to addresses that a cluster may have, whatever its name led to before."""

from __future__ import annotations

import ipaddress
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import address_guard, kubeconfig
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.session import Session
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

from controlplane.domain import cluster

ADDRESSES = ("10.0.0.1", "192.0.2.1", "127.0.0.1", "127.9.9.9", "169.254.169.254", "169.254.1.1", "0.0.0.0",
             "0.1.2.3", "224.0.0.1", "240.0.0.1", "100.100.100.200", "168.63.129.16", "::1", "::", "fe80::1",
             "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
             "2002:7f00:1::", "2001:db8::1", "fd12::1", "ff02::1")  # fmt: skip


@pytest.mark.parametrize("allowed", [(), ("127.0.0.0/8",), ("169.254.0.0/16", "::1/128")])
@pytest.mark.parametrize("address", ADDRESSES)
def test_it_is_the_same_rule_as_when_a_cluster_is_stored(address: str, allowed: tuple[str, ...]) -> None:
    networks = [ipaddress.ip_network(one) for one in allowed]
    assert address_guard.why_forbidden(address, allowed) == cluster.why_forbidden(
        ipaddress.ip_address(address), networks
    )


@pytest.fixture
def listening() -> Any:
    """A port on loopback that counts who comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


def access(folder: Path, port: int, allow: list[str]) -> kubeconfig.Access:
    connection = cluster.Connection(f"https://api.shop.example:{port}", token="t", is_insecure=True)
    document = connection.kubeconfig()
    extension = {"name": "tidegate", "extension": {"address_allow": allow}}
    document["clusters"][0]["cluster"]["extensions"] = [extension]
    path = folder / "kubeconfig"
    path.write_text(json.dumps(document))
    return kubeconfig.read(str(path))


@pytest.mark.parametrize("is_allowed", [False, True])
def test_a_name_that_leads_to_loopback_by_now_is_not_followed(
    listening: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_allowed: bool
) -> None:
    port = listening.getsockname()[1]
    found = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **how: [found])
    way = access(tmp_path, port, ["127.0.0.0/8"] if is_allowed else [])
    monkeypatch.setattr(
        "ansible_collections.tidegate.deploy.plugins.module_utils.kube.session._ANSWER_SECONDS", 0.3
    )
    with Session(way) as session, pytest.raises(ReleaseError) as refused:
        session.get("/version")
    if is_allowed:
        # Nobody speaks TLS there.
        assert refused.value.error_key == "cluster_unreachable"
        listening.accept()[0].close()
        return
    assert refused.value.error_key == "endpoint_invalid"
    with pytest.raises(TimeoutError):
        listening.accept()
