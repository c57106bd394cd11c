# SPDX-License-Identifier: Apache-2.0
"""Sending notifications out: over HTTP or by SMTP, to no address inside unless the installation allows it.

A name is resolved once, and the connection goes to the address that was looked at: a name that answers differently the
second time leads nowhere else. Redirects are not followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import smtplib
import socket
import ssl
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 10.0


class NotSent(Exception):
    """It was not delivered; the message says why, and repeats nothing secret."""


def address_of(host: str, port: int, allowed: Sequence[str]) -> str:
    """Return the address to connect to. Raises NotSent for a name without one, or one that is inside."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotSent(f"{host} has no address") from None
    networks = [ipaddress.ip_network(each) for each in allowed]
    for entry in found:
        address = ipaddress.ip_address(str(entry[4][0]).partition("%")[0])
        inner = getattr(address, "ipv4_mapped", None) or address
        is_outside = inner.is_global and not inner.is_multicast
        if is_outside or any(inner in network for network in networks if network.version == inner.version):
            return str(inner)
    raise NotSent(f"{host} leads to an internal address; notification_address_allow lets networks in")


def post(url: str, body: bytes, headers: Mapping[str, str], allowed: Sequence[str]) -> None:
    """Send a body with POST. Raises NotSent."""
    parts = urlsplit(url)
    is_tls = parts.scheme == "https"
    host, port = str(parts.hostname), parts.port or (443 if is_tls else 80)
    address = address_of(host, port, allowed)
    connection: http.client.HTTPConnection = (
        _Tls(host, port, address) if is_tls else _Plain(host, port, address)
    )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise NotSent(f"{host} could not be reached: {type(error).__name__}") from None
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise NotSent(f"{host} answered {status}")


class _Plain(http.client.HTTPConnection):
    def __init__(self, host: str, port: int, address: str) -> None:
        super().__init__(host, port, timeout=TIMEOUT_SECONDS)
        self._address = address

    def connect(self) -> None:
        """Connect to the address that was looked at."""
        self.sock = socket.create_connection((self._address, self.port), TIMEOUT_SECONDS)


class _Tls(_Plain):
    def connect(self) -> None:
        """Connect to it, and hold the certificate to the name."""
        super().connect()
        self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def mail(
    configuration: Mapping[str, Any], password: str, message: EmailMessage, allowed: Sequence[str]
) -> None:
    """Send a mail. Raises NotSent."""
    host, port = str(configuration["host"]), int(configuration["port"])
    address = address_of(host, port, allowed)
    try:
        with _Smtp(host, port, address) as server:
            if configuration["use_tls"]:
                server.starttls(context=ssl.create_default_context())
            if configuration["username"]:
                server.login(str(configuration["username"]), password)
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise NotSent(f"{host} did not take the mail: {type(error).__name__}") from None


class _Smtp(smtplib.SMTP):
    def __init__(self, host: str, port: int, address: str) -> None:
        self._pinned = address
        super().__init__(host, port, timeout=TIMEOUT_SECONDS)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((self._pinned, port), timeout)
