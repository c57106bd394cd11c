# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `bundle_delivery`: hear what the host lacks, and send that in one stream.

All of it is one command on the host: each more costs as much as tens of megabytes. A large file is hashed once: where
it arrives, or here when this host is not sent it.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import (
    bundle_hashing,
    bundle_source,
    file_stream,
    host_access,
    host_program,
    progress,
)

ARGUMENTS = {
    "environment_spec_file": {"type": "str"},
    "bundle_dir": {"type": "str"},
    "runtime_type": {"type": "str", "choices": ["compose", "k8s"]},
    "runtime_version": {"type": "str"},
    "features": {"type": "list", "elements": "str"},
    "trusted_keys": {"type": "list", "elements": "str", "no_log": False},
    "bundle_digest": {"type": "str"},
    "verified": {"type": "dict"},
    "rehash": {"type": "bool", "default": False},
    "folder": {"type": "str"},
}
# What runs on the host.
PROGRAM = ("release.errors", "host.state_folder", "host.bundle_store", "host.bundle_receiver")
# A cut is often short: after each try without a byte of progress wait longer, then leave it to the next run.
PATIENCE_SECONDS = (1, 3)
TELL_SECONDS = 2.0


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _valid, self._given = self.validate_argument_spec(ARGUMENTS)
        self._vars = task_vars or {}
        self._host = str(self._vars.get("inventory_hostname", ""))
        self._result_dir: str | None = None
        self._sent = self._resumed = self._files = 0
        self._looked: dict[str, Any] = {}
        self._mended = 0
        started = time.time()
        try:
            return self._deliver(started)
        except ReleaseError as error:
            return self._failed(error.error_key, str(error), error.hint, started, error.detail)
        except AnsibleConnectionFailure as error:
            hint = "See that the host answers; the next run goes on where this one stopped."
            return self._failed(
                "ssh_unreachable", f"the delivery was cut: {error.message}", hint, started, {}
            )
        except AnsibleError as error:
            why = host_access.refused(error)
            return self._failed(why.error_key, str(why), why.hint, started, {})

    def _deliver(self, started: float) -> dict[str, Any]:
        asked = self._asked()
        known = self._given["verified"]
        if known is None:
            known = bundle_source.verified(asked, large_later=True)
        else:
            bundle_source.unchanged(known)
        self._known, self._delivered = known, known["delivered"]
        self._wanted = self._unique()
        recorded = self._have_it_all()
        return self._done(bool(self._files) or recorded, self._looked["folder"], started)

    def _asked(self) -> dict[str, Any]:
        if self._given["verified"] is not None:
            path = self._given["environment_spec_file"] or self._vars.get("environment_spec_file")
            if path:
                self._result_dir = json.loads(Path(str(path)).read_text(encoding="utf-8")).get("result_dir")
            return {}
        asked = bundle_source.wanted(self._given, self._vars)
        self._result_dir = asked["result_dir"]
        return asked

    def _unique(self) -> list[dict[str, Any]]:
        """What the host is to have, each content once: the sum, the bytes, and the path in the bundle."""
        paths = [one["path"] for one in self._delivered["artifacts"].values()] + self._delivered["hooks"]
        files = self._known["files"]
        found = {files[path]["sha256"]: {"size": files[path]["stamp"][0], "path": path} for path in paths}
        return [{"sha256": sha256, **one} for sha256, one in found.items()]

    def _record(self) -> dict[str, Any]:
        sums = {one["path"]: one["sha256"] for one in self._wanted}
        return {"digest": self._known["digest"], "version": self._known["index"]["version"], "files": sums}

    def _have_it_all(self) -> bool:
        """Talk with the host until it has everything; says whether it has another bundle than before then."""
        tries, spoilt = 0, set()
        while True:
            before = self._sent
            try:
                told = self._talk()
            except AnsibleConnectionFailure:
                if not self._looked or tries == len(PATIENCE_SECONDS):
                    raise
                told = {"problem": {"error_key": "ssh_unreachable"}}
            problem = told["problem"]
            if problem is None:
                return bool(told["recorded"])
            if problem["error_key"] == "artifact_checksum_mismatch" and problem["sha256"] not in spoilt:
                # It is either wrong here, or what came before a cut was spoilt: then all of it is sent once more.
                bundle_hashing.require(self._known, self._paths(problem["sha256"]), afresh=True)
                spoilt.add(problem["sha256"])
            elif problem["error_key"] != "ssh_unreachable" or tries == len(PATIENCE_SECONDS):
                raise ReleaseError(
                    problem["error_key"], problem["message"], problem["hint"], **problem["detail"]
                )
            else:
                time.sleep(PATIENCE_SECONDS[tries])
                tries = 0 if self._sent - before > file_stream.PORTION else tries + 1
                self._connection.reset()

    def _talk(self) -> dict[str, Any]:
        command = host_program.command(PROGRAM, self._templar, self._host_vars())
        command = f"{self._compute_environment_string()} {command}".strip()
        opening = {
            "folder": self._given["folder"],
            "wanted": [{name: one[name] for name in ("sha256", "size")} for one in self._wanted],
            "rehash": self._given["rehash"],
            "writing": not self._task.check_mode,
            "record": self._record(),
        }

        def run(in_data: bytes) -> dict[str, Any]:
            return dict(self._low_level_execute_command(command, in_data=in_data))

        return file_stream.send(self._connection, run, opening, self._lacking, self._said)

    def _host_vars(self) -> dict[str, Any]:
        delegated = self._vars.get("ansible_delegated_vars") or {}
        return dict(delegated.get(self._task.delegate_to, self._vars))

    def _lacking(self, looked: dict[str, Any]) -> list[file_stream.Piece]:
        """What the host has to be sent. Raises ReleaseError when what it is not sent is faulty."""
        missing = self._missing(looked["found"])
        sent = set() if self._task.check_mode else {one.sha256 for one in missing}
        kept = [path for path in self._known["unhashed"] if self._known["files"][path]["sha256"] not in sent]
        bundle_hashing.require(self._known, kept, self._given["rehash"])
        if not self._looked:
            self._files = len(missing)
            self._resumed = sum(one.offset for one in missing)
            self._mended = sum(one["altered"] for one in looked["found"])
        self._looked = looked
        self._telling = [time.monotonic(), 0, sum(one.length for one in missing)]
        return [] if self._task.check_mode else missing

    def _missing(self, found: list[dict[str, Any]]) -> list[file_stream.Piece]:
        offsets = {one["sha256"]: one["partial_bytes"] for one in found if not one["present"]}
        return [
            file_stream.Piece(
                os.path.join(self._known["bundle_dir"], one["path"]),
                one["sha256"], one["size"], offsets[one["sha256"]], one["size"] - offsets[one["sha256"]],
            )
            for one in self._wanted
            if one["sha256"] in offsets
        ]  # fmt: skip

    def _paths(self, sha256: str) -> list[str]:
        return [path for path, one in self._known["files"].items() if one["sha256"] == sha256]

    def _said(self, count: int) -> None:
        self._sent += count
        self._telling[1] += count
        when, sent, total = self._telling
        if time.monotonic() - when > TELL_SECONDS:
            self._telling[0] = time.monotonic()
            progress.tell(self._task, self._host, "bundle", f"{int(sent) >> 20} of {int(total) >> 20} MiB")

    def _detail(self) -> dict[str, Any]:
        return {"sent_bytes": self._sent, "resumed_at_byte": self._resumed, "files": self._files,
                "mended": self._mended}  # fmt: skip

    def _done(self, changed: bool, folder: str, started: float) -> dict[str, Any]:
        artifacts = {
            name: {
                "path": os.path.join(folder, one["sha256"]), "mode": one.get("mode", "0644"),
                **{key: one[key] for key in ("sha256", "size", "type", "references") if key in one},
            }
            for name, one in self._delivered["artifacts"].items()
        }  # fmt: skip
        files = self._known["files"]
        hooks = {path: os.path.join(folder, files[path]["sha256"]) for path in self._delivered["hooks"]}
        status = "succeeded" if changed else "unchanged"
        digest = {"bundle_digest": self._known["digest"]}
        step = step_record.step("bundle_delivery", status, started, **self._detail(), **digest)
        told = step_record.done(self._host, changed, [step])
        self._keep(told)
        return {"changed": changed, "artifacts": artifacts, "hooks": hooks, "tidegate": told}

    def _failed(
        self, key: str, message: str, hint: str, started: float, detail: dict[str, Any]
    ) -> dict[str, Any]:
        step = step_record.step("bundle_delivery", "failed", started, message, **self._detail(), **detail)
        told = step_record.failure(self._host, key, message, hint, [step])
        self._keep(told)
        return {"failed": True, "changed": False, "msg": message, "tidegate": told}

    def _keep(self, told: dict[str, Any]) -> None:
        if self._result_dir:
            path = Path(self._result_dir) / f"{self._host}.delivery.json"
            with open(
                path, "w", opener=lambda name, flags: os.open(name, flags, 0o600), encoding="utf-8"
            ) as out:
                json.dump(told, out)
