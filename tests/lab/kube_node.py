# SPDX-License-Identifier: Apache-2.0
"""What is put into a lab host so that it is a Kubernetes node: programs, settings, credentials, services.

The host shares its kernel with this machine, has cgroups that it may not delegate through systemd and lacks a
capability or two; every setting that says so is here and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from . import kube_assets, packages, pause
from .kube import PODS

if TYPE_CHECKING:
    from .host import LabHost
    from .kube import KubeApi

Files = dict[str, tuple[bytes, int]]

# The kubelet would set these of the machine's own kernel; it leaves alone what reads as it should.
KERNEL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
# /var/lib/kubelet must be on a disk, and mounts made in it must be seen by containers.
PREPARE = """\
#!/bin/sh
set -e
mount --make-rshared /
mount -o remount,rw /proc/sys 2>/dev/null || true
mkdir -p /var/lib/containerd/kubelet /var/lib/kubelet
mountpoint -q /var/lib/kubelet || mount --bind /var/lib/containerd/kubelet /var/lib/kubelet
[ -e /dev/kmsg ] || ln -s null /dev/kmsg
for file in $(cd /etc/lab-kernel && find . -type f); do
  mountpoint -q "/proc/sys/$file" || mount --bind "/etc/lab-kernel/$file" "/proc/sys/$file"
done
"""
UNIT = """\
[Unit]
After={after}
Requires={after}
[Service]
Environment=PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart={command}
Restart=always
RestartSec=1
KillMode={kill}
Delegate=yes
[Install]
WantedBy=multi-user.target
"""
PREPARE_UNIT = """\
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-kubernetes-prepare
[Install]
WantedBy=multi-user.target
"""
CONTAINERD = f"""\
version = 3
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{pause.REFERENCE}"
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  SystemdCgroup = false
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/opt/cni/bin"]
  conf_dir = "/etc/cni/net.d"
"""
# An image that is not there is refused at once; no name outside the lab is ever asked for.
NO_REGISTRY = 'server = "http://127.0.0.1:1"\n'
SERVICES = ("lab-kubernetes-prepare", "lab-containerd", "kubelet", "kube-proxy")


def files(api: KubeApi, host: LabHost) -> Files:
    """Path below / -> content and mode, of all that the host lacks."""
    return {**_programs(), **_settings(), **_credentials(api, host), **_services(host)}


def pod_subnet(address: str) -> str:
    """The network of the pods on the node with this address."""
    return f"{PODS.rsplit('.', 2)[0]}.{address.rsplit('.', 1)[1]}.0/24"


def _programs() -> Files:
    debian = packages.unpacked_for_nodes()
    sources = {
        **{f"usr/local/bin/{name}": kube_assets.program(name) for name in ("kubelet", "kube-proxy")},
        **{
            f"usr/local/bin/{name}": debian / "usr/bin" / name
            for name in ("containerd", "containerd-shim-runc-v2", "ctr")
        },
        "usr/local/bin/runc": debian / "usr/sbin/runc",
        **{
            f"opt/cni/bin/{name}": debian / "usr/lib/cni" / name
            for name in ("bridge", "host-local", "loopback", "portmap")
        },
    }
    return {path: (source.read_bytes(), 0o755) for path, source in sources.items()}


def _settings() -> Files:
    texts = {
        "etc/containerd/lab.toml": CONTAINERD,
        "etc/containerd/certs.d/_default/hosts.toml": NO_REGISTRY,
        "etc/crictl.yaml": "runtime-endpoint: unix:///run/containerd/containerd.sock\n",
        **{f"etc/lab-kernel/{name}": f"{value}\n" for name, value in KERNEL.items()},
    }
    return {path: (text.encode(), 0o644) for path, text in texts.items()}


def _credentials(api: KubeApi, host: LabHost) -> Files:
    serving = api.authority.issue(f"system:node:{host.name}", ["system:nodes"], [host.name, host.address])
    node = api.credential(f"system:node:{host.name}", ["system:nodes"])
    proxy = api.credential("system:kube-proxy")
    return {
        "etc/kubernetes/ca.crt": (api.ca.encode(), 0o644),
        "etc/kubernetes/kubelet.crt": (serving.certificate.encode(), 0o644),
        "etc/kubernetes/kubelet.key": (serving.key.encode(), 0o600),
        "etc/kubernetes/kubelet.kubeconfig": (node.read_bytes(), 0o600),
        "etc/kubernetes/kube-proxy.kubeconfig": (proxy.read_bytes(), 0o600),
        "etc/kubernetes/kubelet.json": (_json(_kubelet()), 0o644),
        "etc/kubernetes/kube-proxy.json": (_json(_proxy(host.name)), 0o644),
        "etc/cni/net.d/10-lab.conflist": (_json(_network(host.address)), 0o644),
    }


def _services(host: LabHost) -> Files:
    kubelet = [
        "/usr/local/bin/kubelet",
        "--config=/etc/kubernetes/kubelet.json",
        "--kubeconfig=/etc/kubernetes/kubelet.kubeconfig",
        f"--hostname-override={host.name}",
        f"--node-ip={host.address}",
    ]
    commands = {
        "lab-containerd": ("lab-kubernetes-prepare", "/usr/local/bin/containerd -c /etc/containerd/lab.toml"),
        "kubelet": ("lab-containerd", " ".join(kubelet)),
        "kube-proxy": (
            "lab-kubernetes-prepare",
            "/usr/local/bin/kube-proxy --config=/etc/kubernetes/kube-proxy.json",
        ),
    }
    units = {
        name: UNIT.format(
            after=f"{after}.service",
            command=command,
            # Containers outlive a restart of what started them.
            kill="process",
        )
        for name, (after, command) in commands.items()
    }
    units["lab-kubernetes-prepare"] = PREPARE_UNIT
    return {
        "usr/local/sbin/lab-kubernetes-prepare": (PREPARE.encode(), 0o755),
        **{f"etc/systemd/system/{name}.service": (text.encode(), 0o644) for name, text in units.items()},
    }


def _kubelet() -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": "/etc/kubernetes/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": "/etc/kubernetes/kubelet.crt",
        "tlsPrivateKeyFile": "/etc/kubernetes/kubelet.key",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "clusterDomain": "cluster.local",
        "cgroupDriver": "cgroupfs",
        "failSwapOn": False,
        "failCgroupV1": False,
        "featureGates": {"KubeletInUserNamespace": True},
        # The lab's disk is small and the machine's is not the lab's to judge.
        "evictionHard": {"imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "enforceNodeAllocatable": [],
        "nodeStatusUpdateFrequency": "2s",
    }


def _proxy(node: str) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": "/etc/kubernetes/kube-proxy.kubeconfig"},
        "clusterCIDR": PODS,
        "hostnameOverride": node,
        # Zero leaves the kernel's own limits as they are.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def _network(address: str) -> dict[str, object]:
    subnet = pod_subnet(address)
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "lab", "plugins": [bridge, ports]}


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, indent=1).encode()
