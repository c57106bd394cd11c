# SPDX-License-Identifier: Apache-2.0
"""Kubeconfigs with everything inline, and users of a cluster who may do what they are given and no more."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from .kube_certificates import Pair

if TYPE_CHECKING:
    from .kube import KubeApi

Kind = Literal["token", "certificate"]
RBAC = "rbac.authorization.k8s.io"


def kubeconfig(
    endpoint: str, ca: str, *, token: str = "", pair: Pair | None = None, namespace: str = "default"
) -> str:
    """A kubeconfig as text: one cluster, one user, one context, no file beside it."""
    user: dict[str, str] = {"token": token} if token else {}
    if pair is not None:
        user = {"client-certificate-data": _data(pair.certificate), "client-key-data": _data(pair.key)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "lab", "cluster": {"server": endpoint, "certificate-authority-data": _data(ca)}}
        ],
        "users": [{"name": "lab", "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": namespace}}],
        "current-context": "lab",
    }
    return json.dumps(document, indent=1) + "\n"


def token_of(text: str) -> str:
    """The token in a kubeconfig made here; empty when it has none."""
    return str(json.loads(text)["users"][0]["user"].get("token", ""))


def certificate_of(text: str) -> Pair | None:
    """The client certificate in a kubeconfig made here, if any."""
    user = json.loads(text)["users"][0]["user"]
    if "client-certificate-data" not in user:
        return None
    return Pair(*(base64.b64decode(user[f"client-{part}-data"]).decode() for part in ("certificate", "key")))


def grant(
    api: KubeApi,
    name: str,
    namespace: str,
    rules: Sequence[dict[str, Any]],
    cluster_rules: Sequence[dict[str, Any]],
    kind: Kind,
) -> None:
    """Make the namespace, the service account (for a token) and the roles that allow exactly these rules."""
    subject = {"kind": "User", "name": name, "apiGroup": RBAC}
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    ]
    if kind == "token":
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        objects.append(_object("v1", "ServiceAccount", name, namespace))
    for role, chosen, place in (
        ("Role", rules, namespace),
        ("ClusterRole", cluster_rules, ""),
    ):
        granted = name if place else f"{namespace}-{name}"
        reference = {"apiGroup": RBAC, "kind": role, "name": granted}
        objects.append({**_object(f"{RBAC}/v1", role, granted, place), "rules": list(chosen)})
        binding = _object(f"{RBAC}/v1", f"{role}Binding", granted, place)
        objects.append({**binding, "roleRef": reference, "subjects": [subject]})
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    api.kubectl(["apply", "--server-side", "--field-manager=tidegate-lab", "-f", "-"], input=manifest)


def _object(version: str, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **place}}


def _data(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
