# SPDX-License-Identifier: Apache-2.0
"""Runs against a real API server in this process: what happens between two of their requests is the test's to say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.kube import (
    canary_run,
    kubeconfig,
    operation,
    preview,
    release,
    scene,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.cluster import Cluster
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.hold import Hold
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.operation import Run
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.session import Session
from ansible_collections.tidegate.deploy.plugins.module_utils.release.veil import Veil

from tests.lab.kube import KubeApi

from .cluster_release import SCHEMA, manifests

STRATEGIES = {"rolling": operation.roll, "blue_green": operation.switch, "canary": canary_run.start}
VEIL = Veil(b"k" * 32)


class ClusterRuns:
    """Releases of one project in one namespace; `told` is what the last run said while it waited."""

    def __init__(self, api: KubeApi, session: Session, namespace: str) -> None:
        self.api, self.namespace = api, namespace
        self.cluster = Cluster(session)
        self.told: list[str] = []

    def spec(self, release_id: str, *parts: str, **more: Any) -> dict[str, Any]:
        """What is asked for."""
        return {
            "release_id": release_id, "project": "shop-test", "namespace": self.namespace, "health_timeout": 20,
            "manifests": manifests(*parts), "variables": more.pop("variables", {}), "variable_schema": SCHEMA, **more,
        }  # fmt: skip

    def preview(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The preview."""
        return preview.preview(self.cluster, release.read(spec), VEIL)

    def begin(self, spec: dict[str, Any], token: int, **more: Any) -> Run:
        """A run that has looked and changed nothing yet."""
        self.told = []
        wanted = release.read({**spec, "fencing_token": token, **more})
        return operation.begin(
            self.cluster, wanted, lambda seen: None, lambda who, said: self.told.append(f"{who}: {said}"), []
        )

    def release(self, spec: dict[str, Any], token: int, **more: Any) -> dict[str, Any]:
        """Carry it out the way its strategy says."""
        run = self.begin(spec, token, **more)
        return {
            **STRATEGIES[run.release.strategy](run),
            "steps": {one["step"]: one["status"] for one in run.steps},
        }

    def promote(self, spec: dict[str, Any], token: int, **more: Any) -> dict[str, Any]:
        """Let a canary go on."""
        return canary_run.promote(self.begin(spec, token, **more))

    def abort(self, spec: dict[str, Any], token: int, **more: Any) -> dict[str, Any]:
        """Take a canary back."""
        return canary_run.abort(self.begin(spec, token, **more))

    def look(self, spec: dict[str, Any], token: int) -> dict[str, Any]:
        """See whether a canary that waits is well."""
        return canary_run.look(self.begin(spec, token))

    def overtake(self, token: int) -> None:
        """Another operation begins, under a newer token."""
        held = self.held()
        Hold(self.cluster, "shop-test", self.namespace, held, token).begin()

    def held(self) -> Any:
        """The inventory."""
        return scene.held(self.cluster, "shop-test", self.namespace)

    def get(self, *words: str) -> Any:
        """What kubectl says of something, None when it is not there."""
        done = self.api.kubectl(["get", "-n", self.namespace, "-o", "json", *words], check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def kubectl(self, *words: str, **more: Any) -> None:
        """Do something behind Tidegate's back."""
        self.api.kubectl([*words, "-n", self.namespace], **more)

    def names(self, kind: str = "deployments") -> list[str]:
        """The objects of a kind."""
        return sorted(one["metadata"]["name"] for one in self.get(kind)["items"])


def before(run: Run, name: str, happens: Callable[[], None]) -> None:
    """Let something happen before a run's step of this name, once."""
    step = getattr(run, name)

    def late(*given: Any) -> Any:
        setattr(run, name, step)
        happens()
        return step(*given)

    setattr(run, name, late)


def open_session(api: KubeApi) -> Session:
    """A session with the lab's own credential."""
    return Session(kubeconfig.read(str(api.kubeconfig)))
