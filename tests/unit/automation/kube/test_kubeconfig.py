# SPDX-License-Identifier: Apache-2.0
"""What a connection gets from a kubeconfig, and which kubeconfigs are none."""

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import kubeconfig
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError


def document(cluster: Any = None, user: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [
            {"name": "k", "cluster": {"server": "https://192.0.2.1:6443/prefix/", **(cluster or {})}}
        ],
        "users": [{"name": "u", "user": {"token": "abc", **(user or {})}}],
        **more,
    }


def read(tmp_path: Path, given: Any) -> kubeconfig.Access:
    path = tmp_path / "kubeconfig"
    path.write_text(given if isinstance(given, str) else json.dumps(given))
    return kubeconfig.read(str(path))


def test_address_token_and_trust(tmp_path: Path) -> None:
    found = read(tmp_path, document({"tls-server-name": "kubernetes"}))
    assert (found.host, found.port, found.prefix, found.server_name) == (
        "192.0.2.1",
        6443,
        "/prefix",
        "kubernetes",
    )
    assert found.headers == {"Authorization": "Bearer abc"}
    assert found.is_verified
    assert not read(tmp_path, document({"insecure-skip-tls-verify": True})).is_verified
    (tmp_path / "token").write_text("from-file\n")
    assert read(tmp_path, document(user={"token": "", "tokenFile": "token"})).headers == {
        "Authorization": "Bearer from-file"
    }


@pytest.mark.parametrize(
    "given",
    [
        "", "words", "a: [", "a: &a [*a]", "- a", "{", document(**{"current-context": "other"}),
        document(contexts=[]), document(clusters="x"), document(users=[{"name": "u", "user": "x"}]),
        document({"server": "http://192.0.2.1"}), document({"server": "file:///x"}), document({"server": ""}),
        document({"server": "https://192.0.2.1:99999"}), document({"proxy-url": "http://192.0.2.9"}),
        document({"certificate-authority-data": "not base64!"}), document({"certificate-authority": "/nonexistent"}),
        document({"certificate-authority-data": "aGVsbG8="}), document(user={"token": "a\r\nX-Evil: b"}),
        document(user={"token": "", "tokenFile": "/nonexistent"}),
        document(user={"client-certificate-data": "aGVsbG8=", "client-key-data": "aGVsbG8="}),
        "x" * (1024 * 1024 + 1), "[" * 300_000, "a: " + "{a: " * 200_000,
    ],
)  # fmt: skip
def test_what_is_no_kubeconfig(tmp_path: Path, given: Any) -> None:
    with pytest.raises(ReleaseError) as refused:
        read(tmp_path, given)
    assert refused.value.error_key == "kubeconfig_invalid"


def test_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(ReleaseError, match="no kubeconfig was given"):
        kubeconfig.read(None)
