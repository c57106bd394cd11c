# SPDX-License-Identifier: Apache-2.0
"""Webhooks: signed, taken once, mapped explicitly, and as far as who set them up may go."""

from __future__ import annotations

import hashlib
import hmac
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from controlplane.store.tables import AwxWebhook, Release
from tests.awx.conftest import Door

PUSH = {
    "ref": "refs/heads/main",
    "head_commit": {"id": "abc", "n": 81},
    "commits": [{"author": {"name": "x"}}],
}
MAPPING = {"greeting": "head_commit.id", "port": "head_commit.n"}


def set_up(
    door: Door, forge: str = "github", mapping: Any = None, stage: str = "development", **more: Any
) -> str:
    body = {"webhook_service": forge, "mapping": MAPPING if mapping is None else mapping, **more}
    answer = door.releaser.post(f"job_templates/{door.template[stage]}/webhook_key/", body)
    assert answer.status_code == 201, answer.text
    return str(answer.json["webhook_key"])


def push(door: Door, key: str, payload: Any = PUSH, stage: str = "development", **headers: str) -> Any:
    data = json.dumps(payload).encode()
    signature = "sha256=" + hmac.new(key.encode(), data, hashlib.sha256).hexdigest()
    sent = {"X-Hub-Signature-256": signature, "X-GitHub-Event": "push", "Content-Type": "application/json"}
    return door.app.test_client().post(
        f"/api/v2/job_templates/{door.template[stage]}/github/", data=data,
        headers={**sent, **{name.replace("_", "-"): value for name, value in headers.items()}},
    )  # fmt: skip


def releases(door: Door) -> int:
    with door.core.database.read() as session:
        return session.scalar(select(func.count()).select_from(Release)) or 0


def test_a_signed_push_launches_with_what_the_mapping_takes(door: Door) -> None:
    key = set_up(door)
    answer = push(door, key)
    assert answer.status_code == 202
    job = door.job(answer.json["job"])
    assert job["launch_type"] == "webhook"
    given = json.loads(job["extra_vars"])
    assert (given["greeting"], given["port"]) == ("abc", 81)
    assert job["launched_by"]["name"] == "awx-releaser"


def test_a_push_to_production_waits_like_anything_else(door: Door) -> None:
    key = set_up(door, stage="production")
    job_id = push(door, key, stage="production").json["job"]
    door.made.work_preview()
    door.tick()
    assert door.job(job_id)["status"] == "pending"
    assert door.made.claim() is None


def test_the_version_can_be_mapped(door: Door) -> None:
    key = set_up(door, mapping={"scm_branch": "version"})
    assert door.job(push(door, key, {"version": 2}).json["job"])["scm_branch"] == "2"


def test_a_payload_is_taken_once(door: Door) -> None:
    key = set_up(door)
    assert push(door, key, X_GitHub_Delivery="1").status_code == 202
    assert push(door, key, X_GitHub_Delivery="2").status_code == 409
    assert releases(door) == 1
    assert push(door, key, {**PUSH, "after": "other"}).status_code == 202


def test_the_same_payload_many_times_at_once_is_one_job(door: Door) -> None:
    key = set_up(door)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda number: push(door, key, X_GitHub_Delivery=str(number)), range(6)))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 5
    assert releases(door) == 1


def test_one_that_was_refused_can_be_sent_again(door: Door) -> None:
    key = set_up(door, mapping={"port": "head_commit.id"})
    assert push(door, key).status_code == 400
    assert push(door, key).status_code == 400
    assert releases(door) == 0


@pytest.mark.parametrize("signature", ["", "sha256=", "sha256=" + "0" * 64, "sha1=abc", "sha256=\u00e4"])
def test_a_wrong_signature_launches_nothing(door: Door, signature: str) -> None:
    set_up(door)
    answer = push(door, "wrong", **({"X_Hub_Signature_256": signature} if signature else {}))
    assert answer.status_code == 403
    assert releases(door) == 0


def test_where_there_is_no_webhook_the_answer_is_the_same(door: Door) -> None:
    with_one = push(door, "wrong")
    set_up(door)
    without = push(door, "wrong")
    assert (with_one.status_code, with_one.json["detail"]) == (without.status_code, without.json["detail"])


def test_a_guesser_has_to_wait(door: Door) -> None:
    key = set_up(door)
    for _ in range(30):
        push(door, "wrong")
    assert push(door, key).status_code == 429


def test_gitlab_sends_its_key(door: Door) -> None:
    key = set_up(door, "gitlab", {"greeting": "ref"})
    path = f"/api/v2/job_templates/{door.template['development']}/gitlab/"
    client = door.app.test_client()
    sent = {"X-Gitlab-Event": "Push Hook"}
    assert client.post(path, json=PUSH, headers={**sent, "X-Gitlab-Token": "x"}).status_code == 403
    assert client.post(path, json=PUSH, headers={**sent, "X-Gitlab-Token": key}).status_code == 202
    # The key of one forge opens nothing of the other.
    assert push(door, key).status_code == 403


def test_other_events_launch_nothing(door: Door) -> None:
    key = set_up(door)
    answer = push(door, key, X_GitHub_Event="ping")
    assert (answer.status_code, "job" in answer.json) == (202, False)
    assert releases(door) == 0
    of_releases = set_up(door, events=["release"])
    assert "job" in push(door, of_releases, X_GitHub_Event="release").json


def test_what_the_payload_lacks_is_named(door: Door) -> None:
    key = set_up(door, mapping={"greeting": "head_commit.missing"})
    answer = push(door, key)
    assert (answer.status_code, "greeting" in answer.json) == (400, True)
    key = set_up(door, mapping={"greeting": "commits.0.author"})
    assert push(door, key).status_code == 400
    key = set_up(door, mapping={"greeting": "commits.0.author.name"})
    assert push(door, key).status_code == 202


def test_it_goes_no_further_than_who_set_it_up(door: Door) -> None:
    key = set_up(door)
    door.revoke(door.releaser)
    assert push(door, key).status_code == 403
    assert releases(door) == 0


def test_a_key_is_shown_once_and_kept_encrypted(door: Door) -> None:
    key = set_up(door)
    path = f"job_templates/{door.template['development']}/webhook_key/"
    shown = door.releaser.get(path)
    assert key not in shown.text
    assert shown.json["webhooks"] == [{"webhook_service": "github", "mapping": MAPPING, "events": ["push"]}]
    with door.core.database.read() as session:
        assert key.encode() not in session.scalars(select(AwxWebhook.key_cipher)).one()
    another = set_up(door)
    assert push(door, key).status_code == 403
    assert door.releaser.send("DELETE", path).status_code == 204
    assert push(door, another).status_code == 403


def test_who_may_not_release_sets_up_nothing(door: Door) -> None:
    path = f"job_templates/{door.template['development']}/webhook_key/"
    body = {"webhook_service": "github"}
    assert door.person("viewer", "viewer").post(path, body).status_code == 403
    other = door.people.project("other")
    assert door.person("elsewhere", project=other).post(path, body).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"webhook_service": "bitbucket"},
        {"webhook_service": "github", "mapping": ["x"]},
        {"webhook_service": "github", "mapping": {"a b": "x"}},
        {"webhook_service": "github", "mapping": {"a": "x..y"}},
        {"webhook_service": "github", "mapping": {"a": 1}},
        {"webhook_service": "github", "events": "push"},
        {"webhook_service": "github", "colour": "red"},
    ],
)
def test_what_is_wrong_with_a_webhook_is_named(door: Door, body: Any) -> None:
    assert (
        door.releaser.post(f"job_templates/{door.template['staging']}/webhook_key/", body).status_code == 400
    )
