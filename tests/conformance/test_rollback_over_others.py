# SPDX-License-Identifier: Apache-2.0
"""Somebody scaled by hand and the next release was a bad one: the way back, over what the hand changed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.runtimes import Application, OnApiServer
from tests.conformance.site import Site
from tests.conformance.test_release_to_clusters import command

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow, pytest.mark.timeout(300)]
TAKEN_OVER = "a field that somebody else manages would be taken over"


@pytest.fixture
def scaled(on_api_server: OnApiServer) -> tuple[Application, dict[str, Any]]:
    """An application of which a second release is there, and three replicas that nobody released."""
    its = on_api_server.application()
    its.add("1", "web", tags=["1", "2"])
    its.release("1", "1")
    second = its.release("1", "2")
    assert second["lifecycle_state"] == "applied", second["diagnostics_json"]
    on_api_server.kubectl("scale", "deployment", f"{its.service.name}-web", "--replicas=3")
    return its, second


def test_a_rollback_takes_over_what_its_preview_showed(
    scaled: tuple[Application, dict[str, Any]], site: Site, on_api_server: OnApiServer
) -> None:
    its, second = scaled
    path = f"/deploy/releases/{second['release_id']}/rollback"
    preview = site.admin.post(f"{path}/preview", {})
    assert preview["preview_ref"] is None
    (check,) = [one for one in preview["preview"]["checks"] if one["level"] == "blocking"]
    assert check["code"] == "field_conflict"
    assert "spec.replicas is owned by kubectl" in check["message"]
    assert "force_conflicts" in check["hint"]
    assert "tidegate release rollback --force-conflicts" in check["hint"]

    forced = site.admin.post(f"{path}/preview", {"force_conflicts": True})
    assert forced["preview"]["strategy_params"] == {"force_conflicts": True}
    assert TAKEN_OVER in forced["preview"]["risk_reasons"]
    site.admin.post(path, {"preview_ref": forced["preview_ref"]})
    ended = its.service.ended(forced["release_id"])
    assert ended["lifecycle_state"] == "applied", ended["diagnostics_json"]
    assert its.answer() == "shop 1"
    assert on_api_server.get("deployment", f"{its.service.name}-web")["spec"]["replicas"] == 0


def test_somebody_else_at_work_between_preview_and_rollback_stops_it(
    scaled: tuple[Application, dict[str, Any]], site: Site, on_api_server: OnApiServer
) -> None:
    its, second = scaled
    path = f"/deploy/releases/{second['release_id']}/rollback"
    forced = site.admin.post(f"{path}/preview", {"force_conflicts": True})
    on_api_server.kubectl("set", "image", f"deployment/{its.service.name}-web", "web=shop:3")
    site.admin.post(path, {"preview_ref": forced["preview_ref"]})
    ended = its.service.ended(forced["release_id"])
    assert (ended["lifecycle_state"], ended["diagnostics_json"]["error_key"]) == ("expired", "preview_stale")
    assert its.answer() == "shop 3"


def test_the_same_from_the_command_line(
    scaled: tuple[Application, dict[str, Any]], site: Site, on_api_server: OnApiServer
) -> None:
    its, second = scaled
    tidegate = command(site)
    blocked = tidegate("release", "rollback", second["release_id"], "--preview-only")
    assert blocked.returncode == 8, blocked.stdout + blocked.stderr
    assert "--force-conflicts" in blocked.stdout
    done = tidegate("release", "rollback", second["release_id"], "--force-conflicts", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "spec.replicas is owned by kubectl" in done.stdout
    assert its.answer() == "shop 1"
