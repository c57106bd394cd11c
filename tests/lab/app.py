# SPDX-License-Identifier: Apache-2.0
"""Images of a small web application, made without network: busybox and a page.

`/` answers `<name> <version>`, `/healthz` answers `ok`; an unhealthy build answers 500 on `/healthz` and says
why on its standard error. `/cgi-bin/env` prints the environment, `/cgi-bin/slow` answers after 3 s (a request
to drain). Port 8080. The image carries a health check (`wget` on `/healthz` every second, three tries).
The same arguments make the same bytes, hence the same image id on every machine with the same busybox.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import tarfile
from pathlib import Path

from . import packages, paths

PORT = 8080
CREATED = "2024-01-01T00:00:00Z"
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
URL = f"http://127.0.0.1:{PORT}/healthz"

# Process 1 must handle TERM itself, or stopping takes the engine's whole patience.
START = """\
#!/bin/sh
trap 'kill $child 2>/dev/null; exit 0' TERM INT
echo "{name} {version} listens on {port}"
{server} &
child=$!
wait $child
"""
HTTPD = f"busybox httpd -f -p {PORT} -h /www"
ONE_BY_ONE = f"busybox nc -ll -p {PORT} -e /app/answer"

# The headers are read to their end: bytes left unread when the connection closes would reset it.
ANSWER_UNHEALTHY = """\
#!/bin/sh
read -r method path protocol
while read -r line && [ "${#line}" -gt 1 ]; do :; done
if [ "$path" = /healthz ]; then
  status='500 Internal Server Error' body='{name} {version}: the migration 0042 is missing'
  echo "error: /healthz answers 500: the migration 0042 is missing" >&2
else
  status='200 OK' body='{name} {version}'
fi
printf 'HTTP/1.0 %s\\r\\nContent-Type: text/plain\\r\\nConnection: close\\r\\n\\r\\n%s\\n' "$status" "$body"
"""
CGI = {
    "env": "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nexec busybox env\n",
    "slow": "#!/bin/sh\nsleep 3\nprintf 'Content-Type: text/plain\\r\\n\\r\\n{name} {version}\\n'\n",
}


def archive(
    folder: Path, version: str, *, healthy: bool = True, name: str = "shop", size_mb: int = 0
) -> Path:
    """Make (or find) the archive of `name:version` in `folder`; `size_mb` adds that much incompressible data.

    Raises ValueError for a name or version that is no image name or tag.
    """
    if not WORD.fullmatch(version) or not WORD.fullmatch(name) or name != name.lower():
        raise ValueError(f"{name}:{version} is no image reference")
    suffix = ("" if healthy else "-unhealthy") + (f"-{size_mb}mb" if size_mb else "")
    path = folder / f"{name}-{version}{suffix}.tar"
    with paths.locked(paths.home() / "locks" / "apps"):
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            making = path.with_suffix(".making")
            making.write_bytes(_archive(name, version, healthy, size_mb))
            making.rename(path)
    return path


def image_id(path: Path) -> str:
    """The id (`sha256:...`) that an engine gives the image of this archive."""
    with tarfile.open(path) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        return "sha256:" + str(json.loads(manifest.read())[0]["Config"]).removesuffix(".json")


def image_archive(reference: str, layer: bytes, settings: dict[str, object]) -> bytes:
    """A Docker archive of one image with one layer (a tar) and these settings, in the engine's own words."""
    config = json.dumps(_config(hashlib.sha256(layer).hexdigest(), settings), sort_keys=True).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    layer_name = hashlib.sha256(layer).hexdigest() + "/layer.tar"
    manifest = [{"Config": config_name, "RepoTags": [reference], "Layers": [layer_name]}]
    return tar_of(
        [
            (config_name, config, 0o644),
            (layer_name, layer, 0o644),
            ("manifest.json", json.dumps(manifest).encode(), 0o644),
        ]
    )


def _archive(name: str, version: str, healthy: bool, size_mb: int) -> bytes:
    return image_archive(f"{name}:{version}", _layer(name, version, healthy, size_mb), _settings())


def _settings() -> dict[str, object]:
    """How the application is run; times are in nanoseconds."""
    second = 1_000_000_000
    return {
        "Cmd": ["/app/start"],
        "Env": ["PATH=/bin"],
        "ExposedPorts": {f"{PORT}/tcp": {}},
        # No time limit of wget's own: in Debian's static busybox that option crashes.
        "Healthcheck": {
            "Test": ["CMD", "/bin/wget", "-q", "-O", "-", URL],
            "Interval": second,
            "Timeout": 3 * second,
            "Retries": 3,
        },
    }


def _config(layer_digest: str, settings: dict[str, object]) -> dict[str, object]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED,
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        "history": [{"created": CREATED, "created_by": "tidegate lab"}],
    }


def _layer(name: str, version: str, healthy: bool, size_mb: int) -> bytes:
    facts = {"name": name, "version": version, "port": str(PORT)}
    busybox = (packages.unpacked() / "bin/busybox").read_bytes()
    files = [
        ("bin/busybox", busybox, 0o755),
        ("app/start", _fill(START, {**facts, "server": HTTPD if healthy else ONE_BY_ONE}), 0o755),
        ("www/index.html", f"{name} {version}\n".encode(), 0o644),
        ("www/healthz", b"ok\n", 0o644),
        *((f"www/cgi-bin/{script}", _fill(text, facts), 0o755) for script, text in CGI.items()),
    ]
    if not healthy:
        files.append(("app/answer", _fill(ANSWER_UNHEALTHY, facts), 0o755))
    if size_mb:
        files.append(("app/padding", random.Random(f"{name} {version}").randbytes(size_mb << 20), 0o644))
    return tar_of(files, links={"bin/sh": "busybox", "bin/wget": "busybox", "bin/sleep": "busybox"})


def _fill(text: str, facts: dict[str, str]) -> bytes:
    for key, value in facts.items():
        text = text.replace("{" + key + "}", value)
    return text.encode()


def tar_of(files: list[tuple[str, bytes, int]], links: dict[str, str] | None = None) -> bytes:
    """A tar of files (path, content, mode) and links; nothing in it depends on when or by whom it was made."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for folder in sorted({str(parent) for path, _, _ in files for parent in Path(path).parents} - {"."}):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for path, content, mode in files:
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
        for path, target in (links or {}).items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return data.getvalue()
