# SPDX-License-Identifier: Apache-2.0
"""A YAML file that a command is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


def mapping_in(file: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds. Raises click.UsageError, naming the file, for anything else."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise click.UsageError(f"{file}: {error}") from error
    if not isinstance(content, dict):
        raise click.UsageError(f"{file}: expected a mapping")
    return content
