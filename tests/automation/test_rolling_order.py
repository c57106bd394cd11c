# SPDX-License-Identifier: Apache-2.0
"""Batches go one after another in the plan's order, whichever host answers Ansible first."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TASKS = ROOT / "collections/ansible_collections/tidegate/deploy/roles/release_compose/tasks"
HOSTS = ("a", "b", "c", "d")
# What releases to a host, here: it notes that it was here, and fails where it is told to.
STUB = """
- name: Note it
  ansible.builtin.shell:
    cmd: echo {{ inventory_hostname }} >> {{ noted }}
  changed_when: true
- name: Fail where it is told to
  ansible.builtin.fail:
    msg: unfit
  when: inventory_hostname in unfit
"""
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: rolling, tasks_from: strategy_rolling.yml}
"""


def rolled(folder: Path, batches: list[list[str]], budget: int, unfit: list[str], order: str) -> list[str]:
    """Run the strategy on hosts that answer in this order; return where it released to, in order."""
    tasks = folder / "roles" / "rolling" / "tasks"
    tasks.mkdir(parents=True)
    for name in ("strategy_rolling.yml", "rolling_batch.yml"):
        shutil.copy(TASKS / name, tasks / name)
    (tasks / "release_host.yml").write_text(STUB)
    (folder / "play.yml").write_text(PLAY.replace("gather_facts", f"order: {order}\n  gather_facts"))
    inventory = {"all": {"hosts": {name: {"ansible_connection": "local"} for name in HOSTS}}}
    (folder / "inventory.json").write_text(json.dumps(inventory))
    plan = {"batches": batches, "failure_budget": budget}
    noted = folder / "noted"
    noted.touch()
    values = {"release_compose_plan": plan, "noted": str(noted), "unfit": unfit}
    (folder / "values.json").write_text(json.dumps(values))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventory.json", "-f", "1",
         "-e", "@values.json", "play.yml"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "ANSIBLE_PYTHON_INTERPRETER": sys.executable},
    )  # fmt: skip
    print(done.stdout, done.stderr)
    return noted.read_text().split()


@pytest.mark.parametrize("order", ["sorted", "reverse_sorted"])
def test_hosts_go_in_the_order_of_the_plan(tmp_path: Path, order: str) -> None:
    assert rolled(tmp_path, [["a"], ["b"], ["c"], ["d"]], 0, [], order) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("order", ["sorted", "reverse_sorted"])
def test_what_fails_stops_those_that_come_after_it(tmp_path: Path, order: str) -> None:
    assert rolled(tmp_path, [["a"], ["b"], ["c"], ["d"]], 0, ["b"], order) == ["a", "b"]


@pytest.mark.parametrize("order", ["sorted", "reverse_sorted"])
def test_a_batch_ends_before_the_next_begins(tmp_path: Path, order: str) -> None:
    found = rolled(tmp_path, [["a", "b"], ["c", "d"]], 1, ["a", "b"], order)
    assert sorted(found) == ["a", "b"]
