# SPDX-License-Identifier: Apache-2.0
"""What each host of a cluster of three control planes and two workers is told, rendered from the bundle's templates."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import cluster_network, step_plan
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils.cluster_work import ClusterWork

from tests.lab.kube_certificates import Authority

SCRIPT = Path(__file__).resolve().parents[3] / "script"
NODES = [
    *({"host": f"plane-{n}", "role": "control_plane", "address": f"192.0.2.{n}"} for n in (1, 2, 3)),
    *({"host": f"worker-{n}", "role": "worker", "address": f"192.0.2.1{n}"} for n in (1, 2)),
]
ARCHIVES = {
    "k8s-images": (
        "images/kubernetes.tar",
        ["registry.k8s.io/kube-apiserver:v1.36.0", "registry.k8s.io/etcd:3.5.16-0"],
    ),
    "pause-image": ("images/pause.tar", ["registry.k8s.io/pause:3.10"]),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The templates that git holds, and archives with nothing but names in them."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "images").mkdir()
    shutil.copytree(SCRIPT / "templates", folder / "templates")
    for path, names in ARCHIVES.values():
        told = json.dumps([{"Config": "c.json", "RepoTags": names, "Layers": []}]).encode()
        member = tarfile.TarInfo("manifest.json")
        member.size = len(told)
        with tarfile.open(folder / path, "w") as archive:
            archive.addfile(member, io.BytesIO(told))
    files = {
        str(path.relative_to(SCRIPT)): {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in (SCRIPT / "templates").rglob("*.j2")
    }
    artifacts = {name: {"type": "image", "path": path} for name, (path, _) in ARCHIVES.items()}
    index = yaml.safe_load((SCRIPT / "manifests/index.yaml").read_text())
    return {
        "bundle_dir": str(folder),
        "files": files,
        "index": index,
        "delivered": {"artifacts": artifacts},
    }


def work(bundle: dict[str, Any], host: str, **inputs: Any) -> ClusterWork:
    return ClusterWork(bundle, {"name": "blue", "runtime_type": "k8s"}, inputs, NODES, host)


def test_steps_follow_one_another_as_their_roles_do(bundle: dict[str, Any]) -> None:
    def of(host: str) -> list[str]:
        its = step_plan.roles({"nodes": NODES}, host, None)
        return [one["name"] for one in step_plan.steps(bundle["index"], "k8s", its)]

    before = ["bundle_delivery", "container_runtime", "kubernetes_node"]
    assert of("plane-1") == [*before, "control_plane_init", "cluster_network", "cluster_ready"]
    assert of("plane-2") == of("plane-3") == [*before, "control_plane_join", "cluster_network"]
    assert of("worker-1") == [*before, "worker_join", "cluster_network"]


def test_the_first_control_plane_has_every_name_in_its_certificates(bundle: dict[str, Any]) -> None:
    told = work(bundle, "plane-1", certificate_names=["blue.example.org"]).document({})
    init, cluster, kubelet, _proxy = yaml.safe_load_all(told["init"]["config"])
    assert init["localAPIEndpoint"] == {"advertiseAddress": "192.0.2.1", "bindPort": 6443}
    assert init["nodeRegistration"]["imagePullPolicy"] == "Never"
    assert "taints" not in init["nodeRegistration"]
    endpoint = "blue.control-plane.internal"
    assert cluster["controlPlaneEndpoint"] == f"{endpoint}:6443"
    planes = [word for n in (1, 2, 3) for word in (f"plane-{n}", f"192.0.2.{n}")]
    assert cluster["apiServer"]["certSANs"] == [endpoint, *planes, "blue.example.org"]
    assert (cluster["kubernetesVersion"], cluster["imageRepository"]) == ("v1.36.0", "registry.k8s.io")
    # The image that the bundle brings, whichever kubeadm would choose.
    assert cluster["etcd"]["local"]["imageTag"] == "3.5.16-0"
    assert kubelet["kind"] == "KubeletConfiguration"
    assert (told["node"]["endpoint_name"], told["node"]["endpoint_address"]) == (endpoint, "192.0.2.1")


def test_the_others_join_as_what_they_are(bundle: dict[str, Any]) -> None:
    admission = {"token": "abcdef.0123456789abcdef", "ca_hashes": ["sha256:aa"], "certificate_key": "kk"}
    plane = yaml.safe_load(work(bundle, "plane-2").join_config(admission))
    assert plane["controlPlane"]["certificateKey"] == "kk"
    assert plane["controlPlane"]["localAPIEndpoint"]["advertiseAddress"] == "192.0.2.2"
    worker = yaml.safe_load(work(bundle, "worker-1").join_config(admission))
    assert "controlPlane" not in worker
    assert worker["discovery"]["bootstrapToken"]["token"] == admission["token"]
    assert work(bundle, "worker-1").join_config({}) == ""


def test_a_lone_control_plane_takes_pods(bundle: dict[str, Any]) -> None:
    alone = ClusterWork(bundle, {"name": "blue"}, {}, NODES[:1], "plane-1")
    init = next(iter(yaml.safe_load_all(alone.init_config())))
    assert init["nodeRegistration"]["taints"] == []


ETCD = Authority("etcd elsewhere")
_CLIENT = ETCD.issue("api")
ELSEWHERE = {
    "etcd_endpoints": ["https://192.0.2.20:2379", "https://etcd-2.example.org:2379"],
    "etcd_ca": ETCD.pair.certificate,
    "etcd_certificate": _CLIENT.certificate,
    "etcd_key": _CLIENT.key,
}


def test_an_etcd_elsewhere_is_a_profile_s_and_its_key_the_request_s(bundle: dict[str, Any]) -> None:
    named = {name: value for name, value in ELSEWHERE.items() if name != "etcd_key"}
    index = {**bundle["index"], "profiles": {"etcd_elsewhere": named}}
    spec = {"profile": "etcd_elsewhere", "inputs": {"etcd_key": ELSEWHERE["etcd_key"]}}
    resolved = step_plan.inputs(index, spec)
    shown = {one.name: one.shown() for one in resolved}
    assert shown["etcd_endpoints"]["origin"] == "profile"
    assert (shown["etcd_key"]["value"], shown["etcd_key"]["origin"]) == ("***", "request")

    told = work(bundle, "plane-1", **{one.name: one.value for one in resolved if one.name in ELSEWHERE})
    document = told.document({})
    _init, cluster, *_others = yaml.safe_load_all(document["init"]["config"])
    folder = "/etc/kubernetes/external-etcd"
    assert cluster["etcd"] == {
        "external": {
            "endpoints": ELSEWHERE["etcd_endpoints"], "caFile": f"{folder}/ca.crt",
            "certFile": f"{folder}/client.crt", "keyFile": f"{folder}/client.key",
        }
    }  # fmt: skip
    assert document["node"]["etcd_files"][f"{folder}/client.key"] == ELSEWHERE["etcd_key"]
    assert document["init"]["etcd"]["endpoints"] == ELSEWHERE["etcd_endpoints"]
    assert document["init"]["lasting"]["etcd_endpoints"] == ELSEWHERE["etcd_endpoints"]


def test_the_credential_for_etcd_goes_to_control_planes_alone(bundle: dict[str, Any]) -> None:
    secret = json.dumps(ELSEWHERE["etcd_key"])[1:-1]
    plane, worker = (
        json.dumps(work(bundle, one, **ELSEWHERE).document({})) for one in ("plane-2", "worker-1")
    )
    assert secret in plane
    assert secret not in worker


def test_a_cluster_has_its_own_etcd_where_no_other_is_named(bundle: dict[str, Any]) -> None:
    document = work(bundle, "plane-1").document({})
    assert (document["init"]["etcd"], document["node"]["etcd_files"]) == ({}, {})


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"pod_subnet": "10.0.0.0"}, "pod_subnet"),
        ({"pod_subnet": "10.96.0.0/16"}, "overlaps"),
        ({"node_labels": {"nobody": {"a": "b"}}}, "no node is called nobody"),
        ({"control_plane_port": True}, "control_plane_port"),
        ({"node_taints": {"worker-1": ["a=b"]}}, "node_taints"),
        (
            {"etcd_endpoints": ["https://192.0.2.20:2379"]},
            "etcd_ca, etcd_certificate, etcd_key: expected where",
        ),
        ({**ELSEWHERE, "etcd_endpoints": ["http://192.0.2.20:2379"]}, "etcd_endpoints"),
        ({**ELSEWHERE, "etcd_endpoints": ["https://192.0.2.20"]}, "etcd_endpoints"),
        ({**ELSEWHERE, "etcd_key": "/etc/etcd/key"}, "etcd_key"),
    ],
)
def test_inputs_that_make_no_cluster_are_named(
    bundle: dict[str, Any], inputs: dict[str, Any], said: str
) -> None:
    with pytest.raises(ReleaseError, match=said):
        work(bundle, "plane-1", **inputs)


def test_every_node_leads_to_the_pods_of_the_others() -> None:
    nodes = [
        {"name": "b", "address": "192.0.2.2", "pod_subnet": "10.244.1.0/24"},
        {"name": "a", "address": "192.0.2.1", "pod_subnet": "10.244.0.0/24"},
    ]
    own, others = cluster_network.divided(nodes, "a")
    assert json.loads(cluster_network.configuration(own["pod_subnet"]))["plugins"][0]["ipam"]["ranges"] == [
        [{"subnet": "10.244.0.0/24"}]
    ]
    assert "ip route replace 10.244.1.0/24 via 192.0.2.2" in cluster_network.routes(others)
    with pytest.raises(ReleaseError, match="c is not one"):
        cluster_network.divided(nodes, "c")
