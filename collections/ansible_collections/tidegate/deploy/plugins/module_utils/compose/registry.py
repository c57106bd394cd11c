# SPDX-License-Identifier: Apache-2.0
"""Image references, and what a registry says a tag is; credentials are used and never kept on the host."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from ..release.errors import ReleaseError
from . import engine, engine_api

PULL_SECONDS = 1800


def repository(reference: str) -> str:
    """The reference without tag and digest."""
    name = reference.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return head + slash + tail.partition(":")[0]


def server(reference: str) -> str:
    """The registry's host (and port) of a reference."""
    first, slash, _ = reference.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def digest_of(reference: str, repo_digests: Sequence[str]) -> str | None:
    """The manifest digest that the engine knows for the reference's repository."""
    if "@" in reference:
        return reference.partition("@")[2]
    wanted = repository(reference)
    for one in repo_digests:
        name, _, digest = one.partition("@")
        if name in (wanted, f"docker.io/{wanted}", f"docker.io/library/{wanted}"):
            return digest
    return None


@contextmanager
def credentials(registries: Sequence[Mapping[str, Any]]) -> Iterator[str | None]:
    """A Docker configuration folder with the registries' passwords, gone afterwards; None when there are none."""
    if not registries:
        yield None
        return
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="tidegate-", dir=base) as path:
        auths = {
            one["server"]: {
                "auth": base64.b64encode(f"{one['username']}:{one['password']}".encode()).decode()
            }
            for one in registries
        }
        with open(os.path.join(path, "config.json"), "w", opener=lambda n, f: os.open(n, f, 0o600)) as out:
            json.dump({"auths": auths}, out)
        plugins = os.path.expanduser("~/.docker/cli-plugins")
        if os.path.isdir(plugins):
            os.symlink(plugins, os.path.join(path, "cli-plugins"))
        yield path


def resolve(reference: str, registries: Sequence[Mapping[str, Any]]) -> str:
    """The manifest digest of a reference as its registry has it; raises ReleaseError image_missing."""
    mine = [one for one in registries if one["server"] == server(reference)]
    if engine_api.socket_path() is None:
        return _resolve_by_command(reference, mine)
    credential = mine[0] if mine else None
    status, answer = engine_api.get(
        f"/distribution/{quote(reference, safe='/:@')}/json", None, 30, credential
    )
    if status != 200:
        raise _missing(reference, str((answer or {}).get("message", status)))
    return str(answer["Descriptor"]["digest"])


def _resolve_by_command(reference: str, mine: Sequence[Mapping[str, Any]]) -> str:
    with credentials(mine) as config:
        done = engine.docker(
            ["manifest", "inspect", "--verbose", reference], timeout=30, docker_config=config
        )
    if done.exit_code:
        raise _missing(reference, done.stderr.strip()[-300:])
    if "@" in reference:
        return reference.partition("@")[2]
    answer = json.loads(done.stdout)
    if isinstance(answer, list):
        raise ReleaseError(
            "image_missing",
            f"image {reference} is an index of several platforms",
            "Name one platform's digest.",
        )
    return str(answer["Descriptor"]["digest"])


def _missing(reference: str, said: str) -> ReleaseError:
    return ReleaseError(
        "image_missing", f"image {reference} is neither on the host nor to be had: {said}",
        "Push it, give its archive, or see that the registry and its credential are right.",
    )  # fmt: skip


def pull(pinned: str, registries: Sequence[Mapping[str, Any]]) -> engine.Done:
    """Pull by digest with the project's credential."""
    mine = [one for one in registries if one["server"] == server(pinned)]
    with credentials(mine) as config:
        return engine.docker(["pull", "--quiet", pinned], timeout=PULL_SECONDS, docker_config=config)
