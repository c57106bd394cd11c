# SPDX-License-Identifier: Apache-2.0
"""Running a playbook: what goes in, what comes out while it runs, and how it is ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from controlplane.ports.probe import SshAccess


@dataclass(frozen=True)
class RunHost:
    """A host of a run under its inventory name. `access` is None for one that is no machine: a cluster, whose
    modules run beside Ansible. `role` is what it is in an environment: a group of the inventory has its name."""

    name: str
    access: SshAccess | None
    become: bool = False
    become_password: str | None = None
    role: str | None = None


@dataclass(frozen=True)
class PlaybookRun:
    """Everything one run needs. `documents` become files that only the run can read (path by name in extra vars).

    `documents` maps an extra-var name to JSON-able content: {"release_spec_file": {...}} writes the content
    to a 0600 file and passes its path; a text is written as it is. `secret_env` reaches the playbook's
    environment and no command line.
    """

    job_id: str
    playbook: str
    hosts: Sequence[RunHost]
    documents: Mapping[str, Any] = field(default_factory=dict)
    extra_vars: Mapping[str, Any] = field(default_factory=dict)
    secret_env: Mapping[str, str] = field(default_factory=dict)
    group: str = "release_hosts"
    timeout: float = 3600.0


@dataclass(frozen=True)
class RunEvent:
    """One ansible-runner event, reduced to what may be kept: `data` is the module's `tidegate` key or None.

    `kind` is the runner's event name (`runner_on_ok`, ...). `stdout` is what Ansible printed for it, with
    NUL bytes removed. `at` is the event's own time, RFC 3339 UTC. `task` and `role` are what people call what ran:
    to be shown, never to be read for what happened.
    """

    counter: int
    kind: str
    at: str
    host: str | None
    action: str | None
    play: str | None
    task_id: str | None
    changed: bool
    failed: bool
    ignored: bool
    unreachable: bool
    duration: float | None
    stdout: str
    data: Mapping[str, Any] | None
    task: str | None = None
    role: str | None = None


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended. `status`: successful failed canceled timeout error. `results` maps
    `(host, verb)` file names `<host>.<verb>` to the documents written by the playbook. `message` says
    what went wrong when Ansible itself did (missing playbook, bad option), else ''."""

    status: str
    rc: int
    results: Mapping[str, Any]
    message: str = ""


class Runner(Protocol):
    """Runs one playbook at a time per call; calls from several threads are independent."""

    def run(
        self,
        run: PlaybookRun,
        on_events: Callable[[Sequence[RunEvent]], None],
        should_stop: Callable[[], bool],
    ) -> RunOutcome:
        """Run to the end. `on_events` gets batches in order while it runs; `should_stop` is asked about twice a
        second, and a true answer ends Ansible (not the remote work: that is the cancel playbook's).

        No process of the run outlives this call, nor the process that made it, even when that is killed with -9.
        """
        ...

    def close(self) -> None:
        """End the runner's own processes."""
        ...
