# SPDX-License-Identifier: Apache-2.0
"""`/metrics` for Prometheus. Labels are route templates, states and codes: never ids, so that series stay few."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import cast

from flask import Blueprint, Flask, Response, current_app, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from controlplane.api.auth import public
from controlplane.api.streams import EventHub
from controlplane.domain.cluster import GONE
from controlplane.domain.release import State, read_state
from controlplane.services import timeline
from controlplane.services.core import Core
from controlplane.store.tables import Cluster, Job, Release

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_JOB_STATES = ("queued", "running", "paused")
_DAY = 86400
# Word -> the credential ends in fewer seconds than this, and in no fewer than the word before says.
_EXPIRES = {"expired": 0, "day": _DAY, "week": 7 * _DAY, "month": 30 * _DAY}
blueprint = Blueprint("metrics", __name__)


class RequestMetrics:
    """The counters of one application."""

    def __init__(self, core: Core, hub: EventHub) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tidegate_http_requests_total",
            "Requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.duration = Histogram(
            "tidegate_http_request_duration_seconds",
            "Time until the answer was ready.",
            ["method", "route"],
            registry=self.registry,
        )
        self.registry.register(_Installation(core, hub))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)


class _Installation(Collector):
    """What the database says at the moment of the scrape."""

    def __init__(self, core: Core, hub: EventHub) -> None:
        self._core = core
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """Yield releases by state, jobs, the age of the oldest due job, events, open streams."""
        now = self._core.clock.now()
        with self._core.database.read() as session:
            by_state = session.execute(select(Release.state, func.count()).group_by(Release.state)).all()
            by_job = session.execute(
                select(Job.state, func.count()).where(Job.state.in_(_JOB_STATES)).group_by(Job.state)
            ).all()
            oldest = session.scalar(
                select(func.min(Job.due_at)).where(Job.state == "queued", Job.due_at <= now)
            )
            clusters = select(Cluster.credential_expires_at).where(Cluster.status != GONE)
            credentials = session.scalars(clusters).all()
            certificate = session.scalar(
                select(func.min(Cluster.certificates_expire_at)).where(Cluster.status != GONE)
            )
        yield _gauge("tidegate_releases", "Releases by lifecycle state.", "state", _states(by_state))
        jobs = dict.fromkeys(_JOB_STATES, 0) | {row[0]: row[1] for row in by_job}
        yield _gauge("tidegate_jobs", "Jobs that are not done, by state.", "state", jobs)
        age = (now - oldest).total_seconds() if oldest else 0.0
        yield GaugeMetricFamily("tidegate_queue_age_seconds", "How long the oldest due job has waited.", age)
        yield GaugeMetricFamily("tidegate_event_streams", "Event streams open now.", self._hub.open_streams)
        yield CounterMetricFamily(
            "tidegate_events", "Events written so far.", timeline.newest_seq(self._core)
        )
        yield from _expiry(credentials, now)
        ends = GaugeMetricFamily(
            "tidegate_cluster_certificate_expires_seconds",
            "Seconds until the first certificate of a control plane ends; negative once it has. "
            "Absent where none was seen.",
        )
        if certificate is not None:
            ends.add_metric([], (certificate - now).total_seconds())
        yield ends


def init_app(app: Flask) -> None:
    """Count each request by its route's template."""
    app.after_request(_count)


@blueprint.get("/metrics")
@public
def metrics() -> Response:
    """Answer with all metrics in Prometheus' text format."""
    return Response(generate_latest(_metrics().registry), content_type=CONTENT_TYPE_LATEST)


def _count(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else "none"
    method = request.method if request.method in _METHODS else "other"
    _metrics().requests.labels(method, route, str(response.status_code)).inc()
    if "started" in g:
        _metrics().duration.labels(method, route).observe(time.monotonic() - g.started)
    return response


def _metrics() -> RequestMetrics:
    return cast(RequestMetrics, current_app.extensions["tidegate.metrics"])


def _expiry(credentials: Sequence[datetime | None], now: datetime) -> Iterator[Metric]:
    """Yield when the credentials of clusters end. Which one it is, the list of clusters says: this page is public."""
    left = [(moment - now).total_seconds() for moment in credentials if moment is not None]
    counts = {**dict.fromkeys(_EXPIRES, 0), "later": 0, "unknown": len(credentials) - len(left)}
    for seconds in left:
        counts[next((word for word, most in _EXPIRES.items() if seconds < most), "later")] += 1
    yield _gauge(
        "tidegate_cluster_credentials", "Credentials of clusters, by when they end.", "expires", counts
    )
    first = GaugeMetricFamily(
        "tidegate_cluster_credential_expires_seconds",
        "Seconds until the first credential of a cluster ends; negative once it has. Absent where none says.",
    )
    if left:
        first.add_metric([], min(left))
    yield first


def _states(rows: object) -> dict[str, int]:
    counts = {str(state): 0 for state in State}
    for stored, count in rows:  # type: ignore[attr-defined]
        counts[str(read_state(stored))] += count
    return counts


def _gauge(name: str, text: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
