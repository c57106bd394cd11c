# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `image_archive`: look, send what is missing piece by piece, have it loaded."""

from __future__ import annotations

import json
import os
import shlex
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import archive, spec
from ansible_collections.tidegate.deploy.plugins.module_utils.host import image_store, step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

MODULE = "tidegate.deploy.image_archive"
PIECE_BYTES = 16 * 1024 * 1024
# A cut is often short: after each try without a byte of progress wait longer, then leave it to the next run.
PATIENCE_SECONDS = (1, 3, 8)


class DeliveryError(Exception):
    """A step that failed; `outcome` is a whole task result."""

    def __init__(self, outcome: dict[str, Any]) -> None:
        super().__init__(outcome.get("msg", ""))
        self.outcome = outcome


class ActionModule(ActionBase):
    TRANSFERS_FILES = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._vars = task_vars or {}
        self._host = self._vars.get("inventory_hostname", "")
        self._steps: list[dict[str, Any]] = []
        started = time.time()
        self._spec: dict[str, Any] | None = None
        path, inline = self._task.args.get("release_spec_file"), self._task.args.get("release_spec")
        try:
            if path or inline is not None:
                self._spec = spec.load(path, inline)
            changed = self._deliver(started)
        except (archive.ArchiveError, ReleaseError) as error:
            return self._failed(error.error_key, str(error), error.hint, started)
        except AnsibleConnectionFailure as error:
            hint = "See that the host answers; the next run goes on where this one stopped."
            return self._failed("ssh_unreachable", f"the transfer was cut: {error.message}", hint, started)
        except DeliveryError as error:
            return error.outcome
        return self._kept(
            {"changed": changed, "tidegate": step_record.done(self._host, changed, self._steps)}
        )

    def _deliver(self, started: float) -> bool:
        images = self._wanted()
        if not images:
            return False
        looked = self._module("look", images)
        missing = []
        for image, found in zip(images, looked["found"], strict=True):
            if found["present"]:
                status = "unchanged" if found["tagged"] else "succeeded"
                self._steps.append(image_store.step(image, status, started, bytes=0))
            else:
                missing.append(image)
        if not missing or self._task.check_mode:
            return bool(missing or looked["retagged"])
        self._send_all(missing)
        return True

    def _send_all(self, missing: list[image_store.Wanted]) -> None:
        known = [self._known(image) for image in missing]
        prepared = self._module("prepare", known)
        for image, found in zip(known, prepared["found"], strict=True):
            sent = self._send(image, prepared["incoming"], found["partial_bytes"])
            loaded = self._module("load", [image])
            self._steps += [
                {
                    **one,
                    "detail": {
                        **one["detail"],
                        "sent_bytes": sent,
                        "resumed_at_byte": found["partial_bytes"],
                    },
                }
                for one in loaded["steps"]
            ]

    def _wanted(self) -> list[image_store.Wanted]:
        """Every archive of the task, each image once; an archive is read only when its id is not given."""
        self._archives: dict[str, str] = {}
        wanted = []
        for one in self._given():
            if not one.get("archive"):
                continue
            reference = one["reference"]
            image_id = one.get("image_id") or archive.read_archive(one["archive"], reference).image_id
            if not archive.DIGEST.fullmatch(image_id):
                raise archive.ArchiveError("validation_error", f"image_id of {reference} is no sha256 digest")
            if reference not in self._archives:
                wanted.append(image_store.Wanted(reference, image_id, one.get("archive_digest")))
            self._archives[reference] = one["archive"]
        return wanted

    def _given(self) -> list[dict[str, Any]]:
        if self._spec is not None:
            return self._spec.get("images") or []
        return self._task.args.get("images") or []

    def _known(self, image: image_store.Wanted) -> image_store.Wanted:
        """The image with all that its archive says; refuses an archive with another image in it."""
        read = archive.read_archive(self._archives[image.reference], image.reference)
        if read.image_id != image.image_id:
            raise archive.ArchiveError(
                "artifact_checksum_mismatch",
                f"the archive of {image.reference} holds {read.image_id}, expected {image.image_id}",
                "Register the archive again, or name the right one.",
            )
        digest = image.archive_digest or "sha256:" + archive.file_digest(read.path).hexdigest()
        if not archive.DIGEST.fullmatch(digest):
            raise archive.ArchiveError(
                "validation_error", f"archive_digest of {image.reference} is no sha256 digest"
            )
        return image_store.Wanted(
            image.reference, image.image_id, digest, read.size, archive.manifest_entry(read, image.reference)
        )

    def _send(self, image: image_store.Wanted, incoming: str, offset: int) -> int:
        """Send what the host lacks; answers how many bytes went over. Hashes on the way when all of it
        goes."""
        path = self._archives[image.reference]
        target = os.path.join(incoming, image_store.partial_name(str(image.archive_digest)))
        offset = offset if offset <= image.size else 0
        running = archive.file_digest(path, offset)
        first, tries = offset, 0
        pieces = archive.pieces(path, offset, PIECE_BYTES)
        piece = next(pieces, b"")
        while piece:
            try:
                self._put(target, offset, piece)
            except AnsibleConnectionFailure:
                if tries == len(PATIENCE_SECONDS):
                    raise
                time.sleep(PATIENCE_SECONDS[tries])
                self._connection.reset()
                tries += 1
                continue
            tries = 0
            offset += len(piece)
            running.update(piece)
            piece = next(pieces, b"")
        if "sha256:" + running.hexdigest() != image.archive_digest:
            self._low_level_execute_command(shlex.join(["rm", "-f", target]))
            raise archive.ArchiveError(
                "artifact_checksum_mismatch",
                f"the archive of {image.reference} is sha256:{running.hexdigest()},"
                f" promised was {image.archive_digest}",
                "Register the archive again: the file changed since.",
            )
        return offset - first

    def _put(self, target: str, offset: int, piece: bytes) -> None:
        """Write bytes at their place, so that a piece sent twice does no harm."""
        argv = [
            "dd",
            f"of={target}",
            "bs=65536",
            "iflag=fullblock",
            "oflag=seek_bytes",
            f"seek={offset}",
            "conv=notrunc",
        ]
        done = self._low_level_execute_command(shlex.join([*argv, "status=none"]), in_data=piece)
        if done["rc"] != 0:
            said = (done.get("stderr") or done.get("stdout") or "").strip()
            full = "No space left" in said
            key, hint = ("storage_full", "Free disk space on the host.") if full else ("preflight_failed", "")
            raise DeliveryError(self._failed(key, f"cannot write {target}: {said}", hint, time.time()))

    def _module(self, step: str, images: list[image_store.Wanted]) -> dict[str, Any]:
        arguments = {
            "step": step,
            "incoming": self._task.args.get("incoming"),
            "images": [
                {
                    "reference": image.reference,
                    "image_id": image.image_id,
                    "archive_digest": image.archive_digest,
                    "size": image.size,
                    "manifest": image.manifest,
                }
                for image in images
            ],
        }
        outcome = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=self._vars)
        if outcome.get("unreachable"):
            raise AnsibleConnectionFailure(outcome.get("msg", "unreachable"))
        if outcome.get("failed"):
            said = outcome.get("tidegate") or {}
            failed = self._failed(
                said.get("error_key", "internal_error"),
                outcome.get("msg", ""),
                said.get("hint", ""),
                time.time(),
            )
            if not said:
                failed["module_stderr"] = outcome.get("module_stderr", "")
            raise DeliveryError(failed)
        return outcome

    def _failed(self, error_key: str, message: str, hint: str, started: float) -> dict[str, Any]:
        steps = [*self._steps, step_record.step("images_present", "failed", started, message)]
        said = step_record.failure(self._host, error_key, message, hint, steps)
        return self._kept({"failed": True, "changed": said["changed"], "msg": message, "tidegate": said})

    def _kept(self, outcome: dict[str, Any]) -> dict[str, Any]:
        """The outcome, also written where the caller asked for whole results."""
        folder = (self._spec or {}).get("result_dir")
        if folder:
            file = Path(folder) / f"{self._host}.images.json"
            with open(
                file, "w", opener=lambda name, flags: os.open(name, flags, 0o600), encoding="utf-8"
            ) as out:
                json.dump(outcome["tidegate"], out)
        return outcome
