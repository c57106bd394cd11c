# SPDX-License-Identifier: Apache-2.0
"""A program for a host is one command, started with the Python that Ansible would take there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.action import bundle_delivery
from ansible_collections.tidegate.deploy.plugins.plugin_utils import host_program

AS_IT_IS = SimpleNamespace(template=lambda value: value)


def command(**variables: Any) -> str:
    return host_program.command(bundle_delivery.PROGRAM, AS_IT_IS, variables)


@pytest.mark.parametrize(
    ("variables", "python"),
    [
        ({"ansible_python_interpreter": "/opt/python/bin/python3"}, "/opt/python/bin/python3"),
        ({"ansible_python_interpreter": "/usr/bin/env python3"}, "/usr/bin/env python3"),
        (
            {
                "ansible_python_interpreter": "auto",
                "ansible_facts": {"discovered_interpreter_python": "/usr/bin/python3.11"},
            },
            "/usr/bin/python3.11",
        ),
    ],
)
def test_the_hosts_python_is_the_one_that_ansible_knows(variables: dict[str, Any], python: str) -> None:
    assert command(**variables).startswith(f"{python} -c ")


@pytest.mark.parametrize("interpreter", ["auto", "auto_silent", sys.executable])
def test_the_command_runs_as_a_shell_gets_it(interpreter: str) -> None:
    words = command(ansible_python_interpreter=interpreter)
    argv, path = ["/bin/sh", "-c", words], {"PATH": str(Path(os.path.realpath(sys.executable)).parent)}
    done = subprocess.run(argv, input=b"", env=path, capture_output=True, check=True)
    assert json.loads(done.stdout)["problem"]["error_key"] == "ssh_unreachable"


def test_it_fits_into_one_argument_of_a_command() -> None:
    # Linux takes 128 KiB; the command is quoted three times on its way.
    assert len(command(ansible_python_interpreter="/usr/bin/python3")) < 32 * 1024
