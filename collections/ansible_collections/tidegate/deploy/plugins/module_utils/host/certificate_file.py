# SPDX-License-Identifier: Apache-2.0
"""What a certificate in a file says: whom it names, who signed it, when it ends. With the standard library alone."""

from __future__ import annotations

import base64
import binascii
import math
import os
import re
import ssl
import tempfile
import time
from datetime import datetime, timezone
from typing import Any, Dict, Optional

_RFC3339 = "%Y-%m-%dT%H:%M:%SZ"
_DAY = 86400
_DATA = re.compile(r"(?m)^\s*client-certificate-data:\s*(\S+)\s*$")
_FILE = re.compile(r"(?m)^\s*client-certificate:\s*(\S+)\s*$")


def read(path: str, now: Optional[float] = None) -> Dict[str, Any]:
    """The first certificate of a PEM file: `subject`, `issuer`, `serial`, `not_before`, `expires_at` (RFC 3339),
    `days_left` (whole days, negative once it has ended), `names`.

    Raises OSError where there is no such file, ValueError where it holds no certificate.
    """
    # The standard library decodes certificates for connections; for files this is its only door.
    try:
        found = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
    except ssl.SSLError as error:
        raise ValueError(f"{path} holds no certificate: {error}") from error
    ends = ssl.cert_time_to_seconds(found["notAfter"])
    return {
        "subject": _name(found.get("subject") or ()),
        "issuer": _name(found.get("issuer") or ()),
        "serial": str(found["serialNumber"]),
        "not_before": _moment(ssl.cert_time_to_seconds(found["notBefore"])),
        "expires_at": _moment(ends),
        "days_left": math.floor((ends - (time.time() if now is None else now)) / _DAY),
        "names": sorted({str(value) for _kind, value in found.get("subjectAltName", ())}),
    }


def read_kubeconfig(path: str, now: Optional[float] = None) -> Dict[str, Any]:
    """The client certificate of a kubeconfig that kubeadm or the kubelet wrote; raises as `read`."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    inline, named = _DATA.search(text), _FILE.search(text)
    if inline is None:
        if named is None:
            raise ValueError(f"{path} has no client certificate")
        return read(named[1].strip("\"'"), now)
    try:
        pem = base64.b64decode(inline[1], validate=True)
    except binascii.Error as error:
        raise ValueError(f"{path} has a client certificate that is no base64") from error
    handle, copy = tempfile.mkstemp(prefix="tidegate-certificate-")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(pem)
        return read(copy, now)
    finally:
        os.unlink(copy)


def _name(parts: Any) -> str:
    return ", ".join(f"{_SHORT.get(kind, kind)}={value}" for part in parts for kind, value in part)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime(_RFC3339)  # noqa: UP017 (3.9 has no UTC)


_SHORT = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C"}
