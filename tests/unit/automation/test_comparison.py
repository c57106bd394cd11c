# SPDX-License-Identifier: Apache-2.0
"""What a preview concludes from what is there."""

import json

from ansible_collections.tidegate.deploy.plugins.module_utils.compose import (
    apply,
    comparison,
    fingerprint,
    template,
)

VEIL = fingerprint.Veil(b"key")
IMAGE = {"reference": "shop:1", "digest": None, "image_id": "sha256:aa", "pinned": True}


def project(**more: object) -> dict:
    return {"services": {"web": {"image": "shop:1", "environment": {"A": "1"}, **more}}}


def released(document: dict) -> dict:
    """What is observed on a host to which the document was released."""
    applied = apply.stamp(document, {"web": IMAGE}, "rel_1", {})
    web = applied["services"]["web"]
    env = [f"{name}={value}" for name, value in comparison.environment(web).items()]
    labels = {**web["labels"], "com.docker.compose.service": "web"}
    container = {
        "Name": "/shop-web-1",
        "Image": IMAGE["image_id"],
        "Config": {"Labels": labels, "Env": [*env, "PATH=/bin"], "Image": "sha256:aa"},
        "State": {"Status": "running"},
    }
    return {"containers": [container], "applied": applied}


def rows(document: dict, facts: dict) -> list[dict]:
    return comparison.services(document, {"web": IMAGE}, facts, VEIL)


def test_what_was_released_needs_nothing() -> None:
    assert rows(project(), released(project())) == [{"name": "web", "action": "none", "changes": []}]


def test_an_environment_value_is_told_and_a_secret_one_is_not() -> None:
    after = project(environment={"A": "2", "DB_PASSWORD": "hidden-word"})
    (row,) = rows(after, released(project()))
    assert {"path": "environment.A", "before": "1", "after": "2"} in row["changes"]
    assert "hidden-word" not in json.dumps(row)


def test_a_secret_is_taken_out_of_what_an_application_says_however_it_says_it() -> None:
    compose = "services: {w: {image: a, environment: ['URL=db://u:{{ p }}@h', 'KEY={{ k }}']}}"
    variables = {"p": 'pa$$ "word"', "k": "short\nsecond line\n"}
    schema = {name: {"type": "string", "secret": True} for name in variables}
    hidden = comparison.secret_values(json.loads(template.render(compose, variables, schema)))
    said = [
        'pa$$ "word"',
        'db://u:pa$$ "word"@h',
        r"pa$$ \"word\"",
        "pa%24%24%20%22word%22",
        "at second line",
    ]
    assert comparison.redacted(said, hidden) == ["***", "***", "***", "***", "at ***"]
    assert comparison.redacted("short", hidden) == "short", "a short line is likely to be another word"


def test_added_and_removed_services() -> None:
    facts = released(project())
    assert [row["action"] for row in rows({"services": {"db": {"image": "db"}}}, facts)] == ["add", "remove"]


def test_the_fingerprint_moves_with_settings_and_not_with_health() -> None:
    facts = released(project())
    before = fingerprint.fingerprint(fingerprint.live_parts(facts, VEIL), VEIL)
    facts["containers"][0]["State"]["Health"] = {"Status": "unhealthy"}
    assert fingerprint.fingerprint(fingerprint.live_parts(facts, VEIL), VEIL) == before
    facts["containers"][0]["Config"]["Env"].append("NEW=1")
    assert fingerprint.fingerprint(fingerprint.live_parts(facts, VEIL), VEIL) != before


def test_an_unchanged_service_keeps_the_release_that_made_it() -> None:
    first = apply.stamp(project(), {"web": IMAGE}, "rel_1", {})
    again = apply.stamp(project(), {"web": IMAGE}, "rel_2", first)
    other = apply.stamp(project(restart="always"), {"web": IMAGE}, "rel_2", first)
    assert again == first
    assert other["services"]["web"]["labels"][apply.RELEASE_LABEL] == "rel_2"
