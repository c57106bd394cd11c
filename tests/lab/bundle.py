# SPDX-License-Identifier: Apache-2.0
"""A real bundle: what git holds of it, filled out of Debian's packages and the Kubernetes programs that are here.

It is made with the product's own commands, locked, and signed with a key of the lab's own. It is kept in the lab's
home, and made anew when `script/`, the packages or the programs are others; one that somebody uses never changes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from . import app, kube_assets, kube_images, packages, paths, vip_programs
from .command import LabError, run

SCRIPT = Path(__file__).resolve().parents[2] / "script"
NOT_IN_GIT = ("bin", "images", "*.sig")
PACKAGES = {
    "bookworm": ("docker.io", "containerd", "runc"),
    # Older suites have Compose 2.26, or the retired Compose 1.
    "forky": ("docker-compose", "containernetworking-plugins"),
}
CONTAINERD = ("containerd", "containerd-shim-runc-v2", "ctr")
TEST_IMAGE = "tidegate-test:1"
KUBE_PROGRAMS = ("kubeadm", "kubelet", "kubectl")


def folder() -> Path:
    """Where this checkout's bundle is, whether it was made or not; another checkout's is beside it."""
    return paths.home() / "bundles" / _key()


def public_key() -> Path:
    """The key that signed it."""
    return paths.home() / "bundle.key.pub"


def make() -> Path:
    """Make the bundle, or find the one that is there; `bundle` in the lab's home leads to it. Raises LabError."""
    with paths.locked(paths.home() / "locks" / "bundle"):
        goal = folder()
        if not goal.is_dir():
            print("lab: making the bundle (once, about a minute)", file=sys.stderr, flush=True)
            _make(goal)
        goal.touch()
        _lead_to(goal)
        return goal


def _make(goal: Path) -> None:
    _forget_old(goal.parent)
    making, loose = goal.with_suffix(".making"), goal.with_suffix(".loose")
    for scratch in (making, loose):
        shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(SCRIPT, making, ignore=shutil.ignore_patterns(*NOT_IN_GIT))
    loose.mkdir()
    _write_images(loose)
    _write_containerd_2(loose)
    vip_programs.write(loose)
    if _has_kubernetes():
        _add_kubernetes(loose)
    _command("import", str(making), *map(str, packages.files(PACKAGES)), str(loose))
    shutil.rmtree(loose)
    _finish(making)
    making.rename(goal)


def _lead_to(goal: Path) -> None:
    link, making = paths.home() / "bundle", paths.home() / "bundle.link"
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)
    making.unlink(missing_ok=True)
    making.symlink_to(goal)
    making.replace(link)


def _forget_old(made: Path) -> None:
    """Bundles are large; one that nobody asked for since yesterday is made anew when it is asked for."""
    if made.is_dir():
        for one in made.iterdir():
            if time.time() - one.stat().st_mtime > 86400:
                shutil.rmtree(one)


def versions() -> dict[str, str]:
    """Version of each artifact in the bundle that has one."""
    index = _command("sbom", str(folder()))
    return {one["name"]: one["version"] for one in json.loads(index)["components"] if "version" in one}


def _key() -> str:
    state = [
        path.read_bytes().hex() for path in sorted(SCRIPT.rglob("*")) if path.is_file() and _is_in_git(path)
    ]
    made_by = [
        path.read_text() for path in (Path(__file__), Path(kube_images.__file__), Path(vip_programs.__file__))
    ]
    here = "with Kubernetes" if _has_kubernetes() else ""
    return paths.digest(*state, str(PACKAGES), here, *made_by, length=32)


def _is_in_git(path: Path) -> bool:
    return path.relative_to(SCRIPT).parts[0] not in NOT_IN_GIT and path.suffix != ".sig"


def _has_kubernetes() -> bool:
    return all(
        os.access(kube_assets.program(name), os.X_OK) for name in (*KUBE_PROGRAMS, *kube_images.PROGRAMS)
    )


def _write_images(loose: Path) -> None:
    shutil.copyfile(app.archive(paths.cache() / "apps", "1", name="tidegate-test"), loose / "test.tar")


def _write_containerd_2(loose: Path) -> None:
    """containerd 2 is in a package of the same name as the one that Docker is given."""
    programs = packages.unpacked_for_nodes() / "usr/bin"
    files = [(name, (programs / name).read_bytes(), 0o755) for name in sorted(CONTAINERD)]
    (loose / "containerd-2.tar").write_bytes(app.tar_of(files))


def _add_kubernetes(loose: Path) -> None:
    for name in KUBE_PROGRAMS:
        shutil.copyfile(kube_assets.program(name), loose / name)
    kube_images.write_control_plane(loose / "kubernetes.tar")
    kube_images.write_pause(loose / "pause.tar")


def _finish(making: Path) -> None:
    private = public_key().with_suffix("")
    if not private.exists():
        public_key().unlink(missing_ok=True)
        _command("keygen", str(private))
    _command("lock", str(making))
    _command("sign", str(making), "--key", str(private))
    _command("verify", str(making), "--trust", str(public_key()), "--runtime", "compose=2.40")


def _command(*words: str) -> str:
    """Run `tidegate bundle ...`; answers what it prints."""
    program = Path(sys.executable).parent / "tidegate"
    if not program.exists():
        raise LabError(f"{program} is not installed: make venv")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    done: subprocess.CompletedProcess[str] = run(
        [str(program), "bundle", *words], env=environment, check=False, timeout=900
    )
    if done.returncode != 0:
        raise LabError(f"tidegate bundle {words[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
