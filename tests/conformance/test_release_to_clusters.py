# SPDX-License-Identifier: Apache-2.0
"""What only a release to a cluster can meet, through the REST API and the command line, with pods that run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conformance.runtimes import OnCluster
from tests.conformance.severed_line import line_to
from tests.conformance.site import Refused, Service, Site
from tests.demo import server
from tests.lab.kube_cluster import KubeCluster

pytestmark = [
    pytest.mark.lab,
    pytest.mark.kubernetes,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("kube_cluster"),
]
PASSWORD = "canary-of-the-cluster"
VARIABLES = {
    "tag": {"type": "string", "default": "1"},
    "replicas": {"type": "integer", "default": 1},
    "greeting": {"type": "string", "default": "hello"},
    "password": {"type": "string", "secret": True, "required": True},
}
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: %(name)s}
spec:
  replicas: {{ replicas }}
  selector: {matchLabels: {app: %(name)s}}
  template:
    metadata: {labels: {app: %(name)s}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: "shop:{{ tag }}"
        env: [{name: KEY, value: "{{ password }}"}]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
"""
FRONT = """\
apiVersion: v1
kind: Service
metadata: {name: %(name)s}
spec:
  type: NodePort
  selector: {app: %(name)s}
  ports: [{port: 80, targetPort: 8080}]
"""
CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: %(name)s}
data: {greeting: "{{ greeting }}"}
"""
SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: %(name)s}
stringData: {password: "{{ password }}"}
"""
JOB = """\
apiVersion: batch/v1
kind: Job
metadata: {name: %(name)s}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: migrate, image: "shop:1", command: ["/bin/sh", "-c", "exit 0"]}]
"""
DEFINITION = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tides.%(name)s.example}
spec:
  group: %(name)s.example
  names: {kind: Tide, plural: tides, singular: tide}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {height: {type: integer}}}}}}
"""
CUSTOM = """\
apiVersion: %(name)s.example/v1
kind: Tide
metadata: {name: high}
spec: {height: 3}
"""


class Shop:
    """A service in the cluster with a namespace of its own."""

    def __init__(self, on: OnCluster, cluster: KubeCluster, namespace: str, site: Site) -> None:
        self.on, self.cluster, self.namespace, self.site = on, cluster, namespace, site
        self.service: Service = on.service()
        self.name = self.service.name
        self._values: list[dict[str, Any]] = []
        self.cluster_id = on.cluster(namespace)
        self.target = self.target_on(self.cluster_id)

    def target_on(self, cluster_id: str, **more: Any) -> str:
        name = f"{self.name}-{cluster_id[-6:]}"
        target = self.on.target(name, cluster_id, namespace=self.namespace, **more)
        value = {"scope_type": "target", "scope_id": target, "name": "password", "value": PASSWORD}
        self._values.append(value)
        return target

    def add(self, version: str, *parts: str, **more: Any) -> None:
        text = "---\n".join(part % {"name": self.name} for part in parts)
        self.service.add(version, text, variable_schema=VARIABLES, **{"health_timeout": 60, **more})
        self.set_values()

    def set_values(self) -> None:
        """Give each target its secret: it belongs to a variable that some version of the service has."""
        while self._values:
            self.site.admin.put(f"/services/{self.service.id}/variables", self._values.pop())

    def preview(self, version: str, variables: dict[str, Any] | None = None, **asked: Any) -> dict[str, Any]:
        self.set_values()
        return self.service.preview(self.target, version, variables=variables or {}, **asked)

    def release(self, version: str, variables: dict[str, Any] | None = None, **asked: Any) -> dict[str, Any]:
        ended = self.service.apply(self.preview(version, variables, **asked))
        assert ended["lifecycle_state"] == "applied", ended["diagnostics_json"]
        return ended

    def get(self, *words: str) -> Any:
        api = self.cluster.api
        done = api.kubectl(["get", *words, "-n", self.namespace, "-o", "json"], check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def kubectl(self, *words: str) -> None:
        self.cluster.api.kubectl([*words, "-n", self.namespace])

    def timeline(self, release: dict[str, Any]) -> list[dict[str, Any]]:
        path = f"/deploy/releases/{release['release_id']}/timeline"
        found: list[dict[str, Any]] = self.site.admin.get(path, limit=500)["items"]
        return found


@pytest.fixture
def shop(on_cluster: OnCluster, kube_cluster: KubeCluster, kube_cluster_namespace: str, site: Site) -> Shop:
    on_cluster.load(["1", "2"])
    return Shop(on_cluster, kube_cluster, kube_cluster_namespace, site)


def codes(preview: dict[str, Any]) -> set[str]:
    return {one["code"] for one in preview["preview"]["checks"] if one["level"] == "blocking"}


def test_all_kinds_of_objects_come_change_go_and_come_back(shop: Shop, site: Site) -> None:
    body = {
        "project_id": site.project_id,
        "name": f"whole-{shop.name}",
        "kubeconfig": shop.cluster.api.kubeconfig.read_text(),
    }
    whole = site.admin.post("/clusters/import/kubeconfig", body)["id"]
    shop.target = shop.target_on(whole, cluster_scoped=True)
    everything = (DEFINITION, CUSTOM, CONFIG, SECRET, DEPLOYMENT, FRONT, JOB)
    shop.add("1", *everything)
    shop.add("2", *(part for part in everything if part is not FRONT))

    first = shop.release("1")
    told = shop.timeline(first)
    steps = [one["detail"]["step"] for one in told if one["action"] == "release.step_succeeded"]
    assert steps == ["objects_applied", "rollout", "pruned"] or steps == ["objects_applied", "rollout"]
    waits = [one["detail"] for one in told if one["action"] == "release.step_progress"]
    assert any("1/1 ready" in one["progress"] for one in waits), waits
    assert shop.get(f"tides.{shop.name}.example", "high")["spec"] == {"height": 3}
    assert shop.get("job", shop.name)["status"]["succeeded"] == 1

    shop.release("1", {"greeting": "good evening"})
    assert shop.get("configmap", shop.name)["data"] == {"greeting": "good evening"}

    preview = shop.preview("2", {"greeting": "good evening"})
    assert preview["preview"]["summary"]["remove"] == 1
    pruned = shop.service.apply(preview)
    assert pruned["lifecycle_state"] == "applied", pruned["diagnostics_json"]
    assert shop.get("service", shop.name) is None

    began = time.monotonic()
    failed = shop.service.apply(shop.preview("2", {"tag": "no-such"}))
    assert time.monotonic() - began < 30
    found = failed["diagnostics_json"]
    assert (failed["lifecycle_state"], found["error_key"]) == ("failed", "image_missing")
    assert "shop:no-such" in found["summary"]
    assert found["objects"][0]["object"] == f"Deployment/{shop.name}"
    assert found["hints"]

    back = shop.service.rollback(failed)
    assert back["lifecycle_state"] == "applied", back["diagnostics_json"]
    assert shop.get("configmap", shop.name)["data"] == {"greeting": "good evening"}
    earlier = shop.service.rollback(pruned)
    assert earlier["lifecycle_state"] == "applied", earlier["diagnostics_json"]
    assert shop.get("service", shop.name) is not None


def test_no_secret_is_in_anything_that_is_answered(shop: Shop, site: Site) -> None:
    shop.add("1", SECRET, DEPLOYMENT)
    shop.release("1")
    release = shop.release("1", {"password": PASSWORD + "-2"})
    path = f"/deploy/releases/{release['release_id']}"
    for what in ("", "/timeline", "/logs", "/preview", "/diagnostics"):
        text = json.dumps(site.admin.get(path + what))
        assert PASSWORD not in text, what
    shown = site.admin.get(path + "/preview")["hosts"]
    changes = [
        one for host in shown.values() for row in host["services"] if row["name"] == f"Secret/{shop.name}"
        for one in row["changes"]
    ]  # fmt: skip
    assert changes
    assert all(str(one[side]).startswith("hmac:") for one in changes for side in ("before", "after")), changes
    for text in ((site.home / "server.log").read_text(), str(site.admin.get("/events", limit=500))):
        assert PASSWORD not in text


def test_the_credential_is_in_no_file_but_the_one_of_the_run_and_in_no_process_list(
    shop: Shop, site: Site
) -> None:
    document = json.loads(shop.on.kubeconfig(shop.namespace).read_text())
    site.admin.put(f"/clusters/{shop.cluster_id}/connection", {"kubeconfig": json.dumps(document)})
    token = document["users"][0]["user"]["token"].rpartition(".")[2]
    shop.add("1", DEPLOYMENT, health_timeout=6)
    preview = shop.preview("1", {"tag": "no-such"})
    shop.service.start(preview)
    shop.service.when(preview["release_id"], lambda release: release["status"] == "verifying")
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            assert token.encode() not in said, entry
    shop.service.ended(preview["release_id"])
    assert not _files_with(site.home, token)
    # What runs on the target is looked at next, by a run with a file of its own: that one goes, too.
    until = time.monotonic() + 30
    while found := _files_with(site.run_folder, token):
        assert time.monotonic() < until, found
        time.sleep(0.2)
    for what in ("", "/timeline", "/logs", "/preview", "/diagnostics"):
        assert token not in json.dumps(site.admin.get(f"/deploy/releases/{preview['release_id']}{what}"))
    assert token not in json.dumps(site.admin.get(f"/clusters/{shop.cluster_id}"))


def _files_with(folder: Path, token: str) -> list[Path]:
    found = []
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and not path.is_symlink() and token.encode() in path.read_bytes():
                found.append(path)
    return found


def test_another_manager_between_preview_and_apply_is_named(shop: Shop) -> None:
    shop.add("1", DEPLOYMENT)
    shop.release("1")
    preview = shop.preview("1", {"tag": "2"})
    shop.kubectl("scale", "deployment", shop.name, "--replicas=2")
    stale = shop.service.apply(preview)
    assert (stale["lifecycle_state"], stale["diagnostics_json"]["error_key"]) == ("expired", "preview_stale")
    for part in (f"Deployment/{shop.name}", "spec.replicas", "kubectl"):
        assert part in stale["diagnostics_json"]["summary"]
    assert shop.get("deployment", shop.name)["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:1"

    job = shop.site.admin.post(f"/deploy/targets/{shop.target}/drift")
    until = time.monotonic() + 60
    while shop.site.admin.get(f"/jobs/{job['job_id']}")["state"] != "done":
        assert time.monotonic() < until
        time.sleep(0.1)
    (found,) = shop.site.admin.get(f"/deploy/targets/{shop.target}/status")["drift"]
    assert (found["service"], found["changes"]) == (
        f"Deployment/{shop.name}",
        [{"path": "spec.replicas", "before": 2, "after": 1}],
    )


def test_a_field_of_somebody_else_is_taken_over_only_when_that_was_shown(shop: Shop) -> None:
    shop.add("1", CONFIG)
    shop.release("1")
    text = (CONFIG % {"name": shop.name}).replace("{{ greeting }}", "theirs")
    words = ["apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", "-"]
    shop.cluster.api.kubectl([*words, "-n", shop.namespace], input=text)
    preview = shop.preview("1", {"greeting": "ours"})
    assert (preview["preview_ref"], codes(preview)) == (None, {"field_conflict"})
    (check,) = [one for one in preview["preview"]["checks"] if one["code"] == "field_conflict"]
    for part in (f"ConfigMap/{shop.name}", "greeting", "gitops"):
        assert part in check["message"]
    forced = shop.preview("1", {"greeting": "ours"}, strategy_params={"force_conflicts": True})
    assert "a field that somebody else manages would be taken over" in forced["preview"]["risk_reasons"]
    assert shop.service.apply(forced)["lifecycle_state"] == "applied"
    assert shop.get("configmap", shop.name)["data"] == {"greeting": "ours"}


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (CONFIG.replace("{name: %(name)s}", "{name: a, namespace: kube-system}"), "validation_error"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: %(name)s}\n", "validation_error"),
        (DEFINITION, "validation_error"),
        (
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: %(name)s}\n",
            "validation_error",
        ),
        ("apiVersion: v1\nkind: Nonsense\nmetadata: {name: %(name)s}\n", "api_version_gone"),
        (DEPLOYMENT.replace("apps/v1", "extensions/v1beta1"), "api_version_gone"),
        (
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: %(name)s}\nrules: []\n",
            "cluster_permission_insufficient",
        ),
        (CONFIG.replace("\ndata:", "\ndota:"), "manifest_invalid"),
        (DEPLOYMENT.replace("selector:", "selektor:"), "manifest_invalid"),
        (
            DEPLOYMENT.replace("containers:", "imagePullSecrets: [{name: gone}]\n      containers:"),
            "pull_secret_missing",
        ),
    ],
)
def test_what_the_cluster_would_not_take_stands_against_the_preview(shop: Shop, part: str, code: str) -> None:
    shop.add("1", SECRET, part)
    preview = shop.preview("1")
    assert preview["preview_ref"] is None
    assert code in codes(preview), preview["preview"]["checks"]
    assert all(one["hint"] for one in preview["preview"]["checks"] if one["level"] == "blocking")
    assert shop.get("secret", shop.name) is None


def test_a_canary_waits_and_is_promoted_or_taken_back_by_the_api(shop: Shop, site: Site) -> None:
    shop.add("1", DEPLOYMENT, FRONT)
    shop.release("1")
    params = {"workload": shop.name, "steps": [50], "pause_seconds": None}
    for verb, end, image in (("abort", "failed", "shop:1"), ("promote", "applied", "shop:2")):
        preview = shop.preview("1", {"tag": "2"}, strategy="canary", strategy_params=params)
        shop.service.start(preview)
        shop.service.when(preview["release_id"], lambda release: release["status"] == "paused")
        assert shop.get("deployment", f"{shop.name}-canary") is not None
        site.admin.post(f"/deploy/releases/{preview['release_id']}/{verb}")
        ended = shop.service.ended(preview["release_id"])
        assert ended["lifecycle_state"] == end, ended["diagnostics_json"]
        assert shop.get("deployment", f"{shop.name}-canary") is None
        found = shop.get("deployment", shop.name)["spec"]["template"]["spec"]["containers"][0]["image"]
        assert found == image


def test_a_canary_that_gets_ill_while_it_waits_for_people_is_taken_back(shop: Shop, site: Site) -> None:
    shop.add("1", DEPLOYMENT, FRONT)
    shop.release("1")
    params = {"workload": shop.name, "steps": [50], "pause_seconds": None}
    preview = shop.preview("1", {"tag": "2"}, strategy="canary", strategy_params=params)
    shop.service.start(preview)
    shop.service.when(preview["release_id"], lambda release: release["status"] == "paused")
    time.sleep(8)
    assert site.admin.get(f"/deploy/releases/{preview['release_id']}")["status"] == "paused", "it is well"
    shop.kubectl("set", "image", f"deployment/{shop.name}-canary", "web=shop:no-such")
    ended = shop.service.ended(preview["release_id"])
    found = ended["diagnostics_json"]
    assert (ended["lifecycle_state"], found["error_key"]) == ("failed", "rollout_failed"), found
    assert "not ready any more" in found["summary"]
    assert found["objects"][0]["object"] == f"Deployment/{shop.name}-canary"
    told = shop.service.told(ended)
    assert [one for one in told if one in ("paused", "aborted", "failed")] == ["paused", "aborted", "failed"]
    assert shop.get("deployment", f"{shop.name}-canary") is None
    running = shop.get("deployment", shop.name)["spec"]["template"]["spec"]["containers"][0]["image"]
    assert running == "shop:1"


@pytest.mark.parametrize(
    ("verb", "end", "image"),
    [("promote", "applied", "shop:2"), ("abort", "failed", "shop:1"), ("cancel", "failed", "shop:1")],
)
def test_a_canary_that_is_watched_is_promoted_or_taken_back_before_its_time(
    shop: Shop, site: Site, verb: str, end: str, image: str
) -> None:
    shop.add("1", DEPLOYMENT, FRONT)
    shop.release("1")
    params = {"workload": shop.name, "steps": [50], "pause_seconds": 600}
    preview = shop.preview("1", {"tag": "2"}, strategy="canary", strategy_params=params)
    shop.service.start(preview)
    shop.service.when(preview["release_id"], lambda release: release["status"] == "paused")
    assert shop.get("deployment", f"{shop.name}-canary") is not None
    site.admin.post(f"/deploy/releases/{preview['release_id']}/{verb}")
    ended = shop.service.ended(preview["release_id"])
    assert ended["lifecycle_state"] == end, ended["diagnostics_json"]
    assert shop.get("deployment", f"{shop.name}-canary") is None
    found = shop.get("deployment", shop.name)["spec"]["template"]["spec"]["containers"][0]["image"]
    assert found == image


def test_blue_green_keeps_what_had_the_traffic_for_its_grace_and_then_deletes_it(
    shop: Shop, site: Site
) -> None:
    shop.add("1", DEPLOYMENT, FRONT)
    params = {"service": shop.name, "workload": shop.name, "keep_old_seconds": 15}
    asked = {"strategy": "blue_green", "strategy_params": params}
    shop.release("1", **asked)
    green = shop.release("1", {"tag": "2"}, **asked)
    assert green["kept_until"]
    assert shop.service.rollback(green)["lifecycle_state"] == "applied"
    assert _served_by(shop) == {"shop:1"}
    assert shop.get("deployment", f"{shop.name}-green") is not None
    until = time.monotonic() + 90
    while shop.get("deployment", f"{shop.name}-green") is not None:
        assert time.monotonic() < until
        time.sleep(0.5)
    assert _served_by(shop) == {"shop:1"}


def test_blue_green_switches_and_switches_back_at_once(shop: Shop) -> None:
    shop.add("1", DEPLOYMENT, FRONT)
    asked = {"strategy": "blue_green", "strategy_params": {"service": shop.name, "workload": shop.name}}
    shop.release("1", **asked)
    green = shop.release("1", {"tag": "2"}, **asked)
    assert _served_by(shop) == {"shop:2"}
    began = time.monotonic()
    assert shop.service.rollback(green)["lifecycle_state"] == "applied"
    assert time.monotonic() - began < 10
    assert _served_by(shop) == {"shop:1"}


def _served_by(shop: Shop) -> set[str]:
    selector = shop.get("service", shop.name)["spec"]["selector"]
    words = ",".join(f"{key}={value}" for key, value in selector.items())
    pods = shop.get("pods", "-l", words)["items"]
    return {pod["spec"]["containers"][0]["image"] for pod in pods}


def test_a_line_that_breaks_is_told_and_a_release_over_a_new_one_is_not_the_previewed(
    shop: Shop, site: Site
) -> None:
    at = urlsplit(shop.cluster.api.endpoint)
    shop.add("1", DEPLOYMENT, health_timeout=30)
    with line_to(str(at.hostname), int(at.port or 443)) as line:
        made = shop.on.cluster(
            shop.namespace, f"line-{shop.name}", line.endpoint, server_name=str(at.hostname)
        )
        shop.target = shop.target_on(made)
        shop.release("1")
        preview = shop.preview("1", {"tag": "no-such"})
        shop.service.start(preview)
        shop.service.when(preview["release_id"], lambda release: release["status"] == "verifying")
        line.sever()
        broken = shop.service.ended(preview["release_id"])
        found = broken["diagnostics_json"]
        assert (broken["lifecycle_state"], found["error_key"], found["failure_domain"]) == (
            "failed", "cluster_unreachable", "connection",
        )  # fmt: skip
        assert codes(shop.preview("1")) == {"cluster_unreachable"}
        line.mend()
        assert shop.service.rollback(broken)["lifecycle_state"] == "applied"
        bound = shop.preview("1", {"tag": "2"})
        text = shop.on.kubeconfig(shop.namespace).read_text()
        site.admin.put(f"/clusters/{made}/connection", {"kubeconfig": text})
        stale = shop.service.apply(bound)
        assert (stale["lifecycle_state"], stale["diagnostics_json"]["error_key"]) == (
            "expired",
            "preview_stale",
        )
        assert "leads to another cluster" in stale["diagnostics_json"]["summary"]


def command(site: Site) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The `tidegate` command, logged in."""
    host, port = site.admin.address
    login = {"TIDEGATE_URL": f"http://{host}:{port}", "TIDEGATE_TOKEN": site.admin.token}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*server.command(), *words],
            env={**os.environ, **login},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_all_kinds_of_objects_from_the_command_line(shop: Shop, site: Site, tmp_path: Path) -> None:
    tidegate = command(site)

    def done(*words: str) -> str:
        ended = tidegate(*words)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    name = f"cli-{shop.name}"
    kubeconfig = str(shop.cluster.api.kubeconfig)
    done("cluster", "import", "--project", site.project_id, "--name", name, "--kubeconfig-file", kubeconfig)
    done("target", "create", "--project", site.project_id, "--name", name, "--environment", shop.on.environment_id,
         "--cluster", name, "--namespace", shop.namespace, "--cluster-scoped")  # fmt: skip
    parts = {"definition": DEFINITION, "custom": CUSTOM, "config": CONFIG, "secret": SECRET, "web": DEPLOYMENT,
             "front": FRONT, "job": JOB}  # fmt: skip
    for version, left_out in (("1", ""), ("2", "front")):
        folder = tmp_path / version
        folder.mkdir()
        files = [f"{part}.yaml" for part in parts if part != left_out]
        for part, text in parts.items():
            (folder / f"{part}.yaml").write_text(text % {"name": shop.name})
        described = {"version": version, "manifests": files, "variables": VARIABLES, "health_timeout": 60}
        (folder / "service.yml").write_text(json.dumps(described))
        done("service", "version", "add", shop.name, str(folder))
    targets = json.loads(done("target", "list", "--json"))["items"]
    (target,) = [one["id"] for one in targets if one["name"] == name]
    value = {"scope_type": "target", "scope_id": target, "name": "password", "value": PASSWORD}
    site.admin.put(f"/services/{shop.service.id}/variables", value)
    asked = ["--target", name, "--service", shop.name]

    first = done("release", "apply", "--yes", *asked, "--version", "1")
    assert f"Deployment/{shop.name}" in first
    assert "1/1 ready" in first
    assert shop.get(f"tides.{shop.name}.example", "high")["spec"] == {"height": 3}
    assert shop.get("job", shop.name)["status"]["succeeded"] == 1
    assert shop.get("secret", shop.name) is not None

    done("release", "apply", "--yes", *asked, "--version", "1", "--var", "greeting=good evening")
    assert shop.get("configmap", shop.name)["data"] == {"greeting": "good evening"}

    evening = ["--version", "2", "--var", "greeting=good evening"]
    assert f"Service/{shop.name}" in done("release", "preview", *asked, *evening)
    done("release", "apply", "--yes", *asked, *evening)
    assert shop.get("service", shop.name) is None
    pruned = json.loads(done("release", "list", "--json"))["items"][0]["release_id"]

    began = time.monotonic()
    failed = tidegate("release", "apply", "--yes", *asked, *evening, "--var", "tag=no-such")
    assert time.monotonic() - began < 30
    assert failed.returncode == 1, failed.stdout + failed.stderr
    for said in ("image_missing", "shop:no-such"):
        assert said in failed.stdout + failed.stderr
    broken = json.loads(done("release", "list", "--json"))["items"][0]["release_id"]
    assert "image_missing" in done("release", "show", broken)

    done("release", "rollback", "--yes", broken)
    assert shop.get("deployment", shop.name)["status"]["readyReplicas"] == 1
    done("release", "rollback", "--yes", pruned)
    assert shop.get("service", shop.name) is not None
    assert PASSWORD not in first + failed.stdout + failed.stderr + done("release", "logs", broken)


def test_the_same_from_the_command_line(shop: Shop, site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    (folder / "deploy").mkdir(parents=True)
    (folder / "deploy" / "kustomization.yaml").write_text("resources: [web.yaml, front.yaml]\n")
    (folder / "deploy" / "web.yaml").write_text(
        (DEPLOYMENT % {"name": shop.name}).replace("{{ replicas }}", "'{{ replicas }}'")
    )
    (folder / "deploy" / "front.yaml").write_text(FRONT % {"name": shop.name})
    variables = json.dumps(VARIABLES)
    (folder / "service.yml").write_text(
        f'version: "1"\nkustomization: deploy\nvariables: {variables}\nhealth_timeout: 60\n'
    )

    tidegate = command(site)
    done = tidegate("service", "version", "add", shop.name, str(folder))
    assert done.returncode == 0, done.stderr
    shop.set_values()
    asked = ["--target", shop.target, "--service", shop.name, "--version", "1"]
    done = tidegate("release", "apply", "--yes", *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Deployment/{shop.name}" in done.stdout
    assert "1/1 ready" in done.stdout
    failed = tidegate("release", "apply", "--yes", *asked, "--var", "tag=no-such")
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "image_missing" in failed.stdout + failed.stderr
    release_id = json.loads(tidegate("release", "list", "--json").stdout)["items"][0]["release_id"]
    back = tidegate("release", "rollback", "--yes", release_id)
    assert back.returncode == 0, back.stdout + back.stderr
    assert tidegate("target", "drift", shop.target).returncode == 0
    shop.kubectl("scale", "deployment", shop.name, "--replicas=3")
    drifted = tidegate("target", "drift", shop.target)
    assert drifted.returncode == 1, drifted.stdout + drifted.stderr
    assert "spec.replicas" in drifted.stdout
    assert (
        "Deployment"
        in tidegate("cluster", "workloads", shop.cluster_id, "--namespace", shop.namespace).stdout
    )


def test_a_cluster_that_a_target_is_on_stays(shop: Shop, site: Site) -> None:
    with pytest.raises(Refused, match="resource_in_use"):
        site.admin.delete(f"/clusters/{shop.cluster_id}")
