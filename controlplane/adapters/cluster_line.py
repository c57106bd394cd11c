# SPDX-License-Identifier: Apache-2.0
"""One guarded HTTPS connection to an API server: to the address that was judged, and nowhere else.

No redirect is followed, no proxy of the environment is used, an answer has a size and all of it a deadline.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane.domain.cluster import Address, Connection, Endpoint, Network, read_endpoint, why_forbidden
from controlplane.domain.errors import Problem

MOST_BYTES = 16 * 1024 * 1024
_CHUNK = 64 * 1024
_OURS_REFUSED = (
    "CERTIFICATE_REQUIRED",
    "BAD_CERTIFICATE",
    "UNKNOWN_CA",
    "CERTIFICATE_EXPIRED",
    "ACCESS_DENIED",
)
Resolve = Callable[[str, int], Sequence[Address]]


@dataclass(frozen=True)
class Way:
    """Where a look goes: addresses that were judged, what is trusted there, and when the look is over
    (`time.monotonic`)."""

    endpoint: Endpoint
    addresses: Sequence[Address]
    trust: ssl.SSLContext
    server_name: str
    token: str | None
    until: float

    def left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError when none are."""
        seconds = self.until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


def find_way(connection: Connection, timeout: float, allowed: Sequence[Network], resolve: Resolve) -> Way:
    """Resolve a connection's endpoint and judge every address that it has.

    Raises:
        Problem: `endpoint_invalid`, `cluster_unreachable` (no such name), `certificate_invalid`.
    """
    until = time.monotonic() + timeout
    endpoint = read_endpoint(connection.endpoint)
    addresses = resolve(endpoint.host, endpoint.port)
    for address in addresses:
        if kind := why_forbidden(address, allowed):
            said = f"leads to {kind}, which no cluster may have here"
            raise Problem(
                "endpoint_invalid",
                f"the endpoint {said}",
                hint="An administrator can allow its network with the setting cluster_address_allow.",
                errors={"endpoint": [said]},
            )
    server_name = connection.tls_server_name or endpoint.host
    return Way(endpoint, addresses, _trust(connection), server_name, connection.token, until)


def resolve_name(host: str, port: int) -> list[Address]:
    """Return the addresses of a name. Raises Problem `cluster_unreachable` when it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        found = []
    # An address of a link comes with its zone: it is refused with or without it.
    addresses = dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found)
    if not addresses:
        raise Problem("cluster_unreachable", f"{host} has no address")
    return list(addresses)


def _trust(connection: Connection) -> ssl.SSLContext:
    try:
        trust = ssl.create_default_context(cadata=connection.ca)
        trust.minimum_version = ssl.TLSVersion.TLSv1_2
        if connection.is_insecure:
            trust.check_hostname = False
            trust.verify_mode = ssl.CERT_NONE
        if connection.certificate and connection.key:
            _load_pair(trust, connection.certificate + connection.key)
    except (ssl.SSLError, ValueError):
        raise Problem("certificate_invalid", "the certificates or the key cannot be used for TLS") from None
    return trust


def _load_pair(trust: ssl.SSLContext, text: str) -> None:
    """Give TLS its certificate and key. It reads files only: this one is memory, and gone when it is closed."""
    with os.fdopen(os.memfd_create("pair"), "w") as file:
        file.write(text)
        file.flush()
        trust.load_cert_chain(f"/proc/self/fd/{file.fileno()}")


class Line(http.client.HTTPSConnection):
    """A kept connection. Every method raises Problem; none repeats what the other side wrote."""

    def __init__(self, way: Way) -> None:
        super().__init__(way.endpoint.host, way.endpoint.port, context=way.trust)
        self._way = way
        self.response_class = self._response  # type: ignore[assignment]

    def connect(self) -> None:
        """Connect to the first judged address that answers."""
        last: OSError = TimeoutError()
        for address in self._way.addresses:
            try:
                plain = socket.create_connection((str(address), self._way.endpoint.port), self._way.left())
            except OSError as error:
                last = error
                continue
            try:
                plain.settimeout(self._way.left())
                self.sock = self._way.trust.wrap_socket(plain, server_hostname=self._way.server_name)
            except BaseException:
                plain.close()
                raise
            return
        raise last

    def peer_certificate(self) -> bytes:
        """Return the server's certificate, DER."""
        return bytes(self.sock.getpeercert(binary_form=True) or b"")

    def open(self) -> None:
        """Connect. Raises Problem `cluster_unreachable`, `certificate_invalid`."""
        self._guarded(self.connect)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return the status and the JSON document of an answer; None for a body that is no JSON."""
        return self._guarded(lambda: self._ask(method, path, body))

    def _ask(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        headers = {"Accept": "application/json", "User-Agent": "tidegate"}
        if self._way.token:
            headers["Authorization"] = f"Bearer {self._way.token}"
        content = None
        if body is not None:
            content, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        if self.sock is not None:
            self.sock.settimeout(self._way.left())
        self.request(method, self._way.endpoint.prefix + path, content, headers)
        with self.getresponse() as answer:
            return answer.status, _document(self._read(answer))

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        read = bytearray()
        while chunk := answer.read1(_CHUNK):
            read += chunk
            if len(read) > MOST_BYTES:
                raise Problem(
                    "cluster_unreachable", f"{self._where()} answers with more than {MOST_BYTES} bytes"
                )
        return bytes(read)

    def _response(self, sock: Any, *args: Any, **named: Any) -> http.client.HTTPResponse:
        return http.client.HTTPResponse(_Paced(sock, self._way), *args, **named)  # type: ignore[arg-type]

    def _where(self) -> str:
        return f"{self._way.endpoint.host} port {self._way.endpoint.port}"

    def _guarded(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except ssl.SSLCertVerificationError as error:
            raise Problem(
                "certificate_invalid",
                f"the certificate of {self._where()} is not valid: {error.verify_message}",
            ) from None
        except ssl.SSLError as error:
            reason = str(error.reason or "broken")
            if any(word in reason for word in _OURS_REFUSED):
                raise Problem(
                    "certificate_invalid", f"{self._where()} does not take the client certificate"
                ) from None
            raise Problem("cluster_unreachable", f"{self._where()}: no TLS ({reason[:60]})") from None
        except TimeoutError:
            raise Problem("cluster_unreachable", f"{self._where()}: no answer in time") from None
        except OSError as error:
            raise Problem(
                "cluster_unreachable", f"{self._where()}: {error.strerror or 'broke off'}"
            ) from None
        except (http.client.HTTPException, ValueError):
            raise Problem("cluster_unreachable", f"{self._where()} does not speak HTTP") from None


class _Paced(io.RawIOBase):
    """What a socket sends, read under the deadline of the look: one byte now and then does not hold us up."""

    def __init__(self, sock: Any, way: Way) -> None:
        self._sock = sock
        self._way = way

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return what an HTTP response reads from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there, for as long as there is time."""
        self._sock.settimeout(self._way.left())
        count: int = self._sock.recv_into(buffer)
        return count


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
