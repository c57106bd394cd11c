# SPDX-License-Identifier: Apache-2.0
"""The approval matrix of the installation and a project's own rules, asked together."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path

from controlplane.domain import policy
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor
from controlplane.services import access
from controlplane.services.core import Core
from controlplane.store.tables import Project


def ask(
    core: Core, project: Project, stage: str, action: str, facts: Collection[str]
) -> tuple[policy.Requirement, policy.Risk, list[str]]:
    """Return what policy asks for an action, its risk and the reasons for it.

    Raises:
        Problem: `validation_error`, when the installation's policy file is not valid.
    """
    risk, reasons = policy.risk_of(stage, action, facts)
    overrides = [policy.read_rule(row) for row in project.policy]
    return policy.requirement(matrix(core), overrides, stage, action, risk), risk, reasons


def ask_for(
    core: Core,
    actor: Actor,
    project: Project,
    stage: str,
    action: str,
    facts: Collection[str],
    *,
    about: tuple[str, str],
) -> tuple[policy.Requirement, policy.Risk, list[str]]:
    """Return what `ask` returns to somebody who is about to do it. No transaction may be open.

    Where nobody has to approve, the matrix's permission is the actor's own to have.

    Args:
        about: type and id of what is applied, for the event of a refusal.

    Raises:
        Problem: as `ask`, and `permission_denied`, recorded as `access.denied`.
    """
    asked, risk, reasons = ask(core, project, stage, action, facts)
    if not asked.needs_approval:
        for permission in sorted(asked.permissions):
            access.require(core, actor, permission, project, about=about)
    return asked, risk, reasons


def matrix(core: Core) -> Sequence[policy.Rule]:
    """Return the installation's matrix: its policy file, or the one that ships with Tidegate."""
    return _read(core.settings.policy_file)


@lru_cache(maxsize=4)
def _read(path: Path | None) -> tuple[policy.Rule, ...]:
    source = Path(path) if path else resources.files("controlplane") / "approval_matrix.json"
    try:
        rows = json.loads(source.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Problem("validation_error", f"the policy file cannot be read: {error}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Problem("validation_error", "the policy file must be a list of rules")
    return tuple(policy.read_rule(row) for row in rows)
