# SPDX-License-Identifier: Apache-2.0
"""All that is done with an installation, with a secret wherever one may be given, and where none may be."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import httpx

from tests.conformance.site import Refused, Service
from tests.secrets.installation import Installation

# The application says what its operators would rather it did not: each secret, bare.
TEMPLATE = """\
services:
  web:
    image: "shop:{{ tag }}"
    stop_grace_period: 1s
    environment:
      PASSWORD: "{{ password }}"
      DATABASE_URL: "postgres://shop:{{ database_password }}@db/shop"
      BY_ENVIRONMENT: "{{ by_environment }}"
      ASKED_WITH: "{{ asked_with }}"
      KEY: "{{ key }}"
    command:
      - /bin/sh
      - -c
      - |
        bare=$${DATABASE_URL#postgres://shop:}
        printf '%s\\n' "it is $$PASSWORD" "of the database: $${bare%@db/shop}" "$$BY_ENVIRONMENT" "$$ASKED_WITH"
        printf '%s' "$$PASSWORD" | busybox sed 's/[\\\\"]/\\\\&/g; s/.*/{"as JSON": "&"}\\n/'
        printf '%s\\n' "$$KEY" | while read -r line; do echo "line: $$line"; done
        exec /app/start
    healthcheck:
      test: ["CMD-SHELL", "echo \\"tried with $$PASSWORD\\"; {{ healthy }}"]
      interval: 1s
      retries: {{ retries }}
"""
SECRETS = ("password", "database_password", "by_environment", "asked_with", "key")
VARIABLES: dict[str, Any] = {
    "tag": {"type": "string", "default": "1"},
    "healthy": {"type": "string", "default": "true"},
    "retries": {"type": "integer", "default": 2},
    **{name: {"type": "string", "secret": True, "required": True} for name in SECRETS},
}
# To ask for an image there the registry's password is used, and nobody answers.
NO_REGISTRY = "127.0.0.1:9"


class Story:
    """What happens; `tell` lets it happen. `releases` are those that came to an end, by what became of them."""

    def __init__(self, its: Installation) -> None:
        self._its = its
        self._site = its.site
        self._admin = its.site.admin
        self._plant = its.canaries.plant
        self._http = httpx.Client(base_url=f"{its.url}/api/v1", timeout=60)
        self.releases: dict[str, dict[str, Any]] = {}
        self.checks: list[dict[str, Any]] = []
        self.drift: list[dict[str, Any]] = []

    def tell(self) -> None:
        """Preview, approved apply, failure, rollback, cancel, drift, both ways to log in, and all that is refused."""
        service, target = self._prepare()
        self.releases["applied"] = self._released(service, target, "a value asked with")
        self.releases["failed"] = self._released(service, target, "another value asked with", healthy="false")
        self.releases["failed beside"] = self._released_beside(service, target)
        self.releases["rollback"] = self._rolled_back(service, self.releases["failed"])
        self.releases["cancelled"] = self._cancelled(service, target)
        self._look_for_drift(service, target)
        self._without_image(target)
        self._preview_an_install()
        self._log_in_by_password(target)
        self._be_refused(service, target)

    def _prepare(self) -> tuple[Service, str]:
        login = {"user": "operator", "private_key": self._its.host_key, "become": True}
        host_id = self._site.register(self._its.host, **login, become_password=self._its.host_password)
        self._admin.post("/teams", {"name": "canaries"})
        named = {"project_id": self._site.project_id, "name": "production"}
        nodes = {"stage": "production", "host_ids": [host_id]}
        where = self._admin.post("/environments", {**named, **nodes})["id"]
        target = self._admin.post("/deploy/targets", {**named, "environment_id": where})["id"]
        service = self._site.service()
        service.add("1", TEMPLATE, ["1"], variable_schema=VARIABLES, health_timeout=60)
        self._set(service, "target", target, "password", self._plant("a value of the target"))
        self._set(service, "target", target, "key", f"first\n{self._plant('a line of a value')}\nlast line\n")
        within = self._plant("a value within a text", awkward=False)
        self._set(service, "environment", where, "database_password", within)
        self._set(service, "environment", where, "by_environment", self._plant("a value of the environment"))
        return service, target

    def _set(self, service: Service, scope: str, scope_id: str, name: str, value: Any) -> httpx.Response:
        body = {"scope_type": scope, "scope_id": scope_id, "name": name, "value": value}
        return self._http.put(f"/services/{service.id}/variables", json=body, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._admin.token}"}

    def _previewed(self, service: Service, target: str, asked_with: str, **values: Any) -> dict[str, Any]:
        return service.preview(target, "1", variables={"asked_with": self._plant(asked_with), **values})

    def _released(self, service: Service, target: str, asked_with: str, **values: Any) -> dict[str, Any]:
        preview = self._previewed(service, target, asked_with, **values)
        service.start(preview)
        self._approve(preview["release_id"])
        return service.ended(preview["release_id"])

    def _released_beside(self, service: Service, target: str) -> dict[str, Any]:
        """Another strategy is another way for what the application says."""
        values = {"asked_with": self._plant("a value of another strategy"), "healthy": "false"}
        entry = {"port": 8090, "service": "web", "service_port": 8080}
        preview = service.preview(target, "1", variables=values, strategy="blue_green", strategy_params=entry)
        service.start(preview)
        self._approve(preview["release_id"])
        return service.ended(preview["release_id"])

    def _approve(self, release_id: str) -> None:
        self._its.approver.post(f"/deploy/releases/{release_id}/approve", {"comment": "previewed"})

    def _rolled_back(self, service: Service, release: dict[str, Any]) -> dict[str, Any]:
        path = f"/deploy/releases/{release['release_id']}/rollback"
        preview = self._admin.post(f"{path}/preview", {})
        self._admin.post(path, {"preview_ref": preview["preview_ref"]})
        self._approve(preview["release_id"])
        return service.ended(preview["release_id"])

    def _cancelled(self, service: Service, target: str) -> dict[str, Any]:
        values = {"healthy": "false", "retries": 500}
        preview = self._previewed(service, target, "a value of what is cancelled", **values)
        service.start(preview)
        self._approve(preview["release_id"])
        service.when(preview["release_id"], lambda release: release["status"] == "verifying")
        self._admin.post(f"/deploy/releases/{preview['release_id']}/cancel")
        return service.ended(preview["release_id"])

    def _look_for_drift(self, service: Service, target: str) -> None:
        self._set(service, "target", target, "password", self._plant("a value that nothing runs with yet"))
        job = self._admin.post(f"/deploy/targets/{target}/drift")
        until = time.monotonic() + 60
        while self._admin.get(f"/jobs/{job['job_id']}")["state"] != "done":
            assert time.monotonic() < until
            time.sleep(0.2)
        self.drift = self._admin.get(f"/deploy/targets/{target}/status")["drift"]

    def _without_image(self, target: str) -> None:
        login = {
            "server": NO_REGISTRY,
            "username": "puller",
            "password": self._plant("password of a registry"),
        }
        self._admin.post("/registries", {"project_id": self._site.project_id, **login})
        service = self._site.service()
        service.add("1", f"services: {{web: {{image: '{NO_REGISTRY}/none:1'}}}}", variable_schema={})
        self.checks += service.preview(target, "1")["preview"]["checks"]

    def _preview_an_install(self) -> None:
        """The host is logged in to for it, and what is asked for may be a secret, too."""
        (host,) = (one for one in self._admin.get("/hosts")["items"] if one["name"] == self._its.host.name)
        named = {"project_id": self._site.project_id, "name": "installed", "stage": "development"}
        nodes = {"mode": "platform_managed", "host_ids": [host["id"]]}
        where = self._admin.post("/environments", {**named, **nodes})["id"]
        asked = {"inputs": {"registry_password": self._plant("an input of an install")}}
        preview = self._admin.post(f"/environments/{where}/install/preview", asked)
        assert preview["status"] == "preview_failed", "there is no bundle in this installation"

    def _log_in_by_password(self, target: str) -> None:
        """Hosts and people may have passwords: right ones and, here, one that is wrong."""
        host = {"project_id": self._site.project_id, "name": "by-password", "address": self._its.host.address}
        login = {"user": "operator", "password": self._its.host_password}
        host_id = self._admin.post("/hosts", {**host, **login})["id"]
        seen = self._admin.post(f"/hosts/{host_id}/host-key/fetch")
        self._admin.post(f"/hosts/{host_id}/host-key/confirm", {"fingerprint": seen["fingerprint"]})
        assert self._admin.post(f"/hosts/{host_id}/check")["reachable"]
        self._admin.patch(f"/hosts/{host_id}", {"password": self._plant("a wrong password of a host")})
        with suppress(Refused):
            self._admin.post(f"/hosts/{host_id}/check")
        assert self._http.get("/me", auth=("approver", self._its.approver_password)).status_code == 200
        wrong = self._plant("a wrong password of a user")
        assert self._http.get("/me", auth=("approver", wrong)).status_code == 401
        assert self._http.get("/me", auth=("nobody", wrong)).status_code == 401
        bearer = {"Authorization": f"Bearer tg_{self._plant('a wrong token', awkward=False)}"}
        assert self._http.get("/me", headers=bearer).status_code == 401

    def _be_refused(self, service: Service, target: str) -> None:
        """What is refused is kept nowhere, and not said again in the answer; the answers are kept in the log."""
        default = {**VARIABLES, "pin": {"secret": True, "default": self._plant("a default of a secret")}}
        pin = {**VARIABLES, "pin": {"type": "integer", "secret": True}}
        host = {"project_id": self._site.project_id, "name": "odd", "address": "192.0.2.1", "user": "root"}
        service.add("2", TEMPLATE, ["1"], variable_schema=pin)
        key = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{self._plant('what is no key')}\n"
        version = {"version": "3", "template": TEMPLATE, "variable_schema": default}
        asks = [
            ("POST", f"/services/{service.id}/versions", version),
            ("POST", "/hosts", {**host, "private_key": key}),
            ("POST", "/hosts", {**host, "passwords": self._plant("a field that is misspelt")}),
            ("POST", "/users", {"name": "odd", "password": [self._plant("a password in a list")]}),
            ("GET", f"/hosts?password={self._plant('a word of the query', awkward=False)}", None),
        ]
        login = self._headers()
        answers = [self._http.request(how, path, json=body, headers=login) for how, path, body in asks]
        answers.append(self._set(service, "target", target, "pin", self._plant("a value of another type")))
        broken = f'{{"name": "odd", "password": "{self._plant("a body that is no JSON", awkward=False)}'
        kind = {"Content-Type": "application/json", **self._headers()}
        answers.append(self._http.post("/users", content=broken, headers=kind))
        for answer in answers:
            assert 400 <= answer.status_code < 500, answer.text
            found = self._its.canaries.seen(str(answer.request.url.path), answer.content)
            assert not found, (found, answer.text)
