# SPDX-License-Identifier: Apache-2.0
"""No secret of an installation is found in anything that it writes, answers or runs."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab, kube_assets
from tests.secrets.canary import Finding
from tests.secrets.cluster_story import ClusterStory
from tests.secrets.installation import Installation, served
from tests.secrets.places import ProcessWatch
from tests.secrets.story import Story

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.xdist_group("lab-canaries")]


@pytest.fixture(scope="module")
def its(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation of this module's own."""
    with served(lab, tmp_path_factory.mktemp("canaries") / "home") as its:
        yield its


@pytest.fixture(scope="module")
def cluster_story(its: Installation, request: pytest.FixtureRequest) -> ClusterStory | None:
    """The part that needs a Kubernetes API; without one the rest is told all the same."""
    return None if kube_assets.why_not() else ClusterStory(its, request.getfixturevalue("kube_api"))


def test_no_secret_is_found_anywhere(its: Installation, cluster_story: ClusterStory | None) -> None:
    story = Story(its)
    with ProcessWatch(its.canaries) as watch:
        story.tell()
        if cluster_story:
            cluster_story.tell()
    _require_that_secrets_were_used(story, watch)
    if cluster_story:
        _require_that_releases_reached_the_cluster(cluster_story)
    places = its.everywhere()
    unasked = {path for path in its.unasked if cluster_story or "/{cluster_id}" not in path}
    assert not unasked, "there was nothing to ask these routes about"
    assert {"tidegate.db", "server.log"} <= {Path(place).name for place in places}
    found = its.canaries.seen_in(places.items()) | watch.found
    # A run's environment is how passwords reach ssh and sudo, and is read by the run's own user only.
    found -= {Finding("password of the host", "an environment", "plain")}
    assert not found, "\n".join(f"{one.secret}: {one.spelling} in {one.place}" for one in sorted(found))


def _require_that_secrets_were_used(story: Story, watch: ProcessWatch) -> None:
    """Nothing is proved by secrets that never came near: see that each part of the story was as it is meant."""
    ends = {name: release["lifecycle_state"] for name, release in story.releases.items()}
    failed = {"failed", "failed beside", "cancelled"}
    assert ends == {name: "failed" if name in failed else "applied" for name in ends}, ends
    for name in ("failed", "failed beside"):
        (web,) = story.releases[name]["diagnostics_json"]["objects"]
        assert "tried with ***" in web["health_log"]
        for line in ("it is ***", "of the database: ***", '{"as JSON": "***"}', "line: ***"):
            assert line in web["log_tail"], web["log_tail"]
    assert story.releases["cancelled"]["diagnostics_json"]["failure_domain"] == "cancelled"
    assert "image_missing" in {check["code"] for check in story.checks}
    assert story.drift, "what was cancelled runs still, and is not what was released"
    assert {"ansible-playbook", "ssh", "tidegate"} <= watch.programs


def _require_that_releases_reached_the_cluster(story: ClusterStory) -> None:
    ends = {name: release["lifecycle_state"] for name, release in story.releases.items()}
    assert ends == {name: "failed" if name.startswith("failed") else "applied" for name in ends}, ends


def test_the_search_finds_what_can_be_seen(its: Installation) -> None:
    seen = its.canaries.plant("what can be seen")
    mark = its.canaries.marks["what can be seen"]
    its.site.admin.post("/teams", {"name": f"team-{mark}"})
    with (its.home / "server.log").open("a") as log:
        log.write(base64.b64encode(f"approver:{seen}".encode()).decode())
    its.host.exec(["tee", "/tmp/left"], input=seen.encode().hex())
    with ProcessWatch(its.canaries) as watch:
        its.host.exec(["sh", "-c", "sleep 0.5; true", mark])
    found = its.canaries.seen_in(its.everywhere().items()) | watch.found
    where = {(one.place, one.spelling) for one in found if one.secret == "what can be seen"}
    database = f"file {its.home / 'tidegate.db-wal'}"
    assert {
        ("GET /api/v1/teams", "plain"),
        ("GET /api/v1/events", "plain"),
        ("tidegate audit export", "plain"),
        (database, "plain"),
        (f"file {its.home / 'server.log'}", "base64"),
        ("host /tmp/left", "hex"),
        ("a command line", "plain"),
    } <= where, where
    assert {one.secret for one in found} == {"what can be seen"}
