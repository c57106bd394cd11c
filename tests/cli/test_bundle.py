# SPDX-License-Identifier: Apache-2.0
"""`tidegate bundle` as it is typed: what it prints, and the exit code for each kind of fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controlplane.cli.bundle_outcome import BundleOutcome, of_keys
from tests.unit.bundle_folder import TOOL, write

COMMAND = str(Path(sys.executable).parent / "tidegate")


def run(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    return subprocess.run(
        [COMMAND, "bundle", *map(str, arguments)], capture_output=True, text=True, env={**clean, **environ}, check=False
    )  # fmt: skip


def told(*arguments: object, **environ: str) -> Any:
    done = run(*arguments, "--json", **environ)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = write(tmp_path / "bundle")
    told("lock", folder)
    return folder


def test_the_way_of_a_bundle(bundle: Path, tmp_path: Path) -> None:
    assert not told("lock", bundle)["changed"]
    key = told("keygen", tmp_path / "key")
    assert told("sign", bundle, "--key", tmp_path / "key")
    assert told("verify", bundle, "--trust", key["public_key_file"])["signature"] == "valid"
    assert told("verify", bundle, TIDEGATE_BUNDLE_TRUSTED_KEYS=key["public_key"])["signature"] == "valid"
    (tmp_path / "tidegate.toml").write_text(f'bundle_trusted_keys = ["{key["public_key_file"]}"]\n')
    assert told("verify", bundle, "--home", tmp_path)["signature"] == "valid"
    parts = told("pack", bundle, tmp_path / "packed")["files"]
    back = tmp_path / "back"
    assert told("unpack", parts[0]["file"], back, "--trust", key["public_key"])["signed_by"]
    assert told("diff", bundle, back)["same"]
    assert run("diff", bundle, back, "--exit-code").stdout == "no difference\n"
    (back / TOOL).write_text("other")
    told("lock", back)
    assert run("diff", bundle, back, "--exit-code").returncode == 1
    assert f"{TOOL}" not in run("diff", bundle, back).stdout
    assert "~ artifacts tool" in run("diff", bundle, back).stdout
    assert run("sbom", bundle).stdout == run("sbom", bundle, "--json").stdout
    assert told("sbom", bundle, "--output", tmp_path / "sbom.json")
    assert json.loads((tmp_path / "sbom.json").read_text())["bomFormat"] == "CycloneDX"


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda b: (b / "manifests/index.yaml").unlink(), 20),
        (lambda b: (b / "manifests/index.yaml").write_text("a: 1"), 21),
        (lambda b: (b / "checksums/SHA256SUMS.sig").write_text("AAAA"), 22),
        (lambda b: (b / TOOL).write_text("other"), 23),
        (lambda b: (b / "bin/extra").write_text("x"), 24),
        (lambda b: (b / TOOL).unlink(), 25),
        (lambda b: (b / "hooks/look.sh").unlink(), 26),
        (lambda _b: None, 27),
    ],
)
def test_each_kind_of_fault_has_its_exit_code(bundle: Path, tmp_path: Path, spoil: Any, code: int) -> None:
    told("keygen", tmp_path / "key")
    told("sign", bundle, "--key", tmp_path / "key")
    spoil(bundle)
    done = run(
        "verify",
        bundle,
        "--trust",
        tmp_path / "key.pub",
        "--runtime",
        "compose=9" if code == 27 else "compose=2.40",
    )
    assert done.returncode == code, done.stdout + done.stderr
    key = BundleOutcome(code).name.lower()
    assert key in done.stdout
    assert f"{code} {key}" in run("--help").stdout.replace("\n  ", " ").replace("  ", " ")


def test_of_several_faults_the_gravest_is_told(bundle: Path) -> None:
    (bundle / TOOL).write_text("other")
    (bundle / "bin/extra").write_text("x")
    done = run("verify", bundle, "--json")
    assert done.returncode == 23
    keys = [one["error_key"] for one in json.loads(done.stdout)["faults"]]
    assert keys == ["artifact_checksum_mismatch", "artifact_unlisted"]
    assert of_keys([]) == 0
    assert of_keys(["storage_full"]) == 9


def test_the_keys_of_the_rules_have_exit_codes_in_their_order() -> None:
    from controlplane.adapters.bundle import rules

    assert [one.name.lower() for one in BundleOutcome] == list(rules.part("fault").KEYS)


def test_what_is_typed_wrong_is_told(bundle: Path, tmp_path: Path) -> None:
    assert run("verify", bundle, "--runtime", "compose").returncode == 2
    assert run("pack", bundle, tmp_path / "p", "--split", "3x").returncode == 2
    assert run("fetch", bundle, "--only", "nothing").returncode == 2
    (tmp_path / "there").write_text("")
    done = run("pack", bundle, tmp_path / "there")
    assert (done.returncode, "exists" in done.stderr) == (1, True)
    assert run("verify", bundle, "--trust", "nonsense").returncode == 22


def test_a_name_that_steers_a_terminal_is_shown_as_it_is_written(bundle: Path) -> None:
    (bundle / "bin" / "\x1b[31mred").write_text("x")
    done = run("verify", bundle)
    assert done.returncode == 24
    assert "\x1b" not in done.stdout
