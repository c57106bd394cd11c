# SPDX-License-Identifier: Apache-2.0
"""The lab's Kubernetes keeps its promises: real controllers, real refusals, real pods, and nothing left behind."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import kube_assets, kube_credentials, kube_node
from .command import LabError, run
from .kube import KubeApi
from .kube_certificates import Authority
from .kube_cluster import KubeCluster
from .kube_processes import PLACES, PREFIX
from .lab import Lab

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kube_cluster")]
needs_api = pytest.mark.skipif(bool(kube_assets.missing()), reason=kube_assets.why_not())

CONFIG_READER = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
STARTER = """
import sys
from tests.lab.kube import KubeApi
api = KubeApi()
api.start()
print(api.folder, flush=True)
sys.stdin.read()
"""


def deployment(name: str, image: str, replicas: int = 1) -> dict[str, Any]:
    labels = {"app": name}
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
    container = {"name": "web", "image": image, "readinessProbe": probe}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def create(api: KubeApi, namespace: str, manifest: dict[str, Any]) -> None:
    api.kubectl(["create", "-n", namespace, "-f", "-"], input=json.dumps(manifest))


def items(api: KubeApi, namespace: str, kind: str) -> list[dict[str, Any]]:
    return json.loads(api.kubectl(["get", kind, "-n", namespace, "-o", "json"]).stdout)["items"]


def wait_until(true: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (answer := true()):
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.2)
    return answer


def processes_in(folder: str) -> list[str]:
    """The programs that name this folder in their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(folder in word for word in words):
            found.append(words[0])
    return found


def kept_in_memory(lab: str) -> list[Path]:
    """The folders of the API servers that this lab's keeper runs."""
    keeper = subprocess.run(
        ["pgrep", "-f", f"kube_keeper {lab}$"], capture_output=True, text=True
    ).stdout.strip()
    return [folder for place in PLACES for folder in place.glob(f"{PREFIX}{keeper}-*")]


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("etcd", "kubectl"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert kube_assets.missing() == ["kube-apiserver", "kube-controller-manager"]
    with pytest.raises(LabError, match="no kube-apiserver, kube-controller-manager in"):
        KubeApi().start()


def test_an_api_without_programs_skips_with_one_line_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(kube_api): ...\ndef test_node(kube_cluster): ...\n")
    plugins = ("tests.lab.fixtures", "tests.lab.kube_fixtures", "no:cacheprovider")
    words = ["-rs", "-q", "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *(word for name in plugins for word in ("-p", name)), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "KUBEBUILDER_ASSETS": str(tmp_path / "empty")},
        timeout=120,
    )
    assert "2 skipped" in done.stdout, done.stdout + done.stderr
    skips = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert len(skips) == 2
    assert "no etcd, kube-apiserver, kube-controller-manager, kubectl in" in skips[0]
    assert "kubelet" in skips[1]


def test_a_deployment_makes_a_replica_set_and_that_makes_pods(kube_api: KubeApi, kube_namespace: str) -> None:
    create(kube_api, kube_namespace, deployment("web", "shop:1", replicas=2))
    pods = wait_until(lambda: len(found := items(kube_api, kube_namespace, "pods")) == 2 and found)
    owners = {owner["kind"] for pod in pods for owner in pod["metadata"]["ownerReferences"]}
    assert owners == {"ReplicaSet"}
    assert {pod["status"]["phase"] for pod in pods} == {"Pending"}
    # A pod here is what it is on any cluster: the three usual sources make up its token volume. A distribution's build
    # may put an authority of its own beside them.
    sources = pods[0]["spec"]["volumes"][0]["projected"]["sources"]
    assert [next(iter(source)) for source in sources][:3] == [
        "serviceAccountToken",
        "configMap",
        "downwardAPI",
    ]


def test_an_object_goes_with_its_owner(kube_api: KubeApi, kube_namespace: str) -> None:
    create(kube_api, kube_namespace, deployment("web", "shop:1"))
    wait_until(lambda: items(kube_api, kube_namespace, "pods"))
    kube_api.kubectl(["delete", "deployment", "web", "-n", kube_namespace])
    wait_until(lambda: not items(kube_api, kube_namespace, "pods"))


def test_the_python_client_reaches_it(kube_api: KubeApi) -> None:
    from kubernetes import client

    with kube_api.client() as connection:
        assert client.VersionApi(connection).get_code().git_version.startswith("v1.")


@pytest.mark.parametrize("kind", ["token", "certificate"])
def test_a_credential_may_what_it_was_given_and_no_more(
    kube_api: KubeApi, kube_namespace: str, kind: kube_credentials.Kind
) -> None:
    kubeconfig = kube_api.kubeconfig_for(f"reader-{kind}", kube_namespace, [CONFIG_READER], kind=kind)
    assert kubeconfig.stat().st_mode & 0o077 == 0
    text = kubeconfig.read_text()
    assert bool(kube_credentials.token_of(text)) == (kind == "token")
    assert bool(kube_credentials.certificate_of(text)) == (kind == "certificate")

    def asks(*words: str) -> subprocess.CompletedProcess[str]:
        return kube_api.kubectl(words, check=False, kubeconfig=kubeconfig)

    assert asks("get", "configmaps", "-n", kube_namespace).returncode == 0
    for refused in (
        ["get", "secrets", "-n", kube_namespace],
        ["create", "configmap", "made", "-n", kube_namespace],
        ["get", "configmaps", "-n", "default"],
        ["get", "namespaces"],
    ):
        done = asks(*refused)
        assert done.returncode != 0, refused
        assert "forbidden" in done.stderr.lower(), refused


def test_rules_given_later_are_the_ones_that_count(kube_api: KubeApi, kube_namespace: str) -> None:
    kube_api.kubeconfig_for("changed", kube_namespace, [CONFIG_READER])
    nodes = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}
    kubeconfig = kube_api.kubeconfig_for("changed", kube_namespace, [], cluster_rules=[nodes])

    def refused(words: list[str]) -> bool:
        return kube_api.kubectl(words, check=False, kubeconfig=kubeconfig).returncode != 0

    wait_until(lambda: refused(["get", "configmaps", "-n", kube_namespace]), 10)
    assert not refused(["get", "nodes"])


def test_nobody_enters_without_a_credential_of_this_cluster(kube_api: KubeApi, tmp_path: Path) -> None:
    stranger = tmp_path / "kubeconfig"
    for credential in ({"token": "nobody"}, {"pair": Authority().issue("lab-admin", ["system:masters"])}):
        stranger.write_text(kube_credentials.kubeconfig(kube_api.endpoint, kube_api.ca, **credential))
        done = kube_api.kubectl(["get", "namespaces"], check=False, kubeconfig=stranger)
        assert done.returncode != 0
        assert "Unauthorized" in done.stderr or "logged in" in done.stderr, done.stderr


def test_an_expired_certificate_is_refused(kube_api: KubeApi, tmp_path: Path) -> None:
    pair = kube_api.authority.issue("late", ["system:masters"], valid=-datetime.timedelta(minutes=1))
    late = tmp_path / "kubeconfig"
    late.write_text(kube_credentials.kubeconfig(kube_api.endpoint, kube_api.ca, pair=pair))
    assert kube_api.kubectl(["get", "namespaces"], check=False, kubeconfig=late).returncode != 0


@needs_api
def test_nothing_is_left_after_stop() -> None:
    api = KubeApi()
    api.start()
    folder = api.folder
    assert len(processes_in(str(folder))) == 3
    api.stop()
    assert processes_in(str(folder)) == []
    assert not folder.exists()
    api.stop()


@needs_api
def test_the_servers_die_with_the_process_that_started_them() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    folder = child.stdout.readline().strip()
    assert PREFIX in folder
    assert len(processes_in(folder)) == 3
    child.send_signal(signal.SIGKILL)
    child.wait()
    wait_until(lambda: not processes_in(folder), 10)
    # What it left in memory goes when the next one starts.
    with KubeApi():
        assert not Path(folder).exists()


@pytest.mark.lab
@pytest.mark.slow
def test_pods_run_and_a_service_reaches_them(kube_cluster: KubeCluster, kube_cluster_namespace: str) -> None:
    api, namespace = kube_cluster.api, kube_cluster_namespace
    kube_cluster.load(kube_cluster.lab.app_archive("1"))
    create(api, namespace, deployment("web", "shop:1", replicas=2))
    api.kubectl(["rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s"], timeout=90)
    pods = items(api, namespace, "pods")
    assert len(pods) == 2
    assert {pod["spec"]["nodeName"] for pod in pods} == {kube_cluster.name}
    assert "listens on 8080" in api.kubectl(["logs", "deployment/web", "-n", namespace]).stdout

    api.kubectl(
        ["expose", "deployment", "web", "-n", namespace, "--type=NodePort", "--port=80", "--target-port=8080"]
    )
    service = items(api, namespace, "services")[0]["spec"]
    inside = ["curl", "-s", "--max-time", "2", f"http://{service['clusterIP']}/"]
    wait_until(lambda: "shop 1" in kube_cluster.node.exec(inside, check=False).stdout, 20)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(
        f"http://{kube_cluster.node.address}:{service['ports'][0]['nodePort']}/", timeout=5
    ) as answer:
        assert answer.read().decode().strip() == "shop 1"


@pytest.mark.lab
@pytest.mark.slow
def test_an_image_that_is_nowhere_fails_at_once(
    kube_cluster: KubeCluster, kube_cluster_namespace: str
) -> None:
    api, namespace = kube_cluster.api, kube_cluster_namespace
    create(api, namespace, deployment("web", "shop:missing"))

    def reasons() -> set[str]:
        statuses = [pod["status"].get("containerStatuses", []) for pod in items(api, namespace, "pods")]
        return {row["state"].get("waiting", {}).get("reason", "") for rows in statuses for row in rows}

    wait_until(lambda: reasons() & {"ErrImagePull", "ImagePullBackOff"}, 30)


@pytest.mark.lab
@pytest.mark.slow
def test_a_node_leaves_the_kernel_settings_of_this_machine_alone(kube_cluster: KubeCluster) -> None:
    host = kube_cluster.node
    for name, value in kube_node.KERNEL.items():
        # What the kubelet sees, and would write to, is a file of the host's.
        assert host.exec(["cat", f"/proc/sys/{name}"]).stdout.strip() == value
        host.exec(["mountpoint", "--quiet", f"/proc/sys/{name}"])


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.skipif(bool(kube_assets.missing(node=True)), reason=kube_assets.why_not(node=True))
def test_one_stays_up_for_a_person_until_told_to_go(lab: Lab) -> None:
    name = f"{lab.name}-kube"

    def say(verb: str) -> str:
        return run(
            [sys.executable, "-m", "tests.lab", "kube", verb, "--name", name], timeout=300
        ).stdout.strip()

    try:
        line = say("up").splitlines()[-1]
        assert line == f"export KUBECONFIG={say('kubeconfig')}"
        facts = json.loads(say("status"))
        memory = kept_in_memory(name)
        assert memory
        assert say("up").splitlines()[-1] == line
        kubectl = [str(kube_assets.program("kubectl")), "--kubeconfig", facts["kubeconfig"]]
        words = ["create", "deployment", "web", "--image=shop:2", "--port=8080"]
        run([*kubectl, *words])
        run([*kubectl, "wait", "--for=condition=Available", "deployment/web", "--timeout=60s"])
    finally:
        say("down")
    assert json.loads(say("status")) == {"name": name, "up": False}
    assert not processes_in(name)
    assert not any(folder.exists() for folder in memory)
    assert not Lab(name).folder.exists()
