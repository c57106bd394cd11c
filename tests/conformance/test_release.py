# SPDX-License-Identifier: Apache-2.0
"""What every runtime has to do with a release, seen on the real thing through the REST API."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.conformance.runtimes import Runtime
from tests.conformance.site import Refused, Site

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.xdist_group("lab-conformance")]


def test_first_release_then_nothing_new_then_an_update(site: Site, runtime: Runtime) -> None:
    its = runtime.application()
    its.add("1", "web", tags=["1", "2"])
    first = its.release("1", "1")
    assert first["lifecycle_state"] == "applied", first["diagnostics_json"]
    assert its.answer() == "shop 1"
    before = its.running()

    same = its.preview("1", "1")
    summary = same["preview"]["summary"]
    assert {**summary, "none": bool(summary["none"])} == {"add": 0, "change": 0, "remove": 0, "none": True}
    again = its.service.apply(same)
    assert again["lifecycle_state"] == "applied"
    assert its.running() == before
    applied = site.admin.get(f"/deploy/releases/{again['release_id']}/timeline", limit=500)["items"][-1]
    assert applied["detail"]["changed"] is False

    update = its.release("1", "2")
    assert update["lifecycle_state"] == "applied", update["diagnostics_json"]
    assert its.answer() == "shop 2"
    assert its.running() != before


def test_a_part_that_is_no_longer_named_is_removed(runtime: Runtime) -> None:
    its = runtime.application()
    its.add("1", "web", "side", tags=["1"])
    its.add("2", "web", tags=["1"])
    assert its.release("1", "1")["lifecycle_state"] == "applied"
    kept = its.running()["web"]
    preview = its.preview("2", "1")
    summary = preview["preview"]["summary"]
    assert (summary["add"], summary["change"], summary["remove"]) == (0, 0, 1)
    assert "something that runs would be deleted" in preview["preview"]["risk_reasons"]
    assert its.service.apply(preview)["lifecycle_state"] == "applied"
    assert its.running() == {"web": kept}


def test_failing_health_says_why_and_a_rollback_restores_and_can_be_rolled_back(
    site: Site, runtime: Runtime
) -> None:
    its = runtime.application()
    its.add("1", "web", tags=["1", "2"])
    its.add("2", "web", "side", tags=["3-bad"])
    for tag in ("1", "2"):
        good = its.release("1", tag)
        assert good["lifecycle_state"] == "applied", good["diagnostics_json"]
    bad = its.release("2", "3-bad")
    told = bad["diagnostics_json"]
    assert (bad["lifecycle_state"], told["error_key"], told["failure_domain"]) == (
        "failed",
        *runtime.unhealthy,
    )
    assert "web" in str(told["objects"])
    assert told["hints"]
    assert "step_failed" in its.service.told(bad)

    back = its.service.rollback(bad)
    assert back["lifecycle_state"] == "applied", back["diagnostics_json"]
    assert its.answer() == "shop 2"
    assert set(its.running()) == {"web"}
    assert site.admin.get(f"/deploy/releases/{bad['release_id']}")["lifecycle_state"] == "rollback"

    earlier = its.service.rollback(good)
    assert earlier["lifecycle_state"] == "applied", earlier["diagnostics_json"]
    assert its.answer() == "shop 1"
    undone = its.service.rollback(earlier)
    assert undone["lifecycle_state"] == "applied", undone["diagnostics_json"]
    assert its.answer() == "shop 2"


def test_a_preview_with_a_check_against_it_cannot_be_applied(site: Site, runtime: Runtime) -> None:
    its = runtime.application()
    its.add("1", "web", tags=["1"])
    preview = its.preview("1", "1", strategy="canary", strategy_params={"pause_seconds": -1})
    assert preview["preview_ref"] is None
    assert "validation_error" in {check["code"] for check in preview["preview"]["checks"]}
    with pytest.raises(Refused, match="preview_required"):
        site.admin.post("/deploy/releases/apply", {"preview_ref": ""})


def test_what_moved_since_the_preview_is_not_touched(runtime: Runtime) -> None:
    its = runtime.application()
    its.add("1", "web", tags=["1", "2"])
    its.release("1", "1")
    preview = its.preview("1", "2")
    runtime.remove(its, "web")
    stale = its.service.apply(preview)
    assert (stale["lifecycle_state"], stale["diagnostics_json"]["error_key"]) == ("expired", "preview_stale")
    assert "web" in stale["diagnostics_json"]["summary"]
    assert its.running() == {}


def test_two_releases_to_one_place_take_turns(runtime: Runtime) -> None:
    both = [runtime.application(), runtime.application()]
    previews = []
    for its in both:
        its.add("1", "web", tags=["1"])
        previews.append(its.preview("1", "1"))
    for its, preview in zip(both, previews, strict=True):
        its.service.start(preview)
    ends = [its.service.ended(preview["release_id"]) for its, preview in zip(both, previews, strict=True)]
    assert [end["lifecycle_state"] for end in ends] == ["applied", "applied"]
    assert ends[1]["started_at"] >= ends[0]["finished_at"]
    assert "waiting_lock" in both[1].service.told(ends[1])


def test_cancelled_in_the_middle_the_work_ends(site: Site, runtime: Runtime) -> None:
    its = runtime.application()
    runtime.never_healthy(its, "1", "9-bad")
    preview = its.preview("1", "9-bad")
    its.service.start(preview)
    its.service.when(preview["release_id"], lambda release: release["lifecycle_state"] == "applying")
    time.sleep(5)
    site.admin.post(f"/deploy/releases/{preview['release_id']}/cancel")
    ended = its.service.ended(preview["release_id"], seconds=40)
    assert (ended["lifecycle_state"], ended["diagnostics_json"]["failure_domain"]) == ("failed", "cancelled")
    assert "every host has ended" in ended["diagnostics_json"]["summary"]
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [
        line for line in listed.splitlines() if "release_apply.yml" in line and str(site.home) in line
    ]


def test_drift_is_found_and_nothing_is_changed_by_looking(site: Site, runtime: Runtime) -> None:
    its = runtime.application()
    its.add("1", "web", "side", tags=["1"])
    assert its.release("1", "1")["lifecycle_state"] == "applied"
    assert _drift(site, its.target) == []
    runtime.remove(its, "side")
    left = its.running()
    found = _drift(site, its.target)
    assert [(one["action"], "side" in one["service"]) for one in found] == [("add", True)], found
    assert its.running() == left


def test_what_runs_is_known_as_soon_as_a_release_has_ended(site: Site, runtime: Runtime) -> None:
    its = runtime.application()
    its.add("1", "web", tags=["1", "2"])
    its.add("2", "web", tags=["3-bad"])
    first = its.release("1", "1")
    assert first["lifecycle_state"] == "applied", first["diagnostics_json"]
    assert _known(site, its.target) == {first["release_id"]}
    failed = its.release("2", "3-bad")
    assert failed["lifecycle_state"] == "failed"
    # A run that failed does not know: the target is looked at.
    until = time.monotonic() + 60
    while _known(site, its.target) != {failed["release_id"]}:
        assert time.monotonic() < until, site.admin.get(f"/deploy/targets/{its.target}/status")
        time.sleep(0.2)
    back = its.service.rollback(failed)
    assert back["lifecycle_state"] == "applied", back["diagnostics_json"]
    assert _known(site, its.target) == {back["release_id"]}


def _known(site: Site, target: str) -> set[str]:
    """Return which releases the hosts of a target are known to run; each of them runs something."""
    found = site.admin.get(f"/deploy/targets/{target}/status")["hosts"]
    projects = [one for host in found.values() for one in host.get("projects", [])]
    assert all(one["service"] and one["services"] for one in projects)
    return {one["release_id"] for one in projects}


def _drift(site: Site, target: str) -> list[dict[str, object]]:
    job = site.admin.post(f"/deploy/targets/{target}/drift")
    until = time.monotonic() + 60
    while site.admin.get(f"/jobs/{job['job_id']}")["state"] != "done":
        assert time.monotonic() < until
        time.sleep(0.1)
    found: list[dict[str, object]] = site.admin.get(f"/deploy/targets/{target}/status")["drift"]
    return found
