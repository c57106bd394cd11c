# SPDX-License-Identifier: Apache-2.0
"""What the VIP stands before in these tests: a TLS service whose certificate names the VIP, as an API server's does."""

from __future__ import annotations

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.lab import LabHost

PORT = 6443
_SERVER = """
import http.server, ssl
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *said):
        pass
server = http.server.ThreadingHTTPServer(("0.0.0.0", 6443), Answer)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/behind.pem")
# The handshake is the connection's own thread's: a client that says nothing keeps nobody waiting.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
"""
_UNIT = """
[Unit]
Description=What the VIP stands before
[Service]
ExecStart=/usr/bin/python3 /srv/behind.py
Restart=always
[Install]
WantedBy=multi-user.target
"""


def serve(host: LabHost, *addresses: str) -> None:
    """Serve /readyz over TLS on a host, with a certificate of these addresses."""
    files = {
        "/srv/behind.pem": _certificate(addresses),
        "/srv/behind.py": _SERVER,
        "/etc/systemd/system/behind.service": _UNIT,
    }
    for path, text in files.items():
        host.exec(["sh", "-c", f"cat > {path}"], input=text)
    host.exec(["systemctl", "enable", "--now", "--quiet", "behind.service"])


def _certificate(addresses: tuple[str, ...]) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "behind")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(one)) for one in addresses]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (private + made.public_bytes(serialization.Encoding.PEM)).decode()
