# SPDX-License-Identifier: Apache-2.0
"""The parts list names every file of a bundle by its sum, and is the same for the same bundle."""

from __future__ import annotations

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from controlplane.adapters.bundle import index_file, sbom
from controlplane.domain.errors import Problem
from tests.unit.bundle_folder import TOOL, index

from .conftest import Make

TOLD_OF = {
    **index()["artifacts"][0],
    "version": "1.2+b1",
    "license": "Apache-2.0",
    "source": {"debian": {"package": "tool"}},
}


def test_every_file_is_a_part(make: Make) -> None:
    bundle = make("a", artifacts=[TOLD_OF])
    told = sbom.describe(bundle)
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    digest, sums = index_file.sums(bundle)
    assert {one["bom-ref"]: one["hashes"][0]["content"] for one in told["components"]} == sums
    part = next(one for one in told["components"] if one["bom-ref"] == TOOL)
    assert part["type"] == "application"
    assert part["purl"] == "pkg:deb/debian/tool@1.2+b1?arch=amd64"
    assert part["licenses"] == [{"expression": "Apache-2.0"}]
    assert told["metadata"]["component"]["bom-ref"] == digest
    assert told == sbom.describe(make("b", artifacts=[TOLD_OF]))
    assert told["serialNumber"] != sbom.describe(make("c"))["serialNumber"]


@pytest.mark.parametrize("more", [{}, {"artifacts": [TOLD_OF]}], ids=["bare", "told of"])
def test_it_is_what_the_schema_of_cyclonedx_asks_for(make: Make, more: dict[str, object]) -> None:
    schema = JsonStrictValidator(SchemaVersion.V1_6)
    told = sbom.describe(make("a", **more))
    assert schema.validate_str(json.dumps(told)) is None
    # Also that of a document that is none, so that this holds something.
    assert schema.validate_str(json.dumps({**told, "components": [{"name": "of no type"}]})) is not None


def test_a_bundle_that_was_never_locked_has_no_parts_list(make: Make) -> None:
    with pytest.raises(Problem) as caught:
        sbom.describe(make(locked=False))
    assert caught.value.error_key == "artifact_missing"
