# SPDX-License-Identifier: Apache-2.0
"""An etcd that is not the cluster's own: a cluster begins in one that holds none, and is all that is deleted in it."""

from __future__ import annotations

import base64
import contextlib
import os
import ssl
import tempfile
from typing import Any, Dict, Iterator, Mapping, Sequence

from ..release.errors import ReleaseError
from . import etcd_gateway

# Not below pki: `kubeadm reset` empties that, and a join that was broken off begins anew.
FOLDER = "/etc/kubernetes/external-etcd"
CA, CERTIFICATE, KEY = (os.path.join(FOLDER, name) for name in ("ca.crt", "client.crt", "client.key"))
# Where an API server keeps everything, and the first key after that.
_BEGIN, _END = "/registry/", "/registry0"
_NAMESPACE = _BEGIN + "namespaces/kube-system"
# Nothing that is written here meets a disk.
_MEMORY = "/run"


def require_empty(endpoints: Sequence[str], files: Mapping[str, str]) -> None:
    """Let pass an etcd of which every member answers and that holds no cluster; `files` is path -> content.

    Raises ReleaseError preflight_failed where one does not answer, conflict where there is a cluster in it.
    """
    with _copies(files) as context:
        counts = [
            etcd_gateway.ask(one, "/v3/kv/range", {**_range(), "count_only": True}, context)
            for one in endpoints
        ]
    count = max(int(one.get("count", 0)) for one in counts)
    if count:
        raise ReleaseError(
            "conflict",
            f"etcd at {', '.join(endpoints)} holds {count} objects of another cluster",
            f"Take another etcd, or delete what is below {_BEGIN} where nobody needs it.",
        )


def clear(endpoints: Sequence[str], cluster: str) -> str:
    """Delete the cluster that began in an empty etcd, by the files that are on this host; answers why it stays, or
    nothing. `cluster` is the id of its namespace kube-system, empty where it did not come so far."""
    try:
        context = etcd_gateway.context(CA, CERTIFICATE, KEY)
        if not _is_of(cluster, endpoints[0], context):
            return f"what is below {_BEGIN} is of another cluster by now"
        etcd_gateway.ask(endpoints[0], "/v3/kv/deleterange", _range(), context)
    except ReleaseError as error:
        return f"the cluster's objects stay in it, below {_BEGIN}: {error}"
    return ""


def _is_of(cluster: str, endpoint: str, context: ssl.SSLContext) -> bool:
    found = (
        etcd_gateway.ask(endpoint, "/v3/kv/range", {"key": etcd_gateway.encoded(_NAMESPACE)}, context).get(
            "kvs"
        )
        or []
    )
    return not cluster or not found or cluster.encode() in base64.b64decode(found[0]["value"])


def _range() -> Dict[str, Any]:
    return {"key": etcd_gateway.encoded(_BEGIN), "range_end": etcd_gateway.encoded(_END)}


@contextlib.contextmanager
def _copies(files: Mapping[str, str]) -> Iterator[ssl.SSLContext]:
    """The files where only root reads them, for as long as it takes to read them: a look leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="tidegate-etcd-", dir=_MEMORY) as folder:
        paths = []
        for path in (CA, CERTIFICATE, KEY):
            paths.append(os.path.join(folder, os.path.basename(path)))
            with open(
                paths[-1], "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)
            ) as out:
                out.write(files[path])
        yield etcd_gateway.context(*paths)
