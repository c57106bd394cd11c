# SPDX-License-Identifier: Apache-2.0
"""Variables in manifests: values stay values, secrets stay where nobody looks."""

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import comparison, manifests
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: %s}\n"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: "{{ count }}"
  template:
    spec:
      containers:
      - name: web
        image: "shop:{{ version }}"
        env:
        - {name: PLAIN, value: a}
        - {name: KEY, value: "prefix-{{ key }}"}
"""
SCHEMA = {
    "count": {"type": "integer"},
    "version": {"type": "string"},
    "key": {"type": "string", "secret": True},
}
VALUES = {"count": 3, "version": "2", "key": "hunter22"}


@pytest.mark.parametrize(
    "hostile", ["{{ lookup('pipe','id') }}", '"\n- x: y', "a: b", "*anchor", "---\nkind: Pod", "$(id)", "no"]
)
@pytest.mark.parametrize("placeholder", ['"{{ value }}"', "{{ value }}"])
def test_a_value_stays_a_value(hostile: str, placeholder: str) -> None:
    found = manifests.render(CONFIG % placeholder, {"value": hostile}, {"value": {"type": "string"}})
    assert found.objects[0]["data"]["x"] == hostile


def test_whole_placeholders_keep_their_type_and_the_text_is_canonical() -> None:
    found = manifests.render(DEPLOYMENT, VALUES, SCHEMA)
    assert found.objects[0]["spec"]["replicas"] == 3
    again = manifests.stored(found.text())
    assert again == found
    assert manifests.render(DEPLOYMENT, dict(reversed(VALUES.items())), SCHEMA).text() == found.text()


def test_places_of_secrets_are_known_by_name() -> None:
    found = manifests.render(DEPLOYMENT, VALUES, SCHEMA)
    assert comparison.hidden_paths(found) == {0: ["spec.template.spec.containers[web].env[KEY].value"]}
    assert comparison.secret_texts(found) == {"prefix-hunter22"}


@pytest.mark.parametrize(
    "text",
    [
        CONFIG.replace("name: a", 'name: "{{ key }}"') % "a",
        CONFIG.replace("{name: a}", '{name: a, labels: {x: "{{ key }}"}}') % "a",
        DEPLOYMENT.replace("{{ version }}", "{{ key }}"),
        DEPLOYMENT.replace("PLAIN", "{{ key }}"),
        'apiVersion: x.io/v1\nkind: Widget\nmetadata: {name: a}\nspec: {data: "{{ key }}"}',
        'apiVersion: v1\nkind: Service\nmetadata: {name: a}\ndata: {x: {y: "{{ key }}"}}',
    ],
)
def test_a_secret_in_a_shown_place_is_refused(text: str) -> None:
    with pytest.raises(ReleaseError, match="secret in shown place: key") as refused:
        manifests.render(text, VALUES, SCHEMA)
    assert refused.value.error_key == "validation_error"


@pytest.mark.parametrize(
    ("text", "values", "said"),
    [
        (CONFIG % '"{{ nothing }}"', {}, "undefined variable nothing"),
        (CONFIG % '"{{ count + 1 }}"', {"count": 3}, "no expressions"),
        (CONFIG % "a", {"other": 1}, "unknown variable other"),
        (CONFIG % "a", {"count": "3"}, "not of type integer"),
        (CONFIG.replace("x:", '"{{ version }}":') % "a", {"version": "2"}, "cannot be a key"),
    ],
)
def test_variables_that_cannot_be(text: str, values: dict[str, object], said: str) -> None:
    with pytest.raises(ReleaseError, match=said) as refused:
        manifests.render(text, values, SCHEMA)
    assert refused.value.error_key == "validation_error"


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: ../../v1\nkind: Pod\nmetadata: {name: a}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: ../../secrets}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: 'a?dryRun=None'}",
        "apiVersion: a/b/c\nkind: Pod/x\nmetadata: {name: a}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: words",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: words}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, securityContext: [x]}]}",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: many}",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: [x]}",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {selector: {matchLabels: x}}",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: words",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a, labels: [x]}",
    ],
)
def test_objects_that_no_server_would_take(text: str) -> None:
    with pytest.raises(ReleaseError) as refused:
        manifests.render(text, {}, {})
    assert refused.value.error_key == "manifest_invalid"
