# SPDX-License-Identifier: Apache-2.0
"""The table of job kinds: what a new kind of work is added to."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.services.apply_job import ApplyJob
from controlplane.services.canary_watch import CanaryWatchJob
from controlplane.services.cert_rotation_job import CertRotationJob
from controlplane.services.cert_rotation_preview_job import CertRotationPreviewJob
from controlplane.services.cluster_certificates import ClusterCertificatesJob
from controlplane.services.environment_health import EnvironmentHealthJob
from controlplane.services.install_job import InstallJob
from controlplane.services.install_preview_job import InstallPreviewJob
from controlplane.services.job_kind import JobKind
from controlplane.services.network_entry_check import NetworkEntryCheckJob
from controlplane.services.network_entry_job import NetworkEntryJob
from controlplane.services.network_entry_preview_job import NetworkEntryPreviewJob
from controlplane.services.preview_job import PreviewJob
from controlplane.services.retirement import RetirementJob
from controlplane.services.target_status import TargetStatusJob

KINDS: Mapping[str, type[JobKind]] = {
    "preview": PreviewJob,
    "apply": ApplyJob,
    "retirement": RetirementJob,
    "canary_watch": CanaryWatchJob,
    "target_status": TargetStatusJob,
    "install_preview": InstallPreviewJob,
    "install": InstallJob,
    "environment_health": EnvironmentHealthJob,
    "network_entry_preview": NetworkEntryPreviewJob,
    "network_entry": NetworkEntryJob,
    "network_entry_check": NetworkEntryCheckJob,
    "cluster_certificates": ClusterCertificatesJob,
    "cert_rotation_preview": CertRotationPreviewJob,
    "cert_rotation": CertRotationJob,
}
