# SPDX-License-Identifier: Apache-2.0
"""Real hosts for the tests: systemd, sshd, Docker and Compose 2, each with an address and a disk of its own.

`Lab("name").up()`, `lab.host("a")`, `lab.down()`; from a shell `python -m tests.lab --help`.
"""

from .command import LabError
from .host import LabHost
from .kube import KubeApi
from .kube_cluster import KubeCluster
from .lab import Lab
from .registry import Registry

__all__ = ["KubeApi", "KubeCluster", "Lab", "LabError", "LabHost", "Registry"]
