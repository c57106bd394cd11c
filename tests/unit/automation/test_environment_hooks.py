# SPDX-License-Identifier: Apache-2.0
"""The hooks of a host, one after the other: what each is told, what is told of it, and where a retry goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import hook

from tests.unit.automation.hooked_host import HookedHost


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HookedHost:
    monkeypatch.setattr(hook.state_folder, "path", lambda name: str(tmp_path / "state" / name))
    return HookedHost(tmp_path)


def test_a_hook_that_fails_is_told_with_its_output_and_its_own_exit_code(host: HookedHost) -> None:
    host.step("good", "echo '[INFO] version=1'", outputs=["version"])
    host.step("bad", "echo plain words; echo '[ERROR] disk=broken'; exit 3")
    host.step("never", "echo never >> $said")
    answer = host.run()
    told = answer["tidegate"]
    assert (answer["failed"], told["error_key"], told["diagnostics"]["stage"]) == (True, "hook_failed", "bad")
    good, bad = told["steps"]
    assert (good["step"], good["status"]) == ("good", "unchanged")
    assert (bad["step"], bad["status"], bad["exit_code"]) == ("bad", "failed", 3)
    assert bad["stdout_tail"] == "plain words\n[ERROR] disk=broken\n"
    assert "disk=broken" in bad["stderr_tail"] and bad["detail"]["error_key"] == "hook_failed"
    assert host.did == []


def test_a_retry_goes_on_at_the_hook_that_failed_with_what_those_before_it_told(host: HookedHost) -> None:
    host.step("first", "echo first >> $said; echo '[INFO] colour=blue'", outputs=["colour"])
    host.step("second", "grep -o blue $TIDEGATE_CONTEXT >> $said")
    answer = host.run(resume={"a": ["first"]}, outputs={"a": {"first": {"colour": "blue"}}})
    assert host.did == ["blue"]
    assert [one["step"] for one in answer["tidegate"]["steps"]] == ["second"]


def test_each_hook_is_told_as_it_begins_and_as_it_ends(host: HookedHost) -> None:
    host.step("first", "echo first >> $said; echo '[INFO] colour=blue'", outputs=["colour"])
    host.step("second", "exit 1")
    host.run()
    assert [(one["object"], one["progress"], one["did"]) for one in host.told] == [
        ("first", "begins", []), ("first", "unchanged", ["first"]), ("second", "begins", ["first"]),
    ]  # fmt: skip
    assert [one.get("begins", False) for one in host.told] == [True, False, True]
    (ended,) = host.told[1]["steps"]
    assert (ended["step"], ended["detail"]["outputs"]) == ("first", {"colour": "blue"})


def test_a_secret_input_is_kept_on_no_host_and_given_again_to_take_back(host: HookedHost) -> None:
    secret, said = (
        {"site_pass": "s3cret", "colour": "blue"},
        "echo $TIDEGATE_SITE_PASS-$TIDEGATE_COLOUR >> $said",
    )
    host.step("first", said, undo=said, inputs=["site_pass", "colour"])
    host.run(inputs=secret)
    assert "s3cret" not in host.written and "blue" in host.written
    (undone,) = host.run("rollback")["tidegate"]["steps"]
    assert undone["detail"]["left"] == ["hook first: secret inputs are kept on no host: give site_pass again"]
    assert host.did == ["s3cret-blue"]
    answer = host.run("rollback", inputs=secret)
    assert answer["tidegate"]["steps"][0]["detail"]["undone"] == ["hook first"]
    assert host.did == ["s3cret-blue", "s3cret-blue"]
    assert "s3cret" not in host.written + str(answer)
