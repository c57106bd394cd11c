# SPDX-License-Identifier: Apache-2.0
"""Images of the Kubernetes control plane, made of the programs that are here: no registry has to be asked.

They carry the names that `kubeadm config images list` gives, so that kubeadm finds them. There is no program of
CoreDNS here, hence no image of it.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from . import app, kube_assets, packages
from .command import run

# The last part of an image's name -> the program in it.
CONTROL_PLANE = {
    "kube-apiserver": "kube-apiserver",
    "kube-controller-manager": "kube-controller-manager",
    "kube-scheduler": "kube-scheduler",
    "kube-proxy": "kube-proxy",
    "etcd": "etcd",
}
PROGRAMS = ("kubeadm", *CONTROL_PLANE.values())
# kubeadm 1.36 gives etcd options of its 3.6; Debian's is 3.5, which has them under other names.
STARTER = """\
#!/bin/sh
for word; do
  shift
  case $word in
    --feature-gates=InitialCorruptCheck=true) word=--experimental-initial-corrupt-check=true ;;
    --watch-progress-notify-interval=*) word=--experimental-${word#--} ;;
  esac
  set -- "$@" "$word"
done
exec /usr/local/lib/etcd "$@"
"""
SHELL = {"bin/sh": "busybox", "bin/sleep": "busybox"}


def references() -> dict[str, str]:
    """Last part of the name -> full reference, as this kubeadm wants them."""
    kubeadm = str(kube_assets.program("kubeadm"))
    version = run([kubeadm, "version", "-o", "short"]).stdout.strip()
    listed = run([kubeadm, "config", "images", "list", "--kubernetes-version", version]).stdout.split()
    return {one.rpartition(":")[0].rpartition("/")[2]: one for one in listed}


def write_control_plane(goal: Path) -> None:
    """Write one archive with all images of CONTROL_PLANE."""
    known = references()
    images = []
    for name, program in CONTROL_PLANE.items():
        is_etcd, content = program == "etcd", kube_assets.program(program).read_bytes()
        files = [
            (f"usr/local/{'lib' if is_etcd else 'bin'}/{program}", content, 0o755),
            *([("usr/local/bin/etcd", STARTER.encode(), 0o755)] if is_etcd else []),
            *_libraries(program),
        ]
        settings = {"Entrypoint": [f"/usr/local/bin/{program}"], "Env": ["PATH=/usr/local/bin:/bin"]}
        images.append((known[name], app.tar_of([*files, _busybox()], links=SHELL), settings))
    _write(goal, images)


def write_pause(goal: Path) -> None:
    """Write the image that holds a pod's network open, by the name that the kubelet is told."""
    settings = {"Entrypoint": ["/bin/busybox", "sleep", "2147483647"], "Env": ["PATH=/bin"]}
    _write(goal, [(references()["pause"], app.tar_of([_busybox()]), settings)])


def _busybox() -> tuple[str, bytes, int]:
    return "bin/busybox", (packages.unpacked() / "bin/busybox").read_bytes(), 0o755


def _libraries(program: str) -> list[tuple[str, bytes, int]]:
    """What a program that is not static needs, at the places where it looks."""
    said = run(["ldd", str(kube_assets.program(program))], check=False)
    paths = [word for line in said.stdout.splitlines() for word in line.split() if word.startswith("/")]
    return [(path[1:], Path(path).read_bytes(), 0o755) for path in paths] if said.returncode == 0 else []


def _write(goal: Path, images: list[tuple[str, bytes, dict[str, Any]]]) -> None:
    """Write a Docker archive with several images in it."""
    manifest = []
    with tarfile.open(goal, "w", format=tarfile.USTAR_FORMAT) as tar:
        for reference, layer, settings in images:
            with tarfile.open(fileobj=io.BytesIO(app.image_archive(reference, layer, settings))) as single:
                for member in single:
                    content = single.extractfile(member)
                    if content is None:
                        continue
                    if member.name == "manifest.json":
                        manifest += json.load(content)
                    else:
                        tar.addfile(member, content)
        told = json.dumps(manifest).encode()
        last = tarfile.TarInfo("manifest.json")
        last.size = len(told)
        tar.addfile(last, io.BytesIO(told))
