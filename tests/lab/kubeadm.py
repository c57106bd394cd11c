# SPDX-License-Identifier: Apache-2.0
"""What makes a lab host fit for kubeadm: it shares its kernel with this machine, and lacks a capability or two.

Every setting that says so is here, and no role has it for its default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import image, kube_assets, kube_images
from .kube_node import KERNEL, PREPARE, PREPARE_UNIT

if TYPE_CHECKING:
    from .host import LabHost

# Inputs of an install. There is no program of CoreDNS here; and this kernel's modules are none of the host's.
INPUTS: dict[str, Any] = {
    "cluster_dns": False,
    "cluster_proxy": False,
    "containerd_systemd_cgroup": False,
    "containerd_restrict_oom_score_adj": True,
    "containerd_disable_apparmor": True,
    "kubeadm_ignore_preflight": ["SystemVerification", "Swap", "NumCPU", "Mem"],
    "kubelet_config": {
        "cgroupDriver": "cgroupfs",
        "failSwapOn": False,
        "failCgroupV1": False,
        "featureGates": {"KubeletInUserNamespace": True},
        # The lab's disk is small and the machine's is not the lab's to judge.
        "evictionHard": {"imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "enforceNodeAllocatable": [],
    },
}
_UNIT = "lab-kubernetes-prepare"


def why_not() -> str:
    """One line that says which programs are missing, or nothing when all are there."""
    wanted = ("kubelet", "kubectl", *kube_images.PROGRAMS)
    absent = [name for name in wanted if not kube_assets.program(name).is_file()]
    return f"no {', '.join(absent)} in {kube_assets.folder()} (KUBEBUILDER_ASSETS)" if absent else ""


def prepare(host: LabHost) -> None:
    """Make a host without Docker a machine that a kubelet can run on, now and after each boot."""
    files = {
        f"usr/local/sbin/{_UNIT}": (PREPARE.encode(), 0o755),
        f"etc/systemd/system/{_UNIT}.service": (PREPARE_UNIT.encode(), 0o644),
        **{f"etc/lab-kernel/{name}": (f"{value}\n".encode(), 0o644) for name, value in KERNEL.items()},
    }
    image.put_files(host.lab.engine, host.container, files)
    host.exec(["systemctl", "daemon-reload"])
    host.exec(["systemctl", "enable", "--now", f"{_UNIT}.service"])
