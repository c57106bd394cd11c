# SPDX-License-Identifier: Apache-2.0
"""The parts list names every file of a bundle by its sum, and is the same for the same bundle."""

from __future__ import annotations

import pytest

from controlplane.adapters.bundle import index_file, sbom
from controlplane.domain.errors import Problem
from tests.unit.bundle_folder import TOOL, index

from .conftest import Make


def test_every_file_is_a_part(make: Make) -> None:
    tool = {
        **index()["artifacts"][0],
        "version": "1.2+b1",
        "license": "Apache-2.0",
        "source": {"debian": {"package": "tool"}},
    }
    bundle = make("a", artifacts=[tool])
    told = sbom.describe(bundle)
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    digest, sums = index_file.sums(bundle)
    assert {one["bom-ref"]: one["hashes"][0]["content"] for one in told["components"]} == sums
    part = next(one for one in told["components"] if one["bom-ref"] == TOOL)
    assert part["type"] == "application"
    assert part["purl"] == "pkg:deb/debian/tool@1.2+b1?arch=amd64"
    assert part["licenses"] == [{"expression": "Apache-2.0"}]
    assert told["metadata"]["component"]["bom-ref"] == digest
    assert told == sbom.describe(make("b", artifacts=[tool]))
    assert told["serialNumber"] != sbom.describe(make("c"))["serialNumber"]


def test_a_bundle_that_was_never_locked_has_no_parts_list(make: Make) -> None:
    with pytest.raises(Problem) as caught:
        sbom.describe(make(locked=False))
    assert caught.value.error_key == "artifact_missing"
