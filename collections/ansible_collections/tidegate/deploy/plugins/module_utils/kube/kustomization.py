# SPDX-License-Identifier: Apache-2.0
"""A kustomization directory becomes manifests, by `kubectl kustomize`, once it is seen that it asks for nothing else.

It may name files of its own directory only: nothing remote, no plugin or function, nothing outside.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..release.errors import ReleaseError
from . import documents

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
MOST_FILES = 500
_SECONDS = 60
# Fields whose entries name files or directories.
_DIRECTORIES = ("resources", "bases", "components")
_FILES = (
    "crds",
    "configurations",
    "patchesStrategicMerge",
    "replacements",
    "openapi",
    "patches",
    "patchesJson6902",
)
_REFUSED = (
    "generators",
    "transformers",
    "validators",
    "helmCharts",
    "helmGlobals",
    "helmChartInflationGenerator",
)
_GENERATORS = ("configMapGenerator", "secretGenerator")
_GUARDED = (*_DIRECTORIES, *_FILES, *_REFUSED, *_GENERATORS, "buildMetadata", "files", "envs", "env", "path")
_FOLDED = {name.casefold() for name in _GUARDED}


def folder_files(folder: Path) -> dict[str, str]:
    """The files of a directory as a version packs them; raises ReleaseError manifest_invalid, OSError."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise documents.invalid(f"{path.name} is a link")
        if path.is_file():
            found[str(path.relative_to(folder))] = path.read_text(encoding="utf-8")
            if len(found) > MOST_FILES:
                raise documents.invalid(f"the kustomization has more than {MOST_FILES} files")
    return found


def build(files: Any) -> str:
    """The manifests; raises ReleaseError: manifest_invalid, kubectl_missing."""
    checked = require(files)
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise ReleaseError(
            "kubectl_missing", "a kustomization needs kubectl, which is not here",
            "Install kubectl on the worker (or where ansible-playbook runs), or give plain manifests.",
        )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="tidegate-") as top:
        root = Path(top) / "kustomization"
        for name, text in checked.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        home = Path(top) / "home"
        home.mkdir()
        argv = [kubectl, "kustomize", "--load-restrictor", "LoadRestrictionsRootOnly", str(root)]
        # Nothing to find there: no kubeconfig, no plugin, no git.
        environment = {"HOME": str(home), "PATH": "/nonexistent", "KUBECONFIG": os.devnull, "TMPDIR": top}
        try:
            done = subprocess.run(argv, capture_output=True, env=environment, cwd=top, timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise documents.invalid(f"kubectl kustomize took longer than {_SECONDS} s") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").replace(top, "").strip()[-1000:]
        raise documents.invalid(f"kubectl kustomize: {said}")
    return done.stdout.decode("utf-8", "replace")


def require(files: Any) -> dict[str, str]:
    """The files, once it is clear that they keep to themselves; raises ReleaseError manifest_invalid."""
    if not isinstance(files, Mapping) or not files or len(files) > MOST_FILES:
        raise documents.invalid(f"a kustomization is 1 to {MOST_FILES} files by name")
    checked: dict[str, str] = {}
    for name, text in files.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise documents.invalid("a kustomization's files are texts by name")
        checked[_path(PurePosixPath("."), name)] = text
    if sum(len(text) for text in checked.values()) > documents.MOST_BYTES:
        raise documents.invalid(f"the kustomization is larger than {documents.MOST_BYTES} bytes")
    if _kustomization(checked, PurePosixPath(".")) is None:
        raise documents.invalid("there is no kustomization.yaml")
    for name, text in checked.items():
        if PurePosixPath(name).name in NAMES:
            _require_own(name, text, checked)
    return checked


def _require_own(name: str, text: str, files: Mapping[str, str]) -> None:
    folder = PurePosixPath(name).parent
    document = documents.plain(text, name)
    if not isinstance(document, Mapping):
        raise documents.invalid(f"{name} is not a mapping")
    _require_exact_names(document, name)
    for field in _REFUSED:
        if document.get(field):
            raise documents.invalid(f"{field} in {name}: no plugin, function or chart is run")
    if document.get("buildMetadata"):
        raise documents.invalid(f"buildMetadata in {name} would tell where it was built")
    for field in _DIRECTORIES:
        for entry in _entries(document, field, name):
            where = _path(folder, entry)
            if where not in files and _kustomization(files, PurePosixPath(where)) is None:
                raise documents.invalid(
                    f"{field} in {name} names {entry[:200]}, which is not in the directory"
                )
    for field in _FILES:
        for entry in _named_files(document, field):
            if _path(folder, entry) not in files:
                raise documents.invalid(
                    f"{field} in {name} names {entry[:200]}, which is not in the directory"
                )
    for field in _GENERATORS:
        for entry in _generated(document, field, name):
            if _path(folder, entry) not in files:
                raise documents.invalid(
                    f"{field} in {name} names {entry[:200]}, which is not in the directory"
                )


def _require_exact_names(value: Any, name: str) -> None:
    """kubectl reads names of fields without regard to case (Go's encoding/json): a guard has to see each of them."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            if isinstance(key, str) and key not in _GUARDED and key.casefold() in _FOLDED:
                raise documents.invalid(f"{key[:200]} in {name} is a known field in other letter case")
            _require_exact_names(below, name)
    elif isinstance(value, list):
        for below in value:
            _require_exact_names(below, name)


def _entries(document: Mapping[str, Any], field: str, name: str) -> list[str]:
    found = document.get(field) or []
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise documents.invalid(f"{field} in {name} is no list of names")
    return found


def _named_files(document: Mapping[str, Any], field: str) -> Iterator[str]:
    found = document.get(field) or []
    for one in [found] if isinstance(found, Mapping) else found if isinstance(found, list) else []:
        if isinstance(one, str):
            # A patch may also be written out in place.
            if field == "patchesStrategicMerge" and "\n" in one.strip():
                continue
            yield one
        elif isinstance(one, Mapping) and one.get("path"):
            yield str(one["path"])


def _generated(document: Mapping[str, Any], field: str, name: str) -> Iterator[str]:
    found = document.get(field) or []
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise documents.invalid(f"{field} in {name} is no list of mappings")
    for one in found:
        for entry in _entries(one, "files", name):
            yield entry.partition("=")[2] or entry
        yield from _entries(one, "envs", name)
        if one.get("env"):
            yield str(one["env"])


def _path(folder: PurePosixPath, entry: str) -> str:
    """A name inside the directory, normalised; raises ReleaseError for anything that could lead outside."""
    parts: list[str] = []
    if (
        not entry
        or "\0" in entry
        or "\\" in entry
        or ":" in entry
        or entry.startswith(("/", "~"))
        or "?" in entry
    ):
        raise documents.invalid(f"{entry[:200]!r} is no file of the kustomization's directory")
    for part in (folder / entry).parts:
        if part == "..":
            if not parts:
                raise documents.invalid(f"{entry[:200]!r} leads outside of the kustomization's directory")
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def _kustomization(files: Mapping[str, str], folder: PurePosixPath) -> str | None:
    return next((str(folder / name) for name in NAMES if str(folder / name) in files), None)
