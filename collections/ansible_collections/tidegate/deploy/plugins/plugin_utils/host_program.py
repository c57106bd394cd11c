# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A program for a host out of this collection's `module_utils`, started by one command that is all of it.

A module of Ansible's takes its own text off standard input until that ends: it cannot be talked with. This can.
"""

from __future__ import annotations

import base64
import shlex
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible import constants

_ROOT = "tidegate_on_host"
_UTILS = Path(__file__).parents[1] / "module_utils"
_DISCOVERED = ("auto", "auto_silent", "auto_legacy", "auto_legacy_silent")
# What makes packages of texts: each text may import those before it as it does in the collection.
_LOADER = """
import sys, types
def load(name, text):
    package = name.rpartition(".")[0]
    module = types.ModuleType(name)
    module.__package__ = package
    sys.modules[name] = module
    exec(compile(text, name, "exec"), module.__dict__)
    setattr(sys.modules[package], name.rpartition(".")[2], module)
    return module
for package in %(packages)r:
    sys.modules[package] = types.ModuleType(package)
    sys.modules[package].__path__ = []
for name, text in %(texts)r:
    module = load(name, text)
module.main()
"""


def text(modules: Sequence[str]) -> str:
    """The Python program that calls `main()` of the last of these modules, each named as `folder.module`.

    Each may import from those before it. They are read, not imported: here they would only cost their compilation.
    """
    texts = [(f"{_ROOT}.{one}", _source(one)) for one in modules]
    packages = [_ROOT, *sorted({name.rpartition(".")[0] for name, _text in texts})]
    packed = base64.b64encode(zlib.compress((_LOADER % {"packages": packages, "texts": texts}).encode()))
    return f"import base64,zlib;exec(zlib.decompress(base64.b64decode('{packed.decode()}')))"


def command(modules: Sequence[str], templar: Any, variables: dict[str, Any]) -> str:
    """The shell's words that start the program with the Python that Ansible would take on that host."""
    return f"{_python(templar, variables)} -c {shlex.quote(text(modules))}"


def _source(module: str) -> str:
    return _UTILS.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")


def _python(templar: Any, variables: dict[str, Any]) -> str:
    found = templar.template(constants.config.get_config_value("INTERPRETER_PYTHON", variables=variables))
    if not found or found in _DISCOVERED:
        found = (variables.get("ansible_facts") or {}).get("discovered_interpreter_python")
    if found:
        return shlex.join(shlex.split(str(found)))
    # What Ansible would look for, in its order, but without asking the host before.
    tried = constants.config.get_config_value("INTERPRETER_PYTHON_FALLBACK", variables=variables)
    looks = [f"command -v {shlex.quote(one)}" for one in tried]
    return f'"$({" || ".join([*looks, "echo /usr/bin/python3"])})"'
