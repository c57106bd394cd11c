# SPDX-License-Identifier: Apache-2.0
"""Templates and variables become one project, and a value never becomes structure."""

import json

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import template
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

SCHEMA = {"value": {"type": "string"}}


def environment(text: str, value: object, rule: dict | None = None) -> object:
    compose = f"services: {{web: {{image: a, environment: {{X: {text}}}}}}}"
    return json.loads(template.render(compose, {"value": value}, {"value": rule or {"type": "string"}}))[
        "services"
    ]["web"]["environment"]["X"]


@pytest.mark.parametrize(
    "hostile", ["{{ lookup('pipe','id') }}", '"\n- x: y', "a: b", "*anchor", "{{ value }}", "'", "#"]
)
@pytest.mark.parametrize("placeholder", ['"{{ value }}"', "{{ value }}"])
def test_a_value_stays_a_value(hostile: str, placeholder: str) -> None:
    assert environment(placeholder, hostile) == hostile


def test_compose_will_not_interpolate_a_value() -> None:
    assert environment('"{{ value }}"', "$(id) ${HOME}") == "$$(id) $${HOME}"


def test_a_whole_placeholder_keeps_its_type() -> None:
    assert environment('"{{ value }}"', 7, {"type": "integer"}) == 7
    assert environment('"n{{ value }}"', True, {"type": "boolean"}) == "ntrue"


@pytest.mark.parametrize("word", ["no", "yes", "on", "22:22", "2026-01-01", "0x"])
def test_words_that_yaml_1_1_would_turn_into_something_else(word: str) -> None:
    assert environment(word, "") == word


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services: [", "no YAML"),
        ("- a", "not a mapping"),
        ("a: 1", "no services"),
        ("services: {web: 3}", "not a mapping"),
        ("services: {web: {image: a}, web: {image: b}}", "twice"),
        ("services: {web: !!python/object:os.system {}}", "no YAML"),
        ("a: &a [*a]\nservices: {w: {image: a}}", "aliases"),
        ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
        ) + "services: {w: {image: a}}", "aliases"),
        ("x" * (template.MOST_BYTES + 1), "larger"),
    ],
)  # fmt: skip
def test_templates_that_cannot_be(text: str, said: str) -> None:
    with pytest.raises(ReleaseError, match=said) as refused:
        template.parse(text)
    assert refused.value.error_key == "compose_invalid"


@pytest.mark.parametrize(
    ("compose", "variables", "schema", "said"),
    [
        ("services: {w: {image: 'a:{{ v }}'}}", {}, {}, "undefined variable v"),
        ("services: {w: {image: a}}", {"v": "1"}, {}, "unknown variable v"),
        ("services: {w: {image: a}}", {"v": 1}, {"v": {"type": "string"}}, "not of type string"),
        ("services: {w: {image: a}}", {"v": True}, {"v": {"type": "integer"}}, "not of type integer"),
        ("services: {w: {image: a}}", {}, {"v": {"required": True}}, "is missing"),
        ("services: {w: {image: a}}", {"v": "x"}, {"v": {"enum": ["y"]}}, "allowed"),
        ("services: {w: {image: a}}", {"v": "xa"}, {"v": {"pattern": "x"}}, "pattern"),
        ("services: {w: {image: a}}", {"v": 9}, {"v": {"type": "integer", "maximum": 8}}, "more than"),
        ("services: {w: {image: 'a:{{ v|lower }}'}}", {"v": "x"}, {"v": {}}, "no expressions"),
        ("services: {w: {image: 'a:{{ v }}'}}", {"v": "x"}, {"v": {"secret": True}}, "secret in shown place"),
        (
            "services: {w: {image: a, environment: ['{{ v }}=1']}}",
            {"v": "x"},
            {"v": {"secret": True}},
            "shown place",
        ),
        (
            "services: {w: {image: a, environment: ['{{ v }}']}}",
            {"v": "x"},
            {"v": {"secret": True}},
            "shown place",
        ),
    ],
)
def test_variables_that_are_refused(compose: str, variables: dict, schema: dict, said: str) -> None:
    with pytest.raises(ReleaseError, match=said) as refused:
        template.render(compose, variables, schema)
    assert refused.value.error_key == "validation_error"


def test_the_project_says_where_its_secrets_are() -> None:
    compose = "services: {w: {image: a, environment: {P: '{{ v }}', Q: b}}}"
    rendered = json.loads(template.render(compose, {"v": "x"}, {"v": {"secret": True}}))
    assert template.secret_paths(rendered) == [("services", "w", "environment", "P")]
