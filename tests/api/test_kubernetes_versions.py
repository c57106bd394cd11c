# SPDX-License-Identifier: Apache-2.0
"""Versions for Kubernetes: manifests or a kustomization, and what is refused before anything of it is kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests import hostile_kustomizations
from tests.api.people import Caller

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: {{ replicas }}
  template:
    spec:
      containers:
      - {name: web, image: "shop:{{ version }}", env: [{name: KEY, value: "{{ password }}"}]}
"""
SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData:
  password: "{{ password }}"
  tls.pem: |
    -----BEGIN PRIVATE KEY-----
    ---
    -----END PRIVATE KEY-----
    ---
  script: "--- {{ .Values.notOurs }}"
"""
SCHEMA = {
    "version": {"type": "string", "required": True},
    "replicas": {"type": "integer", "default": 1},
    "password": {"type": "string", "secret": True},
}
KUSTOMIZATION = {
    "kustomization.yaml": "resources: [base, extra.yaml]\n",
    "base/kustomization.yaml": """\
resources: [web.yaml]
configMapGenerator: [{name: a, literals: [b=c], files: [extra=../extra.yaml]}, {name: b, envs: [b.env]}]
patches: [{path: patch.yaml}, {patch: "x: y", target: {kind: A}}]
patchesStrategicMerge: ["kind: A\\n\\nx: y"]
openapi: {version: v1.20.4}
""",
    "base/b.env": "a=b",
    "base/patch.yaml": WEB,
    "base/web.yaml": WEB,
    "extra.yaml": CONFIG,
}


def _bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return CONFIG + "data:\n" + "".join(f"  {line}\n" for line in lines)


HOSTILE: list[tuple[dict[str, Any], str]] = [
    ({"template": ""}, "validation_error"),
    ({"template": "a: [b"}, "manifest_invalid"),
    ({"template": "just words"}, "manifest_invalid"),
    ({"template": "---\n---\n# nothing\n"}, "manifest_invalid"),
    ({"template": "[" * 5000}, "manifest_invalid"),
    ({"template": "{a: " * 200}, "manifest_invalid"),
    ({"template": "- a\n- b\n"}, "manifest_invalid"),
    ({"template": "kind: ConfigMap\nmetadata: {name: a}\n"}, "manifest_invalid"),
    ({"template": "apiVersion: v1\nmetadata: {name: a}\n"}, "manifest_invalid"),
    ({"template": "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n"}, "manifest_invalid"),
    ({"template": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 7}\n"}, "manifest_invalid"),
    ({"template": "apiVersion: v1\nkind: [ConfigMap]\nmetadata: {name: a}\n"}, "manifest_invalid"),
    ({"template": "apiVersion: v1\nkind: List\nitems: {a: b}\n"}, "manifest_invalid"),
    ({"template": "apiVersion: v1\nkind: List\nitems: [words]\n"}, "manifest_invalid"),
    ({"template": "apiVersion: v1\nkind: List\nitems: []\n"}, "manifest_invalid"),
    ({"template": CONFIG + "data: !!python/object/apply:os.system [id]\n"}, "manifest_invalid"),
    ({"template": CONFIG + "data: !include /etc/passwd\n"}, "manifest_invalid"),
    ({"template": CONFIG + "data: &a {b: *a}\n"}, "manifest_invalid"),
    ({"template": CONFIG + "data: *nowhere\n"}, "manifest_invalid"),
    ({"template": CONFIG + "kind: Secret\n"}, "manifest_invalid"),
    ({"template": _bomb()}, "manifest_invalid"),
    ({"template": (CONFIG + "---\n") * 2001}, "manifest_invalid"),
    ({"template": CONFIG + "data: {a: '" + "x" * (5 * 1024 * 1024) + "'}\n"}, "validation_error"),
    ({"template": CONFIG + "data: {a: \"\\x00\", ? [b] : c}\n"}, "manifest_invalid"),
    ({"template": CONFIG + "data: {a: '{{ other }}'}\n"}, "validation_error"),
    ({"template": CONFIG + "data: {a: '{{ version | upper }}'}\n"}, "validation_error"),
    ({"template": CONFIG + "data: {a: \"{{ lookup('pipe', 'id') }}\"}\n"}, "validation_error"),
    ({"template": CONFIG + "data: {'{{ version }}': a}\n"}, "validation_error"),
    ({"template": WEB.replace("name: web}", "name: '{{ password }}'}")}, "validation_error"),
    ({"template": WEB.replace("{{ version }}", "{{ password }}")}, "validation_error"),
    ({"template": WEB, "kustomization": KUSTOMIZATION}, "validation_error"),
    ({"template": WEB, "images": [{"reference": "a", "artifact": "sha256:" + "0" * 64}]}, "validation_error"),
    ({"template": WEB, "prune_kinds": ["Secret"]}, "validation_error"),
    ({"template": WEB, "strategy_params": {"max_parallel": 1}}, "validation_error"),
    ({"kustomization": {"web.yaml": WEB}}, "manifest_invalid"),
    ({"kustomization": {**KUSTOMIZATION, "../out.yaml": WEB}}, "manifest_invalid"),
    ({"kustomization": {**KUSTOMIZATION, "/etc/cron.d/x": "x"}}, "manifest_invalid"),
    ({"kustomization": {**KUSTOMIZATION, "a\u0000b": "x"}}, "validation_error"),
    ({"kustomization": {"kustomization.yaml": "resources: [../../etc]\n"}}, "manifest_invalid"),
    ({"kustomization": {"kustomization.yaml": "resources: ['https://a.example/b?ref=c']\n"}}, "manifest_invalid"),
    ({"kustomization": {"kustomization.yaml": "resources: ['git@a.example:b.git']\n"}}, "manifest_invalid"),
    ({"kustomization": {"kustomization.yaml": "resources: [nowhere.yaml]\n"}}, "manifest_invalid"),
    ({"kustomization": {"kustomization.yaml": "generators: [plugin.yaml]\n"}}, "manifest_invalid"),
    ({"kustomization": {"kustomization.yaml": "helmCharts: [{name: a, repo: b}]\n"}}, "manifest_invalid"),
    ({"kustomization": {"kustomization.yaml": "resources: words\n"}}, "manifest_invalid"),
    ({"kustomization": {"kustomization.yaml": "a: &a [*a]\n"}}, "manifest_invalid"),
    ({"kustomization": {f"f{n}.yaml": "" for n in range(501)}}, "manifest_invalid"),
]  # fmt: skip


@pytest.fixture
def service(admin: Caller) -> str:
    project = admin.post("/projects", {"name": "shop"}).json["id"]
    return str(
        admin.post("/services", {"project_id": project, "name": "shop", "runtime_type": "k8s"}).json["id"]
    )


def version(**changed: Any) -> dict[str, Any]:
    return {"version": "1", "variable_schema": SCHEMA, **changed}


def test_many_documents_with_what_looks_like_an_end_inside(admin: Caller, service: str) -> None:
    text = "---\n".join((CONFIG, WEB, SECRET))
    made = admin.post(f"/services/{service}/versions", version(template=text, prune_kinds=["Namespace"]))
    assert made.status_code == 201, made.json
    assert (made.json["template"], made.json["prune_kinds"]) == (text, ["Namespace"])


def test_a_kustomization_is_packed_whole(admin: Caller, service: str) -> None:
    made = admin.post(f"/services/{service}/versions", version(kustomization=KUSTOMIZATION))
    assert made.status_code == 201, made.json
    assert made.json["kustomization"] == KUSTOMIZATION
    assert made.json["template"] == ""


@pytest.mark.parametrize(
    ("changed", "error_key"),
    [*HOSTILE, *(({"kustomization": files}, "manifest_invalid") for files in hostile_kustomizations.HOSTILE)],
)
def test_what_can_never_work_or_would_do_harm_is_not_kept(
    admin: Caller, service: str, changed: dict[str, Any], error_key: str
) -> None:
    answer = admin.post(f"/services/{service}/versions", version(**changed))
    assert (answer.status_code, answer.json["error_key"]) == (422, error_key), answer.json
    assert answer.json["hint"]
    assert admin.get(f"/services/{service}/versions").json["items"] == []


def test_compose_has_no_kustomization(admin: Caller) -> None:
    project = admin.post("/projects", {"name": "other"}).json["id"]
    made = admin.post("/services", {"project_id": project, "name": "shop"}).json["id"]
    body = version(kustomization=KUSTOMIZATION)
    assert admin.post(f"/services/{made}/versions", body).json["error_key"] == "validation_error"
