# SPDX-License-Identifier: Apache-2.0
"""The job that makes a preview: runs the preview playbook and binds what it found. Changes no host."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from controlplane.domain import checks as blocks
from controlplane.domain import preview
from controlplane.domain.identifier import new_id
from controlplane.ports.runner import PlaybookRun, RunOutcome
from controlplane.services import jobs, policy, release_spec, run_place, timeline
from controlplane.services.core import Core
from controlplane.services.jobs import Lease
from controlplane.services.look import Look
from controlplane.services.run_place import RunPlace
from controlplane.store import events, guard
from controlplane.store.tables import Environment, Project, Release, Target

PREVIEW_TIMEOUT = 300.0


class PreviewJob(Look):
    """See `job_kind.JobKind`."""

    def __init__(self, core: Core, lease: Lease) -> None:
        super().__init__(core, lease)
        self._actor = lease.actor
        self._place = RunPlace("release_hosts", {})

    def begin(self) -> PlaybookRun | None:
        """Say what to run, from the release's inputs."""
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            release = session.get_one(Release, self._lease.resource_id)
            if release.status != "previewing":
                jobs.finish(job, self._core.clock.now(), "cancelled")
                return None
        with self._core.database.read() as session:
            release = session.get_one(Release, self._lease.resource_id)
            self._place = run_place.of_target(self._core, session, session.get_one(Target, release.target_id))
            spec = release_spec.preview_spec(self._core, session, release)
        self._hosts = self._place.hosts
        return PlaybookRun(
            job_id=self._lease.job_id,
            playbook="release_preview.yml",
            hosts=list(self._hosts.values()),
            group=self._place.group,
            documents={"release_spec_file": spec, **self._place.documents},
            secret_env=release_spec.secret_env(self._core),
            timeout=PREVIEW_TIMEOUT,
        )

    def end(self, outcome: RunOutcome) -> PlaybookRun | None:
        """Bind what was found, or say which checks stand against it."""
        reached = self._unreached()
        found = {
            name: outcome.results[f"{name}.preview"]
            for name in self._hosts
            if isinstance(outcome.results.get(f"{name}.preview"), Mapping)
        }
        checks = self._checks(outcome, found, reached)
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            release = session.get_one(Release, self._lease.resource_id)
            told = self._conclude(session, release, found, checks)
            now = self._core.clock.now()
            jobs.finish(job, now, "succeeded" if release.preview_ref else "failed")
            events.append(session, self._actor, now, [told])
        return None

    def refuse(self, error_key: str, detail: str) -> None:
        """Show the reason as a blocking check."""
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            release = session.get_one(Release, self._lease.resource_id)
            now = self._core.clock.now()
            jobs.finish(job, now, "failed", {"error_key": error_key})
            told = self._conclude(session, release, {}, [blocks.blocking(error_key, detail, None)])
            events.append(session, self._actor, now, [told])

    def _checks(
        self, outcome: RunOutcome, found: Mapping[str, Any], reached: Mapping[str, tuple[str, str]]
    ) -> list[dict[str, Any]]:
        checks = [dict(check) for document in found.values() for check in document.get("checks", [])]
        checks += blocks.of_findings(self._findings, reached)
        renderings = {document.get("rendered") for document in found.values()}
        if len(renderings) > 1:
            checks.append(blocks.blocking("compose_invalid", "the hosts would get different projects", None))
        missing = set(self._hosts) - set(found) - {check.get("host") for check in checks}
        if missing or (outcome.status != "successful" and not preview.blocking(checks)):
            said = outcome.message or f"no preview came from {', '.join(sorted(missing)) or 'the hosts'}"
            key = "timeout" if outcome.status == "timeout" else "internal_error"
            checks.append(blocks.blocking(key, said, None))
        return checks

    def _conclude(
        self,
        session: Session,
        release: Release,
        found: Mapping[str, Any],
        checks: list[dict[str, Any]],
    ) -> events.NewEvent:
        now = self._core.clock.now()
        project = session.get_one(Project, release.project_id)
        facts = sorted({fact for document in found.values() for fact in document.get("risk_facts", [])})
        asked, risk, reasons = policy.ask(self._core, project, release.stage, release.action, facts)
        document: dict[str, Any] = {
            "hosts": {
                name: {key: value for key, value in each.items() if key not in ("rendered", "live")}
                for name, each in sorted(found.items())
            },
            "checks": checks,
            "summary": _summary(found),
            "risk_facts": facts,
            "risk_level": str(risk),
            "risk_reasons": reasons,
            "approval": {
                "required": asked.needs_approval,
                "permission": str(asked.permission),
                "min_approvals": asked.min_approvals,
            },
        }
        expires = now + timedelta(seconds=self._core.settings.preview_ttl_seconds)
        if preview.blocking(checks) or not found:
            guard.set_status(session, release, "preview_failed", preview=document, preview_expires_at=expires)
            keys = sorted({str(check.get("code")) for check in preview.blocking(checks)})
            return timeline.release_event(release, "preview_failed", "failed", codes=keys)
        payload = {**_payload(found), "place": self._place.identity}
        binding = self._binding(session, release, found, payload)
        document["binding"] = asdict(binding)
        guard.set_status(
            session,
            release,
            "previewed",
            preview=document,
            preview_ref=new_id("pvw"),
            preview_digest=binding.digest(),
            preview_expires_at=expires,
            payload_cipher=self._core.vault.encrypt(json.dumps(payload).encode()),
        )
        return timeline.release_event(
            release, "previewed", digest=release.preview_digest, summary=document["summary"], risk=str(risk)
        )

    def _binding(
        self, session: Session, release: Release, found: Mapping[str, Any], payload: Mapping[str, Any]
    ) -> preview.Binding:
        environment = session.get_one(Environment, release.environment_id)
        rendered = str(payload["rendered"]).encode()
        return preview.Binding(
            service_id=release.service_id,
            service_version=release.service_version,
            service_revision=release_spec.revision(session, release),
            target_id=release.target_id,
            environment_id=environment.id,
            stage=environment.stage,
            action=release.action,
            strategy=release.strategy,
            strategy_params=release.strategy_params,
            variables=release.variables,
            # The rendered text may hold secrets, so what is shown of it is keyed.
            artifact_digest=self._core.vault.digest(hashlib.sha256(rendered).digest()),
            image_digests=payload["resolved_images"],
            bundle_digest=None,
            fingerprints=payload["fingerprints"],
        )


def _payload(found: Mapping[str, Any]) -> dict[str, Any]:
    first = next(iter(found.values()))
    return {
        "rendered": first["rendered"],
        "resolved_images": {
            str(image["service"]): {
                "reference": image.get("reference"),
                "digest": image.get("digest"),
                "image_id": image.get("image_id"),
            }
            for document in found.values()
            for image in document.get("images", [])
        },
        "fingerprints": {name: document["fingerprint"] for name, document in sorted(found.items())},
        "fingerprint_parts": {
            name: document.get("fingerprint_parts", {}) for name, document in sorted(found.items())
        },
        "conflicts": sorted({one for document in found.values() for one in document.get("conflicts", [])}),
    }


def _summary(found: Mapping[str, Any]) -> dict[str, int]:
    counts = {"add": 0, "change": 0, "remove": 0, "none": 0}
    for document in found.values():
        for service in document.get("services", []):
            counts[service.get("action", "none")] = counts.get(service.get("action", "none"), 0) + 1
    return counts
