# SPDX-License-Identifier: Apache-2.0
"""An etcd asked through its JSON gateway: no program of its own has to be on the host.

See https://etcd.io/docs/latest/dev-guide/api_grpc_gateway/.
"""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from typing import Any, Dict, Mapping, Optional

from ..release.errors import ReleaseError

_SECONDS = 10


def context(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    """What a connection shows and trusts, from PEM files. Raises ReleaseError certificate_invalid."""
    try:
        made = ssl.create_default_context(cafile=ca)
        made.load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:
        raise ReleaseError(
            "certificate_invalid", f"the credentials for etcd cannot be used: {error}", "See their PEM texts."
        ) from error
    return made


def ask(
    endpoint: str, path: str, asked: Optional[Mapping[str, Any]], context: ssl.SSLContext
) -> Dict[str, Any]:
    """What a member answers; `asked` is posted, None only read. Raises ReleaseError preflight_failed."""
    request = urllib.request.Request(  # noqa: S310 (https alone is let in as an input)
        endpoint.rstrip("/") + path,
        None if asked is None else json.dumps(asked).encode(),
        {"Content-Type": "application/json"},
    )
    # A proxy of the environment is not asked: etcd is as near as the cluster's own nodes.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    hint = "See that etcd answers this host, and lets in who shows this certificate."
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        said = error.read(500).decode(errors="replace")
        raise ReleaseError("preflight_failed", f"etcd at {endpoint}: {error.code} {said}", hint) from error
    except (OSError, ValueError) as error:
        raise ReleaseError(
            "preflight_failed", f"etcd at {endpoint} does not answer: {error}", hint
        ) from error


def encoded(text: str) -> str:
    """A key as the gateway takes it."""
    return base64.b64encode(text.encode()).decode()
