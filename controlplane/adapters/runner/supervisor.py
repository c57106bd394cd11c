# SPDX-License-Identifier: Apache-2.0
"""Watches over one run: starts ansible-runner, sends its events to the worker, ends it when the worker is gone.

It is a fork of the zygote, which has ansible-runner imported already, and ends with the run.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import traceback
from typing import Any

import ansible_runner.interface
import ansible_runner.runner

from controlplane.adapters.runner.channel import Channel, encode
from controlplane.adapters.runner.events import reduce_event
from controlplane.adapters.runner.outbox import Outbox
from controlplane.adapters.runner.processes import MARK, adopt_orphans, kill_run
from controlplane.adapters.runner.terminal import AnsibleTerminal

# How long a silent run is waited for before it is looked whether it was cancelled. A silent run is not an ended one.
LOOK_SECONDS = 0.25
MESSAGE_TAIL = 4000


class Supervisor:
    """One run. `request`: folder, playbook (path), environment, secrets (the secret part of the environment)."""

    def __init__(self, channel: Channel, request: dict[str, Any]) -> None:
        self._channel = channel
        self._request = request
        self._stopped = threading.Event()
        self._outbox = Outbox()
        self._counter = 0
        self._has_begun = False
        self._has_reached_host = False
        self._loose = ""

    def run(self) -> None:
        """Run to the end and tell how it ended."""
        threading.Thread(target=self._watch, daemon=True).start()
        sender = threading.Thread(target=self._send, daemon=True)
        sender.start()
        outcome = self._play()
        self._outbox.close()
        sender.join()
        kill_run(self._request["folder"], supervisor=os.getpid())
        self._channel.send({"end": outcome})

    def _watch(self) -> None:
        """Stop at the worker's word, and at its death: then nobody is left to tell, or to clean up."""
        try:
            self._channel.receive()
            self._stopped.set()
            self._channel.receive()
        except EOFError:
            kill_run(self._request["folder"], supervisor=os.getpid())
            shutil.rmtree(self._request["folder"], ignore_errors=True)
            os._exit(1)

    def _send(self) -> None:
        try:
            while batch := self._outbox.take():
                self._channel.send_text(b'{"events":[' + b",".join(batch) + b"]}")
        except OSError:
            # The worker is gone; _watch ends everything.
            return

    def _play(self) -> dict[str, Any]:
        folder = self._request["folder"]
        os.environ.clear()
        os.environ.update(self._request["environment"])
        os.environ[MARK] = folder
        AnsibleTerminal.secret_environment = self._request["secrets"]
        ansible_runner.runner.pexpect.spawn = AnsibleTerminal
        os.chdir(folder)
        try:
            runner = ansible_runner.interface.init_runner(
                private_data_dir=folder,
                playbook=self._request["playbook"],
                inventory=f"{folder}/inventory/hosts.yml",
                ident="run",
                quiet=True,
                event_handler=self._take,
                cancel_callback=self._stopped.is_set,
                settings={
                    "pexpect_timeout": LOOK_SECONDS,
                    "idle_timeout": 0,
                    "job_timeout": 0,
                    "suppress_output_file": True,
                },
                suppress_env_files=True,
            )
            runner.run()
        except Exception as error:
            message = "".join(traceback.format_exception_only(error)).strip()
            return {"status": "error", "rc": 254, "message": message[-MESSAGE_TAIL:]}
        return self._outcome(runner.status, -1 if runner.rc is None else runner.rc)

    def _outcome(self, status: str, rc: int) -> dict[str, Any]:
        message = self._loose.strip()[-MESSAGE_TAIL:]
        if status == "successful" and not self._has_reached_host:
            # Ansible calls it a success when no host matched, or no task was there: nothing was done.
            return {"status": "error", "rc": rc, "message": message or "the playbook did nothing on any host"}
        if status == "failed" and not self._has_begun:
            return {"status": "error", "rc": rc, "message": message or f"ansible-playbook ended with {rc}"}
        return {"status": status, "rc": rc, "message": "" if status == "successful" else message}

    def _take(self, event: dict[str, Any]) -> bool:
        """Queue an event for the worker. Answering False keeps ansible-runner from writing it to a file."""
        self._counter += 1
        reduced = reduce_event(event, self._counter)
        kind = reduced["kind"]
        if kind == "playbook_on_play_start":
            self._has_begun = True
        elif kind.startswith("runner_"):
            self._has_reached_host = True
        elif not kind.startswith("playbook_"):
            self._loose = (self._loose + "\n" + reduced["stdout"])[-2 * MESSAGE_TAIL :]
        self._outbox.put(encode(reduced))
        return False


def supervise(end: socket.socket) -> None:
    """Be the supervisor of the run that is asked for through `end`. Does not return."""
    os.setsid()
    os.umask(0o077)
    adopt_orphans()
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    channel = Channel(end)
    try:
        channel.send({"ready": os.getpid()})
        Supervisor(channel, channel.receive()).run()
    except (EOFError, OSError):
        os._exit(1)
    os._exit(0)
