# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import apply, spec
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

DOCUMENT: dict[str, Any] = {"services": {"web": {"image": "shop:1", "build": ".", "labels": ["team=a"]}}}
IMAGES = {"web": {"reference": "shop:1", "digest": None, "image_id": "sha256:1"}}


def test_what_did_not_change_keeps_the_release_that_made_it() -> None:
    first = apply.stamp(DOCUMENT, IMAGES, "rel_1", {})
    assert first["services"]["web"]["image"] == "sha256:1"
    assert "build" not in first["services"]["web"]
    assert first["services"]["web"]["labels"]["team"] == "a"
    again = apply.stamp(DOCUMENT, IMAGES, "rel_2", first)
    assert again == first
    changed = {"services": {"web": {**DOCUMENT["services"]["web"], "command": "x"}}}
    assert (
        apply.stamp(changed, IMAGES, "rel_2", first)["services"]["web"]["labels"][apply.RELEASE_LABEL]
        == "rel_2"
    )


def test_an_image_has_one_name_that_cannot_move() -> None:
    assert (
        apply.pin({"reference": "h:5/shop:1", "digest": "sha256:2", "image_id": "sha256:1"})
        == "h:5/shop@sha256:2"
    )
    assert apply.pin(IMAGES["web"]) == "sha256:1"
    with pytest.raises(ReleaseError, match="never resolved"):
        apply.pin({"reference": "shop:1"})


def test_a_release_that_was_begun_here_is_not_compared() -> None:
    payload = {"project": "shop", "release_id": "rel_1", "fingerprint": "sha256:x", "fingerprint_key": "00"}
    apply._require_as_previewed(payload, [], {"release_id": "rel_1"})
    with pytest.raises(ReleaseError) as refused:
        apply._require_as_previewed(payload, [], {"release_id": "rel_0"})
    assert refused.value.error_key == "preview_stale"
    assert refused.value.detail == {"parts": {}}


def test_a_spec_is_read_as_data(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"service": "shop", "variables": {"a": "{{ lookup('env', 'HOME') }}"}}))
    read = spec.load(str(path), None)
    assert read["variables"]["a"] == "{{ lookup('env', 'HOME') }}"
    assert (read["project"], read["release_id"]) == ("shop", "by-hand")


@pytest.mark.parametrize(
    ("inline", "said"), [(None, "release_spec"), ([1], "release_spec"), ({"api": "other"}, "api is")]
)
def test_what_is_no_spec(inline: Any, said: str) -> None:
    with pytest.raises(ReleaseError, match=said) as refused:
        spec.load(None, inline)
    assert refused.value.error_key == "validation_error"


def test_an_image_has_to_be_named() -> None:
    with pytest.raises(ReleaseError, match="web has no image"):
        spec.references({"services": {"web": {"build": "."}}})
