# SPDX-License-Identifier: Apache-2.0
"""What a template launches, and what its jobs are: a release of a service, or an install of an environment.

The rest of the door knows only what is said here, so both are launched, asked for, followed and cancelled alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy.orm import Session

from controlplane.domain.permission import Actor, Permission
from controlplane.services.core import Beside, Core

MASK = "$encrypted$"


@dataclass(frozen=True)
class Template:
    """A template that something is to be launched from. `uid` is what it is numbered by."""

    id: int
    name: str
    uid: str
    project_id: str
    environment_id: str
    service_id: str | None
    target_id: str | None
    inventory: int | None


@dataclass(frozen=True)
class Asked:
    """What a launch asked for. `ignored` are fields that mean nothing here and change nothing."""

    variables: Mapping[str, Any] = field(default_factory=dict)
    version: str | None = None
    strategy: str | None = None
    strategy_params: Mapping[str, Any] | None = None
    ignored: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Previewed:
    """How a preview stands when it is to be asked for. `against` is what the preview shows against it.

    `is_open` as long as nobody has applied it and it has not ended; `owner_id` is whose it is.
    """

    id: str
    owner_id: str
    is_open: bool
    preview_ref: str | None
    against: str
    request_id: str | None


class About(Protocol):
    """What stands behind a template and its jobs.

    `column` is where a job keeps which it is; `permission` is what launching needs beside the runtime's own, `read`
    what reading its jobs needs, and `see` what reading its templates needs; `whole` says why a launch cannot go to less
    than everything.
    """

    column: str
    permission: Permission
    read: Permission
    see: tuple[Permission, ...]
    has_versions: bool
    whole: str
    survey: str

    def questions(self, session: Session, template: Template) -> list[dict[str, Any]]:
        """Return what a launch may be told, as the questions of a survey."""

    def secrets(self, session: Session, template: Template) -> set[str]:
        """Return the variables that a schedule, which is shown as it was made, must not keep."""

    def require(self, core: Core, actor: Actor, template: Template) -> None:
        """Let pass who may have it launched. Raises Problem `not_found`, `permission_denied`."""

    def check(self, core: Core, actor: Actor, template: Template, asked: Asked) -> None:
        """Let pass what `begin` would begin; nothing is made. Raises Problem as `begin`."""

    def begin(self, core: Core, actor: Actor, template: Template, asked: Asked, beside: Beside) -> None:
        """Have it previewed, with what is beside it. Raises Problem as the service that makes previews of it."""

    def previewed(self, session: Session, id_: str) -> Previewed:
        """Return how the preview stands."""

    def is_used(self, session: Session, id_: str) -> bool:
        """Say whether the preview was applied, by whomever."""

    def apply(self, core: Core, actor: Actor, found: Previewed) -> None:
        """Ask to apply exactly what was previewed. Raises Problem as the service that applies it."""

    def require_cancel(self, core: Core, actor: Actor, row: Any) -> None:
        """Let pass who may take it back. Raises Problem `permission_denied`."""

    def drop(self, core: Core, actor: Actor, row: Any) -> None:
        """End what was taken back before it was asked for."""

    def cancel(self, core: Core, actor: Actor, row: Any) -> None:
        """Take it back as the service does. Raises Problem where it has ended."""

    def again(self, core: Core, row: Any) -> Asked:
        """Return what a job was asked for."""

    def named(self, row: Any) -> dict[str, Any]:
        """Return its version and its id, as notifications tell of them."""

    def shown(self, row: Any) -> dict[str, Any]:
        """Return the fields of a job that say what was asked for, and `artifacts`."""

    def explanation(self, row: Any) -> str | None:
        """Return what it waits for or why it ended, where that is its own to say."""
