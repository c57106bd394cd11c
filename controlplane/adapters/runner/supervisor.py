# SPDX-License-Identifier: Apache-2.0
"""Watches over one run: starts ansible-runner, sends its events to the worker, ends it when the worker is gone.

It is a fork of the zygote, which has ansible-runner imported already, and ends with the run.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import socket
import threading
import traceback
from functools import partial
from typing import Any

import ansible_runner.interface
import ansible_runner.runner

from controlplane.adapters.runner.channel import Channel
from controlplane.adapters.runner.events import reduce_event
from controlplane.adapters.runner.processes import MARK, kill_marked

BATCH = 200
FLUSH_SECONDS = 0.05
# How long pexpect waits before it looks whether the run was cancelled. A silent run is not an ended one.
LOOK_SECONDS = 0.25
WAITING_MOST = 20_000
MESSAGE_TAIL = 4000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Supervisor:
    """One run. `request`: folder, playbook (path), environment (secret parts included)."""

    def __init__(self, channel: Channel, request: dict[str, Any]) -> None:
        self._channel = channel
        self._request = request
        self._stopped = threading.Event()
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING_MOST)
        self._counter = 0
        self._has_begun = False
        self._loose = ""

    def run(self) -> None:
        """Run to the end and tell how it ended."""
        threading.Thread(target=self._watch, daemon=True).start()
        sender = threading.Thread(target=self._send, daemon=True)
        sender.start()
        outcome = self._play()
        self._waiting.put(None)
        sender.join()
        kill_marked(self._request["folder"])
        self._channel.send({"end": outcome})

    def _watch(self) -> None:
        """Stop at the worker's word, and at its death: then nobody is left to tell."""
        try:
            self._channel.receive()
        except EOFError:
            kill_marked(self._request["folder"])
            os._exit(1)
        self._stopped.set()

    def _send(self) -> None:
        is_over = False
        while not is_over:
            batch: list[dict[str, Any]] = []
            item = self._waiting.get()
            while True:
                if item is None:
                    is_over = True
                    break
                batch.append(item)
                if len(batch) >= BATCH:
                    break
                try:
                    item = self._waiting.get(timeout=FLUSH_SECONDS)
                except queue.Empty:
                    break
            if batch:
                try:
                    self._channel.send({"events": batch})
                except OSError:
                    # The worker is gone; _watch ends everything.
                    return

    def _play(self) -> dict[str, Any]:
        os.environ.update(self._request["environment"])
        os.environ[MARK] = self._request["folder"]
        # If this process is killed, the kernel ends ansible-playbook; ansible-runner passes no preexec_fn on.
        ansible_runner.runner.pexpect.spawn = partial(
            ansible_runner.runner.pexpect.spawn, preexec_fn=_die_with_parent
        )
        try:
            runner = ansible_runner.interface.init_runner(
                private_data_dir=self._request["folder"],
                playbook=self._request["playbook"],
                inventory=f"{self._request['folder']}/inventory/hosts.yml",
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
            return {
                "status": "error",
                "rc": 254,
                "message": "".join(traceback.format_exception_only(error)).strip(),
            }
        status = runner.status
        if self._stopped.is_set():
            status = "canceled"
        elif not self._has_begun and status != "successful":
            status = "error"
        message = self._loose.strip()[-MESSAGE_TAIL:] if status in ("error", "failed") else ""
        return {"status": status, "rc": -1 if runner.rc is None else runner.rc, "message": message}

    def _take(self, event: dict[str, Any]) -> bool:
        """Queue an event for the worker. Answering False keeps ansible-runner from writing it to a file."""
        kind = event.get("event")
        if kind == "playbook_on_play_start":
            self._has_begun = True
        if kind in ("verbose", "error", "deprecated", "warning") or kind is None:
            self._loose = (self._loose + "\n" + str(event.get("stdout") or ""))[-2 * MESSAGE_TAIL :]
        self._counter += 1
        self._waiting.put(reduce_event(event, self._counter))
        return False


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def supervise(end: socket.socket) -> None:
    """Be the supervisor of the run that is asked for through `end`. Does not return."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    channel = Channel(end)
    try:
        Supervisor(channel, channel.receive()).run()
    except (EOFError, OSError):
        os._exit(1)
    os._exit(0)
