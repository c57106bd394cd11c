# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `bundle_delivery`: ask what the host lacks, send that in one stream, have it remembered."""

from __future__ import annotations

import inspect
import json
import os
import shlex
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.tidegate.deploy.plugins.module_utils.host import bundle_receiver, step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import (
    bundle_source,
    file_stream,
    host_access,
    progress,
)

MODULE = "tidegate.deploy.bundle_delivery"
# A cut is often short: after each try without a byte of progress wait longer, then leave it to the next run.
PATIENCE_SECONDS = (1, 3)
TELL_SECONDS = 2.0


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._vars = task_vars or {}
        self._host = str(self._vars.get("inventory_hostname", ""))
        self._result_dir: str | None = None
        self._sent = self._resumed = self._files = 0
        self._mended: list[str] = []
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
        known = self._task.args.get("verified")
        if known is None:
            known = bundle_source.verified(asked)
        else:
            bundle_source.unchanged(known)
        self._known, self._delivered = known, known["delivered"]
        self._wanted = self._unique()
        looked = self._ask(
            "look", wanted=self._wanted, record=self._record(), rehash=self._task.args.get("rehash")
        )
        self._mended = [one["sha256"] for one in looked["found"] if one["altered"]]
        missing = self._missing(looked["found"])
        self._files = len(missing)
        if missing and not self._task.check_mode:
            taken = self._send_all(looked, missing)
            self._ask("settle", taken=taken, record=self._record())
        changed = bool(missing) or bool(looked["changed"])
        return self._done(changed, looked["folder"], started)

    def _asked(self) -> dict[str, Any]:
        if self._task.args.get("verified") is not None:
            path = self._task.args.get("environment_spec_file") or self._vars.get("environment_spec_file")
            if path:
                self._result_dir = json.loads(Path(str(path)).read_text(encoding="utf-8")).get("result_dir")
            return {}
        asked = bundle_source.wanted(self._task.args, self._vars)
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

    def _send_all(self, looked: dict[str, Any], missing: list[file_stream.Piece]) -> list[str]:
        """Send until all is there; after a cut, what is left. Answers the sums of what arrived."""
        taken: list[str] = []
        tries, spoilt = 0, set()
        self._resumed = sum(one.offset for one in missing)
        while missing:
            before = self._sent
            try:
                answer = self._send(looked, missing)
                taken += answer["taken"]
                problem = answer["problem"]
            except AnsibleConnectionFailure:
                if tries == len(PATIENCE_SECONDS):
                    raise
                problem = {"error_key": "ssh_unreachable"}
            if problem is None:
                break
            if problem["error_key"] == "artifact_checksum_mismatch" and problem["sha256"] not in spoilt:
                # What was there before the cut may have been spoilt: that file is sent once more, all of it.
                spoilt.add(problem["sha256"])
            elif problem["error_key"] != "ssh_unreachable" or tries == len(PATIENCE_SECONDS):
                raise ReleaseError(problem["error_key"], problem["message"], "See the host, then try again.")
            else:
                time.sleep(PATIENCE_SECONDS[tries])
                tries = 0 if self._sent - before > file_stream.PORTION else tries + 1
                self._connection.reset()
            missing = self._missing(self._ask("look", wanted=self._wanted, record={})["found"])
        return taken

    def _send(self, looked: dict[str, Any], missing: list[file_stream.Piece]) -> dict[str, Any]:
        argv = [looked["python"], "-c", inspect.getsource(bundle_receiver), looked["folder"]]
        total, told = sum(one.length for one in missing), [time.monotonic(), 0]

        def said(count: int) -> None:
            self._sent += count
            told[1] += count
            if time.monotonic() - told[0] > TELL_SECONDS:
                told[0] = time.monotonic()
                progress.tell(self._task, self._host, "bundle", f"{told[1] >> 20} of {total >> 20} MiB")

        def run(in_data: bytes) -> dict[str, Any]:
            return dict(self._low_level_execute_command(shlex.join(argv), in_data=in_data))

        done = file_stream.send(self._connection, run, missing, said)
        lines = str(done.get("stdout") or "").strip().splitlines()
        try:
            return dict(json.loads(lines[-1]))
        except (IndexError, ValueError, TypeError):
            said_by_host = (done.get("stderr") or done.get("stdout") or "").strip()[-1000:]
            raise ReleaseError(
                "preflight_failed", f"the host could not take the bundle: {said_by_host}"
            ) from None

    def _ask(self, step: str, **arguments: Any) -> dict[str, Any]:
        given = {"step": step, "folder": self._task.args.get("folder"), **arguments}
        given["wanted"] = [
            {name: one[name] for name in ("sha256", "size")} for one in given.get("wanted", [])
        ]
        module_args = {name: value for name, value in given.items() if value is not None}
        answer = self._execute_module(module_name=MODULE, module_args=module_args, task_vars=self._vars)
        if answer.get("unreachable"):
            raise AnsibleConnectionFailure(answer.get("msg", "unreachable"))
        if answer.get("failed"):
            raise host_access.failed(answer)
        return dict(answer)

    def _detail(self) -> dict[str, Any]:
        return {"sent_bytes": self._sent, "resumed_at_byte": self._resumed, "files": self._files,
                "mended": len(self._mended)}  # fmt: skip

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
