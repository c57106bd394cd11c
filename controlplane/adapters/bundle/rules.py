# SPDX-License-Identifier: Apache-2.0
"""What makes a bundle a good one is said once, in the collection; here those modules are loaded as files.

They are pure Python without Ansible. Loading them by their place keeps the two sides apart: nothing of the control
plane imports the collection, and the collection works without the control plane.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from controlplane.adapters.runner.automation import automation_home
from controlplane.domain.errors import Problem

_PACKAGE = "tidegate_module_utils"
_PLACE = "collections/ansible_collections/tidegate/deploy/plugins/module_utils"


def part(name: str) -> Any:
    """Return a module of the collection's `module_utils/bundle`, such as `inspection`.

    Raises:
        FileNotFoundError: the automation side is nowhere to be found.
    """
    if _PACKAGE not in sys.modules:
        package = ModuleType(_PACKAGE)
        package.__path__ = [str(automation_home() / _PLACE)]
        sys.modules[_PACKAGE] = package
    return importlib.import_module(f"{_PACKAGE}.bundle.{name}")


def refusal(error: Exception) -> Problem:
    """Return the problem for an exception that such a module raised; raise it again when it is another one."""
    key = getattr(error, "error_key", None)
    if key is None:
        raise error
    return Problem(key, str(error), hint=getattr(error, "hint", None) or None)
