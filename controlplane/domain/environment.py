# SPDX-License-Identifier: Apache-2.0
"""What an environment is: its stage, its runtime, how it came to be, and the roles that its nodes may have."""

from __future__ import annotations

from collections.abc import Mapping

STAGES = ("development", "staging", "production")
MODES = ("platform_managed", "external_managed")
# The first of each is the one a node gets when none is named for it.
NODE_ROLES: Mapping[str, tuple[str, ...]] = {
    "compose": ("compose_worker", "compose_manager"),
    "k8s": ("worker", "control_plane"),
}
RUNTIMES = tuple(NODE_ROLES)


def default_role(runtime_type: str) -> str:
    """Return the role of a node for which none was named."""
    return NODE_ROLES[runtime_type][0]


def is_role_of(runtime_type: str, role: str) -> bool:
    """Say whether a node of such an environment may have this role."""
    return role in NODE_ROLES[runtime_type]
