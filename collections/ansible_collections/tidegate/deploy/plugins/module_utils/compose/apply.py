# SPDX-License-Identifier: Apache-2.0
"""The release itself, on the host: images first, then the project, then `up`; and the wait for health."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from ..host import colours, state_folder, step_record
from ..release.errors import ReleaseError
from . import engine, fingerprint, health, image_source, observe, operation, registry

DIGEST_LABEL = "dev.tidegate.service-digest"
RELEASE_LABEL = "dev.tidegate.release"
UP_SECONDS = 900


def service_digest(document: Mapping[str, Any], name: str, pinned: str | None) -> str:
    """What makes a container of this service what it is: its definition and the parts that it shares."""
    shared = {kind: document.get(kind) for kind in ("networks", "volumes", "configs", "secrets")}
    whole = json.dumps([document["services"][name], pinned, shared], sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(whole.encode()).hexdigest()


def pin(image: Mapping[str, Any]) -> str:
    """The one name under which an image is run: by manifest digest, or by id when it came from an archive."""
    if image.get("digest"):
        return f"{registry.repository(image['reference'])}@{image['digest']}"
    if image.get("image_id"):
        return str(image["image_id"])
    raise ReleaseError(
        "image_missing", f"image {image.get('reference')} was never resolved", "Preview again."
    )


def stamp(
    document: Mapping[str, Any], images: Mapping[str, Any], release_id: str, before: Mapping[str, Any]
) -> dict[str, Any]:
    """The project as it is written: images pinned, each service labelled. A service that is as it was `before`
    keeps the release that made it, so that its containers are left alone."""
    stamped = json.loads(json.dumps(document))
    for name, definition in stamped["services"].items():
        pinned = pin(images[name]) if name in images else None
        digest = service_digest(document, name, pinned)
        if pinned:
            definition["image"] = pinned
        definition.pop("build", None)
        old = ((before.get("services") or {}).get(name) or {}).get("labels") or {}
        made_by = old.get(RELEASE_LABEL) if old.get(DIGEST_LABEL) == digest else release_id
        own = {DIGEST_LABEL: digest, RELEASE_LABEL: made_by or release_id}
        labels = definition.get("labels") or {}
        if isinstance(labels, list):
            labels = dict(str(label).partition("=")[::2] for label in labels)
        definition["labels"] = {**labels, **own}
    return stamped


def release(payload: Mapping[str, Any], steps: list[dict[str, Any]], check_mode: bool) -> dict[str, Any]:
    """Make the project so; appends to `steps` as it goes. Answers {changed, live, verified, missing}.

    `missing` names images that the release's archives have and this host has not: then nothing was done.
    `verified` says that all of it was healthy at once, which is asked when the payload has `tell_health`.
    In check mode the answer says what would come of it, and nothing is done.
    Raises ReleaseError: preview_stale and image_missing before anything is touched, compose_up_failed, target_locked.
    """
    project, document = payload["project"], json.loads(payload["rendered"])
    colours.require_no_entry(state_folder.path("entries"), project)
    if check_mode:
        return _foresee(payload, document, steps)
    with operation.exclusive(project, payload.get("fencing_token")) as folder:
        before, known = engine.inspect_project(project), operation.read_release(project)
        _require_as_previewed(payload, before, known)
        _require_fit(payload)
        missing = _resolve(payload)
        if missing:
            return {"changed": False, "missing": missing}
        pulled = _images(payload, steps)
        started = time.time()
        wanted = stamp(document, payload["images"], payload["release_id"], _labels_of(before))
        record = {
            **known,
            "release_id": payload["release_id"],
            "fencing_token": payload.get("fencing_token", known.get("fencing_token")),
            "service": payload.get("service"),
        }
        try:
            written = operation.write(folder / "compose.yaml", _text(wanted))
            operation.write(folder / "release.json", json.dumps(record, sort_keys=True) + "\n")
        except OSError as error:
            steps.append(step_record.step("project_written", "failed", started, str(error)))
            if operation.is_full(error):
                raise
            raise ReleaseError(
                "preflight_failed", f"cannot write {folder}: {error}", "See that it can be written."
            ) from error
        steps.append(step_record.step("project_written", "succeeded" if written else "unchanged", started))
        after = _up(project, str(folder / "compose.yaml"), before, steps)
        changed = bool(pulled or written or _started_at(after) != _started_at(before))
        verified = bool(payload.get("tell_health")) and not health.waiting_for(document["services"], after)
        if verified:
            steps.append(step_record.step("health", "succeeded" if changed else "unchanged", time.time()))
        return {"changed": changed, "live": health.live(after, record), "verified": verified}


def _foresee(
    payload: Mapping[str, Any], document: Mapping[str, Any], steps: list[dict[str, Any]]
) -> dict[str, Any]:
    """What `release` would answer, and the steps that it would take; raises ReleaseError as it would."""
    project, started = payload["project"], time.time()
    before, known = engine.inspect_project(project), operation.read_release(project)
    _require_as_previewed(payload, before, known)
    _require_fit(payload)
    missing = _resolve(payload)
    if missing:
        return {"changed": True, "missing": missing, "live": health.live(before, known)}
    pulled = _images(payload, steps, pulls=False)
    wanted = stamp(document, payload["images"], payload["release_id"], _labels_of(before))
    written = operation.differs(operation.folder(project) / "compose.yaml", _text(wanted))
    stirred = written or _stirs(wanted["services"], before)
    for name, is_so in (("project_written", written), ("project_up", stirred)):
        steps.append(step_record.step(name, "succeeded" if is_so else "unchanged", started))
    return {"changed": bool(pulled or stirred), "live": health.live(before, known)}


def _stirs(wanted: Mapping[str, Any], before: list[dict[str, Any]]) -> bool:
    """Would `up` start, make or remove a container of a project whose file stays as it is?"""
    grouped = fingerprint.by_service(before)
    if set(grouped) - set(wanted):
        return True
    for name, definition in wanted.items():
        if definition.get("profiles"):
            continue
        own = grouped.get(name, [])
        stamped = {one["Config"]["Labels"].get(DIGEST_LABEL) for one in own}
        is_running = all(one["State"].get("Status") == "running" for one in own)
        if (
            len(own) != health.replicas(definition)
            or not is_running
            or stamped - {definition["labels"][DIGEST_LABEL]}
        ):
            return True
    return False


def _text(wanted: Mapping[str, Any]) -> str:
    return json.dumps(wanted, indent=1, sort_keys=True) + "\n"


def _require_as_previewed(
    payload: Mapping[str, Any], containers: list[dict[str, Any]], known: Mapping[str, Any]
) -> None:
    """Compare with the preview, unless this very release was begun here already: what moved is its own work."""
    if not payload.get("fingerprint") or known.get("release_id") == payload["release_id"]:
        return
    veil = fingerprint.Veil(bytes.fromhex(payload["fingerprint_key"]))
    facts = {"containers": containers, "applied": observe.applied(payload["project"])}
    parts = fingerprint.live_parts(facts, veil)
    if fingerprint.fingerprint(parts, veil) != payload["fingerprint"]:
        raise ReleaseError(
            "preview_stale", "the host changed since the preview", "Preview again.", parts=parts
        )


def _require_fit(payload: Mapping[str, Any]) -> None:
    """What no preview has looked at is looked at now; raises ReleaseError for the first thing in the way."""
    if not payload.get("unpreviewed"):
        return
    archived = payload.get("archived") or {}
    asked = {image["reference"]: archived.get(image["reference"]) for image in payload["images"].values()}
    for check in observe.observe({**payload, "images": asked})["checks"]:
        if check["level"] == "blocking":
            raise ReleaseError(check["code"], check["message"], check["hint"])


def _resolve(payload: Mapping[str, Any]) -> list[str]:
    """Pin images that no preview resolved; the references that the release's archives are to bring first."""
    missing, archived = [], payload.get("archived") or {}
    for image in payload["images"].values():
        reference = image["reference"]
        if not (image.get("digest") or image.get("image_id")):
            found = image_source.find(reference, archived.get(reference), {}, payload.get("registries") or [])
            image.update(digest=found["digest"], image_id=found["image_id"])
        pinned = archived.get(reference)
        if pinned and pinned == image.get("image_id") and engine.inspect_image(pinned) is None:
            missing.append(reference)
    return missing


def _started_at(containers: list[dict[str, Any]]) -> dict[str, str]:
    return {one["Id"]: one["State"]["StartedAt"] for one in containers}


def _up(
    project: str, path: str, before: list[dict[str, Any]], steps: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    started = time.time()
    argv = ["compose", "-p", project, "-f", path, "--ansi", "never", "--progress", "plain"]
    argv += ["up", "-d", "--remove-orphans", "--no-build", "--pull", "never"]
    done = engine.docker(argv, timeout=UP_SECONDS)
    after = engine.inspect_project(project)
    same = _started_at(after) == _started_at(before)
    status = "failed" if done.exit_code else "unchanged" if same else "succeeded"
    step = step_record.step("project_up", status, started, done.stderr)
    steps.append({**step, "exit_code": done.exit_code, "stdout_tail": done.stdout[-2000:]})
    if done.exit_code:
        full = "no space left" in done.stderr.lower()
        hint = (
            "Free disk space on the host." if full else "Read what Compose said; the project's file is kept."
        )
        raise ReleaseError("compose_up_failed", f"compose up failed: {done.stderr.strip()[-500:]}", hint)
    return after


def _images(payload: Mapping[str, Any], steps: list[dict[str, Any]], pulls: bool = True) -> bool:
    """Every image is on the host, by digest, before anything is stopped; True when one was pulled, or would be."""
    started, pulled = time.time(), []
    for name, image in payload["images"].items():
        pinned = pin(image)
        if engine.inspect_image(pinned) is not None:
            continue
        if image.get("image_id") and engine.inspect_image(image["image_id"]) is not None:
            image["digest"] = None
            continue
        said = "it is in no archive of the release and on no registry"
        if image.get("digest"):
            if not pulls:
                pulled.append(pinned)
                continue
            done = registry.pull(pinned, payload.get("registries") or [])
            said = done.stderr.strip()[-500:]
            if done.exit_code == 0:
                pulled.append(pinned)
                continue
        full = "no space left" in said.lower()
        steps.append(step_record.step("images_present", "failed", started, said))
        raise ReleaseError(
            "preflight_failed" if full else "image_missing",
            f"image {image.get('reference')} of service {name} cannot be had: {said}",
            "Free disk space on the host."
            if full
            else "Push it again, or give its archive; nothing was touched.",
        )
    steps.append(
        step_record.step("images_present", "succeeded" if pulled else "unchanged", started, pulled=pulled)
    )
    return bool(pulled)


def _labels_of(containers: list[dict[str, Any]]) -> dict[str, Any]:
    """What runs, as far as `stamp` asks: the containers know best which release made them."""
    return {"services": {health.service_of(one): {"labels": one["Config"]["Labels"]} for one in containers}}


def verify(
    payload: Mapping[str, Any], steps: list[dict[str, Any]], check_mode: bool = False
) -> dict[str, Any]:
    """Wait for health. Answers {live}; raises ReleaseError compose_unhealthy with `objects`.

    In check mode nothing was released, so there is nothing to wait for.

    The operation's lock is held meanwhile, so that a cancel ends the wait, too.
    """
    project, started = payload["project"], time.time()
    if check_mode:
        return {
            "changed": False,
            "live": health.live(engine.inspect_project(project), operation.read_release(project)),
        }
    definitions = json.loads(payload["rendered"])["services"]
    with operation.exclusive(project, payload.get("fencing_token")):
        left, containers = health.wait(project, definitions, float(payload["health_timeout"]))
    if left:
        found = health.objects(containers, left)
        said = "; ".join(
            f"{one['container']}: {one['state']}, exit {one['exit_code']}, health {one['health']}"
            for one in found
        )
        steps.append(step_record.step("health", "failed", started, said, services=left))
        raise ReleaseError(
            "compose_unhealthy", f"{', '.join(left)} not healthy ({said or 'no container'})",
            "Read the health output and the last log lines, correct the release, or roll back.", objects=found,
        )  # fmt: skip
    steps.append(step_record.step("health", "succeeded", started))
    return {"changed": False, "live": health.live(containers, operation.read_release(project))}
