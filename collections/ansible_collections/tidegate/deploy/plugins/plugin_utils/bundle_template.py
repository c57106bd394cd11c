# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Templates of a verified bundle, filled with inputs. An input is a value here, and never a template itself."""

from __future__ import annotations

import hashlib
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.bundle import folder
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

_MOST_BYTES = 1 << 20


def render(bundle: dict[str, Any], path: str, values: dict[str, Any]) -> str:
    """The text. Raises ReleaseError where the template is not the verified one, or wants what is not there."""
    try:
        content = folder.content(bundle["bundle_dir"], path, _MOST_BYTES)
    except OSError as error:
        raise ReleaseError("artifact_missing", f"the bundle has no template {path}: {error}") from error
    if hashlib.sha256(content).hexdigest() != bundle["files"].get(path, {}).get("sha256"):
        raise ReleaseError("artifact_checksum_mismatch", f"{path} changed since the bundle was verified")
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )  # noqa: S701 (no HTML)
    try:
        return environment.from_string(content.decode("utf-8")).render(values)
    except (TemplateError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise ReleaseError("validation_error", f"{path} cannot be filled in: {error}") from error
