# SPDX-License-Identifier: Apache-2.0
"""Lets the wheel carry the automation side: `controlplane/_automation`, made while the wheel is built.

In git there is one source of it (collections, roles, playbooks, ansible.cfg); an editable install finds that.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
CARRIED = ("collections", "roles", "playbooks", "ansible.cfg")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "molecule", "tests", "*.tar.gz")


class BuildWithAutomation(build_py):
    """The usual build, and then the automation side beside it."""

    def run(self) -> None:
        """Build; an editable install copies nothing."""
        super().run()
        if not self.editable_mode:
            self._carry(Path(self.build_lib) / "controlplane" / "_automation")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Name the carried files too, so that they are recorded."""
        named = list(super().get_outputs(include_bytecode))
        carried = Path(self.build_lib) / "controlplane" / "_automation"
        return named + [str(path) for path in carried.rglob("*") if path.is_file()]

    @staticmethod
    def _carry(goal: Path) -> None:
        shutil.rmtree(goal, ignore_errors=True)
        goal.mkdir(parents=True)
        for name in CARRIED:
            source = ROOT / name
            if source.is_dir():
                # A wheel has no symbolic links: what they point at is carried.
                shutil.copytree(source, goal / name, ignore=LEFT_OUT)
            else:
                shutil.copy2(source, goal / name)


setup(cmdclass={"build_py": BuildWithAutomation})
