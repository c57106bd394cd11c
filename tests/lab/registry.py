# SPDX-License-Identifier: Apache-2.0
"""A real registry (Debian's docker-registry) with a password, on a lab host of its own, over plain HTTP.

Hosts accept it because the lab's networks are among their engine's insecure registries.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import tarfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import image, packages
from .command import LabError

if TYPE_CHECKING:
    from .host import LabHost
    from .lab import Lab

HOST = "registry"
PORT = 5000
USERNAME = "lab-reader"
PASSWORD = "lab-registry-password"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
UNIT = """\
[Service]
ExecStart=/usr/local/bin/docker-registry serve /etc/docker-registry.json
Restart=always
[Install]
WantedBy=multi-user.target
"""
SETTINGS = {
    "version": "0.1",
    "log": {"level": "warn"},
    "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}, "delete": {"enabled": True}},
    "http": {"addr": f":{PORT}"},
    "auth": {"htpasswd": {"realm": "lab", "path": "/etc/docker-registry.htpasswd"}},
}
HASH_PASSWORD = (
    "import crypt, sys; print(crypt.crypt(sys.stdin.read(), crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))"
)


@dataclass(frozen=True)
class Registry:
    """The registry: `address` is `ip:port`, as it begins an image reference."""

    host: LabHost
    address: str
    username: str = USERNAME
    password: str = field(default=PASSWORD, repr=False)

    @classmethod
    def ensure(cls, lab: Lab) -> Registry:
        """The lab's registry, with its host made and the service started when they are not there."""
        host = lab.host(HOST, docker=False)
        registry = cls(host, f"{host.address}:{PORT}")
        if host.exec(["test", "-e", "/etc/systemd/system/registry.service"], check=False).returncode != 0:
            hashed = host.exec(
                ["python3", "-W", "ignore", "-c", HASH_PASSWORD], input=PASSWORD
            ).stdout.strip()
            program = packages.unpacked() / "usr/bin/docker-registry"
            image.put_files(
                lab.engine,
                host.container,
                {
                    "usr/local/bin/docker-registry": (program.read_bytes(), 0o755),
                    "etc/docker-registry.json": (json.dumps(SETTINGS).encode(), 0o644),
                    "etc/docker-registry.htpasswd": (f"{USERNAME}:{hashed}\n".encode(), 0o600),
                    "etc/systemd/system/registry.service": (UNIT.encode(), 0o644),
                },
            )
            host.exec(["systemctl", "enable", "--now", "registry.service"])
        registry._wait()
        return registry

    def push(self, archive: Path, ref: str) -> str:
        """Upload the one image of a Docker archive as `repository:tag`; answers its digest, `sha256:...`."""
        repository, _, tag = ref.removeprefix(self.address + "/").rpartition(":")
        with tarfile.open(archive) as tar:
            entry = json.loads(_member(tar, "manifest.json"))[0]
            config = _member(tar, entry["Config"])
            layers = [gzip.compress(_member(tar, name), 1, mtime=0) for name in entry["Layers"]]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor("application/vnd.docker.container.image.v1+json", config),
            "layers": [
                _descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", layer) for layer in layers
            ],
        }
        for blob in (config, *layers):
            self._put_blob(repository, blob)
        body = json.dumps(manifest, sort_keys=True).encode()
        self._request("PUT", f"/v2/{repository}/manifests/{tag}", body, MANIFEST)
        return _digest(body)

    def delete(self, repository: str, digest: str) -> None:
        """Make an image impossible to pull."""
        self._request("DELETE", f"/v2/{repository}/manifests/{digest}")

    def _put_blob(self, repository: str, blob: bytes) -> None:
        _, headers = self._request("POST", f"/v2/{repository}/blobs/uploads/", b"")
        location = headers["Location"]
        mark = "&" if "?" in location else "?"
        self._request("PUT", f"{location}{mark}digest={_digest(blob)}", blob, "application/octet-stream")

    def _request(
        self, method: str, url: str, body: bytes | None = None, kind: str | None = None
    ) -> tuple[bytes, dict[str, str]]:
        request = urllib.request.Request(
            url if url.startswith("http") else f"http://{self.address}{url}", data=body, method=method
        )
        basic = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {basic}")
        if kind:
            request.add_header("Content-Type", kind)
        # A proxy of the machine's must never see the lab's traffic.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            raise LabError(f"{method} {url}: {error.code} {error.read()[:500]!r}") from error

    def _wait(self, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                self._request("GET", "/v2/")
                return
            except (OSError, LabError) as error:
                if time.monotonic() > end:
                    raise LabError(f"the lab's registry does not answer: {error}") from error
            time.sleep(0.1)


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise LabError(f"{name} is no file")
    return file.read()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(data), "digest": _digest(data)}
