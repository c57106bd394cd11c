# SPDX-License-Identifier: Apache-2.0
"""A bundle reaches real hosts: once, whole, on from where a cut transfer stopped, and mended where it was spoilt."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import bundle as lab_bundle
from tests.lab.host import LabHost
from tests.lab.lab import Lab
from tests.strategies.rig import Rig
from tests.unit.bundle_folder import TOOL, index, write

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(600),
]

STORE = "/var/lib/tidegate/bundle"
BIG = "bin/linux-amd64/big"
BIG_BYTES = 500 << 20
MODULE = "tidegate.deploy.bundle_delivery"


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[list[LabHost]]:
    made = [lab.host(f"bundle-{name}", docker=False) for name in ("a", "b")]
    yield made
    for host in made:
        host.remove()


@pytest.fixture
def host(hosts: list[LabHost]) -> Iterator[LabHost]:
    hosts[0].exec(["rm", "-rf", STORE])
    yield hosts[0]


@pytest.fixture
def deliver(lab: Lab, host: LabHost, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    rig = Rig(lab, tmp_path, host)

    def run(folder: Path, check_mode: bool = False, **more: Any) -> dict[str, Any]:
        return rig.task(MODULE, {"bundle_dir": str(folder), **more}, check_mode=check_mode)[host.name]

    return run


def locked(folder: Path) -> Path:
    subprocess.run([Path(sys.executable).parent / "tidegate", "bundle", "lock", str(folder)], check=True)
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return locked(write(tmp_path / "bundle"))


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with one file of 500 MB."""
    more = {"id": "big", "type": "binary", "path": BIG}
    folder = write(tmp_path_factory.mktemp("big") / "bundle", artifacts=[*index()["artifacts"], more])
    with (folder / BIG).open("wb") as file:
        for number in range(BIG_BYTES >> 20):
            file.write(random.Random(number).randbytes(1 << 20))
    return locked(folder)


def detail(answer: dict[str, Any]) -> dict[str, Any]:
    assert not answer.get("failed"), answer
    return dict(answer["tidegate"]["steps"][0]["detail"])


def sums(host: LabHost, artifacts: dict[str, dict[str, Any]]) -> dict[str, str]:
    paths = [one["path"] for one in artifacts.values()]
    said = host.exec(["sha256sum", *paths]).stdout
    return {line.split()[1]: line.split()[0] for line in said.splitlines()}


def partial(host: LabHost) -> int:
    said = host.exec(["find", STORE, "-name", "*.part", "-printf", "%s\n"], check=False).stdout.split()
    return sum(map(int, said))


def test_a_bundle_is_sent_once_and_what_was_altered_is_mended(
    host: LabHost, deliver: Callable[..., dict[str, Any]], small: Path
) -> None:
    first = deliver(small)
    assert first["changed"]
    assert detail(first)["files"] == 2
    tool = first["artifacts"]["tool"]
    assert tool["path"] == f"{STORE}/sha256/{hashlib.sha256(b'a tool').hexdigest()}"
    assert set(first["hooks"]) == {"hooks/look.sh"}
    assert host.exec(["cat", tool["path"]]).stdout == "a tool"
    assert json.loads(host.exec(["cat", f"{STORE}/current.json"]).stdout)["files"][TOOL] == tool["sha256"]

    again = deliver(small)
    assert (again["changed"], again["tidegate"]["steps"][0]["status"]) == (False, "unchanged")
    assert detail(again)["sent_bytes"] == 0

    # The same length, and as old as before: what tells it is that somebody wrote there.
    script = 'touch -r "$0" /tmp/when && printf "A tool" > "$0" && touch -r /tmp/when "$0"'
    host.exec(["sh", "-c", script, tool["path"]])
    mended = deliver(small)
    assert mended["changed"]
    assert (detail(mended)["mended"], detail(mended)["files"]) == (1, 1)
    assert host.exec(["cat", tool["path"]]).stdout == "a tool"

    host.exec(["sh", "-c", f"rm {tool['path']} && ln -s /etc/passwd {tool['path']}"])
    assert detail(deliver(small))["mended"] == 1
    assert host.exec(["cat", tool["path"]]).stdout == "a tool"
    assert host.exec(["head", "-c4", "/etc/passwd"]).stdout == "root"
    assert deliver(small, rehash=True)["changed"] is False
    assert host.exec(["ls", f"{STORE}/sha256"]).stdout.split() == sorted(
        [tool["sha256"], hashlib.sha256(b"#!/bin/sh\n").hexdigest()]
    )


def test_a_bundle_with_a_fault_reaches_nobody(
    host: LabHost, deliver: Callable[..., dict[str, Any]], small: Path
) -> None:
    (small / TOOL).write_bytes(b"b tool")
    refused = deliver(small)
    assert refused["tidegate"]["error_key"] == "artifact_checksum_mismatch"
    assert refused["tidegate"]["failure_domain"] == "integrity"
    assert TOOL in refused["msg"]
    (small / TOOL).write_bytes(b"a tool")
    assert (
        deliver(small, trusted_keys=["A" * 43 + "="])["tidegate"]["error_key"] == "bundle_signature_invalid"
    )
    assert deliver(small, bundle_digest="sha256:other")["tidegate"]["error_key"] == "preview_stale"
    unsupported = deliver(small, runtime_type="compose", runtime_version="2.39")
    assert unsupported["tidegate"]["error_key"] == "artifact_version_unsupported"
    assert host.exec(["ls", STORE], check=False).returncode != 0


def test_a_large_file_with_a_fault_gets_its_name_nowhere(
    host: LabHost, deliver: Callable[..., dict[str, Any]], big: Path
) -> None:
    sha256 = hashlib.file_digest((big / BIG).open("rb"), "sha256").hexdigest()
    with spoilt(big / BIG):
        refused = deliver(big)
        assert refused["tidegate"]["error_key"] == "artifact_checksum_mismatch", refused
        assert refused["tidegate"]["failure_domain"] == "integrity"
        assert BIG in refused["msg"]
        assert refused["tidegate"]["steps"][0]["detail"]["faults"][0]["path"] == BIG
        assert sha256 not in host.exec(["ls", f"{STORE}/sha256"]).stdout
        assert host.exec(["ls", f"{STORE}/current.json"], check=False).returncode != 0
        # What would be sent is hashed, too, where nothing is sent.
        assert deliver(big, check_mode=True)["tidegate"]["error_key"] == "artifact_checksum_mismatch"
    assert detail(deliver(big))["files"] == 2, "the small one before it had no fault"
    with spoilt(big / BIG):
        # The host has it already, and is not sent what became of it here.
        again = deliver(big)
        assert again["tidegate"]["error_key"] == "artifact_checksum_mismatch", again
        assert BIG in again["msg"]
    assert detail(deliver(big))["files"] == 0


@contextlib.contextmanager
def spoilt(file: Path) -> Iterator[None]:
    """One byte of a file is another one meanwhile."""

    def turn() -> None:
        with file.open("r+b") as content:
            content.seek(BIG_BYTES // 2)
            byte = content.read(1)
            content.seek(BIG_BYTES // 2)
            content.write(bytes([byte[0] ^ 1]))

    turn()
    try:
        yield
    finally:
        turn()


def test_nothing_is_sent_where_there_is_no_room(
    host: LabHost, deliver: Callable[..., dict[str, Any]], small: Path
) -> None:
    host.fill_disk()
    try:
        refused = deliver(small)
    finally:
        host.free_disk()
    assert refused["tidegate"]["error_key"] == "storage_full", refused
    assert refused["tidegate"]["steps"][0]["detail"]["sent_bytes"] == 0
    assert deliver(small)["changed"]


def test_a_disk_that_fills_up_on_the_way_is_told_and_what_came_is_used(
    host: LabHost, deliver: Callable[..., dict[str, Any]], big: Path
) -> None:
    def fill() -> None:
        while partial(host) < 20 << 20:
            time.sleep(0.02)
        host.fill_disk()

    filling = threading.Thread(target=fill)
    filling.start()
    refused = deliver(big)
    filling.join()
    host.free_disk()
    assert refused["tidegate"]["error_key"] == "storage_full", refused
    came = partial(host)
    assert came >= 20 << 20
    assert detail(deliver(big))["resumed_at_byte"] == came


def test_a_cut_transfer_goes_on_where_it_stopped(
    host: LabHost, deliver: Callable[..., dict[str, Any]], big: Path
) -> None:
    came: list[int] = []

    def cut() -> None:
        while partial(host) < 50 << 20:
            time.sleep(0.02)
        host.cut()
        came.append(partial(host))

    cutting = threading.Thread(target=cut)
    cutting.start()
    failed = deliver(big)
    cutting.join()
    assert failed["tidegate"]["error_key"] == "ssh_unreachable", failed
    assert failed["tidegate"]["failure_domain"] == "connection"
    assert 50 << 20 <= came[0] < BIG_BYTES, "it was all there before it could be cut"
    host.mend()
    host.wait()
    there = partial(host)
    assert there >= came[0]
    second = deliver(big)
    # The one that was left behind may have got a last piece before it noticed.
    told = detail(second)
    assert told["resumed_at_byte"] >= there
    assert told["files"] == 2, "the small one before it had come already"
    assert told["sent_bytes"] + told["resumed_at_byte"] == BIG_BYTES + len(b"#!/bin/sh\n")
    assert set(sums(host, second["artifacts"]).items()) == {
        (one["path"], one["sha256"]) for one in second["artifacts"].values()
    }


def test_what_was_spoilt_in_a_half_sent_file_is_found_and_sent_again(
    host: LabHost, deliver: Callable[..., dict[str, Any]], big: Path
) -> None:
    sha256 = hashlib.file_digest((big / BIG).open("rb"), "sha256").hexdigest()
    host.exec(["mkdir", "-p", f"{STORE}/sha256"])
    host.exec(["sh", "-c", f"head -c 1000000 /dev/zero > {STORE}/sha256/{sha256}.part"])
    answer = deliver(big)
    assert not answer.get("failed"), answer
    assert sums(host, answer["artifacts"])[f"{STORE}/sha256/{sha256}"] == sha256


def test_check_mode_promises_and_sends_nothing(lab: Lab, host: LabHost, small: Path, tmp_path: Path) -> None:
    role = {"name": "tidegate.deploy.bundle_delivery"}
    play = {"hosts": "release_hosts", "gather_facts": False, "tasks": [{"ansible.builtin.import_role": role}]}
    path = tmp_path / "role.json"
    path.write_text(json.dumps([{**play, "check_mode": True}]))
    rig = Rig(lab, tmp_path, host)
    variables = {"bundle_delivery_bundle_dir": str(small)}
    assert "changed=1" in rig.play(path, variables).stdout
    assert host.exec(["ls", STORE], check=False).returncode != 0
    path.write_text(json.dumps([play]))
    assert "changed=1" in rig.play(path, variables).stdout
    assert "changed=0" in rig.play(path, variables).stdout


def test_the_real_bundle_reaches_two_hosts_and_costs_little_when_nothing_changed(
    lab: Lab, hosts: list[LabHost], tmp_path: Path
) -> None:
    for one in hosts:
        one.exec(["rm", "-rf", STORE])
    folder = lab_bundle.make()
    spec = {
        "api": "tidegate.environment/v1", "bundle_dir": str(folder), "runtime_type": "compose",
        "runtime_version": "2.40", "bundle_trusted_keys": [str(lab_bundle.public_key())],
        "result_dir": str(tmp_path),
    }  # fmt: skip
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    role = {"name": "tidegate.deploy.bundle_delivery"}
    play = [
        {"hosts": "release_hosts", "gather_facts": False, "tasks": [{"ansible.builtin.import_role": role}]}
    ]
    (tmp_path / "role.json").write_text(json.dumps(play))
    rig = Rig(lab, tmp_path, *hosts)
    variables = {"environment_spec_file": str(tmp_path / "spec.json")}
    rig.play(tmp_path / "role.json", variables)
    for one in hosts:
        told = json.loads((tmp_path / f"{one.name}.delivery.json").read_text())
        assert told["changed"] and told["steps"][0]["detail"]["files"] == 6
        said = one.exec(["sh", "-c", f"cd {STORE}/sha256 && sha256sum [0-9a-f]*"]).stdout
        assert all(line.split()[0] == line.split()[1] for line in said.splitlines())
        assert len(said.splitlines()) == 6
    took = []
    for _ in range(3):
        begun = time.monotonic()
        assert rig.play(tmp_path / "role.json", variables).stdout.count("changed=0") == 2
        took.append(time.monotonic() - begun)
        steps = [
            json.loads((tmp_path / f"{one.name}.delivery.json").read_text())["steps"][0] for one in hosts
        ]
        assert all(one["status"] == "unchanged" for one in steps)
    print(
        f"unchanged, two hosts: whole runs {took}, delivery alone {[one['duration_ms'] for one in steps]} ms"
    )
    assert max(one["duration_ms"] for one in steps) < 2000
