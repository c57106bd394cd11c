# SPDX-License-Identifier: Apache-2.0
"""What is wrong with what somebody sends is told by its key, with a hint, and leaves nothing behind.

Hosts that are down, refuse the login, show another key or have no Docker are in `test_release`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.site import ComposeHosts, Refused, Service, Site, compose
from tests.demo.rest import Person
from tests.lab import LabHost

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.xdist_group("lab-conformance")]

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
SECRET = {"word": {"type": "string", "secret": True}}
LISTS = ("/deploy/releases", "/jobs", "/artifacts", "/services", "/deploy/targets", "/approvals/inbox")


def kept(site: Site) -> dict[str, Any]:
    """Return all that bad input could leave in the installation."""
    found: dict[str, Any] = {}
    for path in LISTS:
        items = site.admin.get(path, limit=500)["items"]
        found[path] = sorted(
            str(item.get("id") or item.get("release_id") or item.get("job_id")) for item in items
        )
    found["files"] = sorted(str(path) for path in (site.home / "artifacts").rglob("*") if path.is_file())
    return found


@pytest.fixture
def untouched(site: Site) -> Iterator[None]:
    """See that a test leaves the installation as it was."""
    before = kept(site)
    yield
    assert kept(site) == before


@pytest.fixture(scope="module")
def host(site: Site) -> tuple[LabHost, str]:
    """A host that these tests fill up."""
    made = site.lab.host("bi-full")
    site.hosts.append(made)
    return made, site.register(made)


@pytest.fixture(scope="module")
def service(site: Site) -> Service:
    """A service with a good version 1."""
    made = site.service()
    made.add("1", compose("web", port=False), ["1"])
    return made


@pytest.fixture(scope="module")
def target(site: Site, host: tuple[LabHost, str]) -> str:
    """A target on that host."""
    return site.target(host[1])


def refused(error: pytest.ExceptionInfo[Refused], status: int, error_key: str) -> dict[str, Any]:
    """Hold a problem document to its status and key; it always has a hint, and names fields that are wrong."""
    document = error.value.document
    assert (document["status"], document["error_key"]) == (status, error_key), document
    assert document["hint"]
    assert document["errors"] or error_key != "validation_error", document
    return document


@pytest.mark.parametrize(
    ("template", "error_key", "says"),
    [
        pytest.param("services: [web", "compose_invalid", "no YAML", id="no-yaml"),
        pytest.param(
            BOMB + "services: {web: {image: a, command: *h}}", "compose_invalid", "nodes", id="bomb"
        ),
        pytest.param("volumes: {data: {}}", "compose_invalid", "no services", id="no-services"),
        pytest.param(
            "services: {web: {image: 'shop:{{ other }}'}}", "validation_error", "other", id="undefined"
        ),
    ],
)
def test_a_compose_file_that_could_never_work_is_not_kept(
    site: Site, service: Service, untouched: None, template: str, error_key: str, says: str
) -> None:
    began = time.monotonic()
    with pytest.raises(Refused) as error:
        service.add("bad", template)
    assert time.monotonic() - began < 5, "a bomb is not to be worked through"
    assert says in refused(error, 422, error_key)["detail"]
    assert [one["version"] for one in site.admin.get(f"/services/{service.id}/versions")["items"]] == ["1"]


def test_a_variable_that_the_version_has_not(
    site: Site, service: Service, target: str, untouched: None
) -> None:
    with pytest.raises(Refused) as error:
        service.preview(target, "1", variables={"tag": "1", "colour": "blue"})
    assert "variables.colour" in refused(error, 422, "validation_error")["errors"]


def test_a_required_variable_that_nobody_gave(site: Site, target: str) -> None:
    service = site.service()
    schema = {"tag": {"type": "string", "required": True}}
    service.add("1", compose("web", port=False), variable_schema=schema)
    before = kept(site)
    with pytest.raises(Refused) as error:
        service.preview(target, "1")
    assert refused(error, 422, "validation_error")["errors"].keys() == {"variables.tag"}
    assert kept(site) == before


@pytest.mark.parametrize(
    "definition",
    [
        "image: 'shop:{{ word }}'",
        "image: shop:1, command: ['--password', '{{ word }}']",
        "image: shop:1, labels: {word: '{{ word }}'}",
        "image: shop:1, environment: ['{{ word }}=1']",
    ],
)
def test_a_secret_in_a_place_that_is_shown(
    site: Site, untouched: None, service: Service, definition: str
) -> None:
    with pytest.raises(Refused) as error:
        service.add("bad", f"services: {{web: {{{definition}}}}}", variable_schema=SECRET)
    assert "secret in shown place: word" in refused(error, 422, "validation_error")["detail"]


@pytest.mark.parametrize("content", [b"no archive at all", b"\0" * 10240, b""])
def test_an_image_archive_that_is_none(site: Site, tmp_path: Path, untouched: None, content: bytes) -> None:
    archive = tmp_path / "archive.tar"
    archive.write_bytes(content)
    with pytest.raises(Refused) as error:
        site.admin.push(archive, site.project_id)
    refused(error, 422, "validation_error")


def test_an_archive_of_another_digest(site: Site, untouched: None) -> None:
    content = site.lab.app_archive("bi-1").read_bytes()
    query = {"project_id": site.project_id, "digest": "sha256:" + "0" * 64}
    document = ask(site, "/artifacts", content, "application/octet-stream", **query).json()
    assert (document["status"], document["error_key"]) == (422, "artifact_checksum_mismatch")
    assert document["hint"]


def test_a_target_of_another_project(site: Site, service: Service, target: str, stranger: Person) -> None:
    before = kept(site)
    with pytest.raises(Refused) as error:
        stranger.post(
            "/deploy/releases/preview", {"target_id": target, "service": service.name, "version": "1"}
        )
    refused(error, 404, "not_found")
    assert kept(site) == before


@pytest.fixture
def stranger(site: Site) -> Person:
    """Somebody who may release, in another project."""
    name = f"stranger-{uuid.uuid4().hex[:8]}"
    project = site.admin.post("/projects", {"name": name})["id"]
    user = site.admin.post("/users", {"name": name})["id"]
    subject = {"subject_type": "user", "subject_id": user, "role": "operator"}
    site.admin.post("/bindings", {**subject, "scope_type": "project", "scope_id": project})
    token = site.admin.post("/tokens", {"user_id": user, "name": "asks"})["token"]
    host, port = site.admin.address
    return Person(f"http://{host}:{port}", name, token)


def test_a_token_that_has_expired(site: Site, service: Service, target: str, untouched: None) -> None:
    end = datetime.now(UTC) + timedelta(seconds=1.5)
    token = site.admin.post(
        "/tokens", {"name": f"short-{uuid.uuid4().hex[:8]}", "expires_at": end.isoformat()}
    )
    host, port = site.admin.address
    late = Person(f"http://{host}:{port}", "late", token["token"])
    assert late.get("/me")["token_id"] == token["id"]
    time.sleep(max(0.0, (end - datetime.now(UTC)).total_seconds()) + 0.1)
    with pytest.raises(Refused) as error:
        late.post("/deploy/releases/preview", {"target_id": target, "service": service.name, "version": "1"})
    refused(error, 401, "token_expired")


def test_a_body_of_fifty_megabytes(site: Site, service: Service, untouched: None) -> None:
    body = b'{"version": "bad", "template": "' + b" " * 50_000_000 + b'"}'
    answer = ask(site, f"/services/{service.id}/versions", body, "application/json")
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["error_key"]) == (413, "payload_too_large")
    assert document["hint"]


def ask(site: Site, path: str, content: bytes, kind: str, **query: str) -> httpx.Response:
    """Send bytes as they are."""
    host, port = site.admin.address
    headers = {"Authorization": f"Bearer {site.admin.token}", "Content-Type": kind}
    url = f"http://{host}:{port}/api/v1{path}"
    return httpx.post(url, params=query, content=content, headers=headers, timeout=60)


def test_a_disk_that_is_full_is_told_by_the_preview_or_by_the_release(
    site: Site, host: tuple[LabHost, str], service: Service, target: str, hosts: ComposeHosts
) -> None:
    machine, _ = host
    preview = service.preview(target, "1")
    machine.fill_disk()
    try:
        failed = service.apply(preview)
        told = failed["diagnostics_json"]
        assert (failed["lifecycle_state"], told["error_key"]) == ("failed", "storage_full")
        assert told["failure_domain"] == "preflight"
        assert told["hints"]
        assert left_on(machine) == []
        looked = service.preview(target, "1")
        assert looked["preview_ref"] is None
        checks = [one for one in looked["preview"]["checks"] if one["level"] == "blocking"]
        assert {(one["code"], bool(one["hint"])) for one in checks} == {("preflight_failed", True)}
    finally:
        machine.free_disk()
    assert hosts.running(machine, service) == {}
    assert service.release(target, "1")["lifecycle_state"] == "applied"


def left_on(machine: LabHost) -> list[str]:
    """Return the files of Tidegate on a host that are more than empty locks."""
    found = machine.exec(
        ["find", "/var/lib/tidegate", "-type", "f", "-size", "+0", "-not", "-name", "lab-ballast"]
    )
    return sorted(found.stdout.split())
