# SPDX-License-Identifier: Apache-2.0
"""Certificates and keys of a cluster's connection: read, judged, and written anew before anything is kept."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from controlplane.domain.cluster import Connection, token_expiry
from controlplane.domain.errors import Problem
from controlplane.ports.cluster_probe import Examined

MOST_CERTIFICATES = 100


def examine(connection: Connection, now: datetime) -> Examined:
    """Return the connection with its PEM text written anew, and when its credential ends.

    Raises:
        Problem: `certificate_invalid`, with the field in `errors`.
    """
    ca = _text(_certificates("ca", connection.ca)) if connection.ca else None
    if connection.certificate is None or connection.key is None:
        expires_at = token_expiry(connection.token or "")
        return Examined(dataclasses.replace(connection, ca=ca), expires_at)
    chain = _certificates("client_certificate", connection.certificate)
    key = _key(connection.key)
    mine = chain[0]
    if _public(key.public_key()) != _public(mine.public_key()):
        raise _fault("client_key", "is not the key of the client certificate")
    if mine.not_valid_after_utc <= now:
        raise _fault("client_certificate", f"expired at {mine.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}")
    if mine.not_valid_before_utc > now:
        raise _fault(
            "client_certificate", f"is valid only from {mine.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"
        )
    written = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    known = dataclasses.replace(connection, ca=ca, certificate=_text(chain), key=written)
    return Examined(known, mine.not_valid_after_utc)


def subject(connection: Connection) -> str | None:
    """Return whom a client certificate names, None for a token. Raises Problem `certificate_invalid`."""
    if connection.certificate is None:
        return None
    return _certificates("client_certificate", connection.certificate)[0].subject.rfc4514_string()


def _certificates(name: str, text: str) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(text.encode("ascii"))
        # Dates and keys are read late; what is broken in there is to be found now.
        for one in found:
            one.public_key()
            one.not_valid_after_utc  # noqa: B018
    except (ValueError, UnsupportedAlgorithm):
        raise _fault(name, "holds no certificate in PEM form that can be read") from None
    if len(found) > MOST_CERTIFICATES:
        raise _fault(name, f"holds more than {MOST_CERTIFICATES} certificates")
    return found


def _key(text: str) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(text.encode("ascii"), None)
    except TypeError:
        raise _fault("client_key", "has a passphrase, which nobody could give") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _fault("client_key", "is no private key in PEM form that can be read") from None


def _text(certificates: list[x509.Certificate]) -> str:
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)


def _public(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]


def _fault(name: str, said: str) -> Problem:
    return Problem("certificate_invalid", f"{name} {said}", errors={name: [said]})
