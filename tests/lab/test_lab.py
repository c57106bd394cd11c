# SPDX-License-Identifier: Apache-2.0
"""The lab keeps its promises: hosts are real, faults are felt, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import app, packages, paths
from .command import LabError, run, run_bytes
from .host import LabHost
from .lab import Lab

pytestmark = pytest.mark.lab
MakeHost = Callable[..., LabHost]

COMPOSE = "services:\n  web:\n    image: shop:{version}\n    ports: ['8080:8080']\n"


def load(host: LabHost, archive: Path) -> None:
    run_bytes(["ssh", *host.ssh_options(), f"root@{host.address}", "docker", "load"], archive.read_bytes())


def compose_up(host: LabHost, version: str) -> subprocess.CompletedProcess[str]:
    text = COMPOSE.format(version=version)
    return host.run(
        ["docker", "compose", "-p", "shop", "-f", "-", "up", "-d", "--wait"], check=False, input=text
    )


def get(host: LabHost, path: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{host.address}:{app.PORT}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()


def port_answers(host: LabHost) -> bool:
    try:
        with socket.create_connection((host.address, 22), timeout=2) as connection:
            connection.settimeout(2)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def test_a_host_is_a_machine_with_systemd_docker_and_compose_2(lab_host: MakeHost) -> None:
    began = time.monotonic()
    host = lab_host()
    assert time.monotonic() - began < 30
    assert host.run(["ps", "-p", "1", "-o", "comm="]).stdout.strip() == "systemd"
    assert host.run(["docker", "compose", "version", "--short"]).stdout.startswith("2.")
    assert host.run(["docker", "info", "-f", "{{.Driver}}"]).stdout.strip() == "overlay2"
    assert host.run(["cat"], input="to be given back").stdout == "to be given back"


def test_words_of_a_command_arrive_as_they_were(lab_host: MakeHost) -> None:
    host = lab_host(docker=False)
    assert host.run(["printf", "%s|", "a b", "$HOME", "it's"]).stdout == "a b|$HOME|it's|"


def test_a_host_without_docker_has_none(lab_host: MakeHost) -> None:
    host = lab_host(docker=False)
    assert host.run(["sh", "-c", "command -v docker dockerd containerd"], check=False).stdout == ""


def test_users_may_what_they_should_and_no_more(lab_host: MakeHost) -> None:
    host = lab_host(sudo_password="lab only")
    assert host.run(["docker", "ps", "-q"], user="deploy").returncode == 0
    assert host.run(["sudo", "-n", "true"], user="deploy", check=False).returncode != 0
    assert host.run(["docker", "ps"], user="operator", check=False).returncode != 0
    assert host.run(["sudo", "-n", "true"], user="operator", check=False).returncode != 0
    assert host.run(["sudo", "-S", "id", "-u"], user="operator", input="lab only\n").stdout.strip() == "0"
    assert host.run(["sudo", "-S", "id"], user="operator", input="wrong\n", check=False).returncode != 0


def test_an_application_runs_and_a_broken_build_says_why(lab: Lab, lab_host: MakeHost) -> None:
    host = lab_host()
    load(host, lab.app_archive("1"))
    load(host, lab.app_archive("2", healthy=False))
    assert compose_up(host, "1").returncode == 0
    assert get(host, "/") == (200, "shop 1")
    assert get(host, "/healthz") == (200, "ok")

    assert compose_up(host, "2").returncode != 0
    assert get(host, "/healthz")[0] == 500
    assert "migration" in host.run(["docker", "logs", "shop-web-1"]).stderr
    health = json.loads(host.run(["docker", "inspect", "-f", "{{json .State.Health}}", "shop-web-1"]).stdout)
    assert health["Status"] == "unhealthy"
    assert "500" in health["Log"][-1]["Output"]


def test_an_archive_is_small_and_the_same_each_time_it_is_made(
    lab: Lab, lab_host: MakeHost, tmp_path: Path
) -> None:
    first, again = (app.archive(tmp_path / folder, "7") for folder in ("one", "two"))
    assert first.read_bytes() == again.read_bytes()
    assert first.stat().st_size < 3_000_000
    assert app.archive(tmp_path, "7", size_mb=4).stat().st_size > 6_000_000
    host = lab_host()
    load(host, first)
    assert host.run(["docker", "image", "inspect", "-f", "{{.Id}}", "shop:7"]).stdout.strip() == app.image_id(
        first
    )


def test_a_cut_cable_is_felt_outside_and_not_inside(lab_host: MakeHost) -> None:
    host = lab_host()
    host.cut()
    assert not port_answers(host)
    assert host.exec(["docker", "ps"]).returncode == 0
    host.mend()
    assert host.address in host.run(["hostname", "-I"]).stdout.split()


def test_a_paused_host_hangs_and_goes_on(lab_host: MakeHost) -> None:
    host = lab_host(docker=False)
    host.pause()
    assert not port_answers(host)
    host.unpause()
    assert host.run(["true"]).returncode == 0


def test_a_killed_host_keeps_its_disk_its_key_and_its_address(lab: Lab, lab_host: MakeHost) -> None:
    host = lab_host()
    load(host, lab.app_archive("1"))
    host.run(["tee", "/var/lib/tidegate/kept"], input="kept")
    key = host.host_public_key()
    host.kill()
    assert not port_answers(host)
    host.start()
    assert host.run(["cat", "/var/lib/tidegate/kept"]).stdout == "kept"
    assert "shop" in host.run(["docker", "images"]).stdout
    assert host.host_public_key() == key


def test_a_full_disk_takes_no_more_until_it_is_freed(lab_host: MakeHost) -> None:
    host = lab_host(docker=False)
    write = ["dd", "if=/dev/zero", "of=/var/lib/tidegate/x", "bs=1k", "count=16"]
    host.fill_disk()
    refused = host.run(write, check=False)
    assert refused.returncode != 0
    assert "No space left on device" in refused.stderr
    host.free_disk()
    assert host.run(write).returncode == 0


def test_a_changed_host_key_is_refused_until_it_is_pinned(lab_host: MakeHost) -> None:
    host = lab_host(docker=False)
    before = host.host_public_key()
    after = host.change_host_key()
    assert after != before
    refused = host.run(["true"], check=False)
    assert refused.returncode == 255
    assert "changed" in refused.stderr
    host.pin_host_key()
    assert host.run(["true"]).returncode == 0


def test_asking_for_a_host_again_gives_it_back_in_good_order(lab: Lab, lab_host: MakeHost) -> None:
    host = lab_host(docker=False)
    host.change_host_key()
    host.cut()
    host.pause()
    again = lab.host(host.name, docker=False)
    assert again.address == host.address
    assert again.run(["true"]).returncode == 0
    host.kill()
    assert lab.host(host.name, docker=False).run(["true"]).returncode == 0
    with pytest.raises(ValueError, match="exists with docker=False"):
        lab.host(host.name, docker=True)


def test_a_host_behind_the_jump_host_has_no_other_way_in(lab: Lab, lab_host: MakeHost) -> None:
    jump = lab.jump_host()
    hidden = lab_host(behind=jump)
    assert not port_answers(hidden)
    assert hidden.run(["docker", "version", "-f", "{{.Server.Version}}"]).stdout
    came_from = hidden.run(["printenv", "SSH_CONNECTION"]).stdout.split()[0]
    assert came_from == jump.networks[next(iter(hidden.networks))]


def test_the_registry_asks_for_its_password(lab: Lab, lab_host: MakeHost) -> None:
    registry = lab.registry()
    digest = registry.push(lab.app_archive("5"), "private/shop:5")
    host = lab_host()
    reference = f"{registry.address}/private/shop@{digest}"
    refused = host.run(["docker", "pull", reference], check=False)
    assert refused.returncode != 0
    assert "no basic auth" in refused.stderr
    host.run(
        ["docker", "login", "-u", registry.username, "--password-stdin", registry.address],
        input=registry.password,
    )
    assert digest in host.run(["docker", "pull", reference]).stdout
    registry.delete("private/shop", digest)
    host.run(["docker", "image", "rm", reference])
    assert host.run(["docker", "pull", reference], check=False).returncode != 0


def test_ansible_reaches_the_inventory(lab: Lab, lab_host: MakeHost, tmp_path: Path) -> None:
    host = lab_host(behind=lab.jump_host())
    inventory = tmp_path / "inventory.json"
    facts = lab.inventory()
    hosts = {name: facts["_meta"]["hostvars"][name] for name in facts["release_hosts"]["hosts"]}
    inventory.write_text(json.dumps({"release_hosts": {"hosts": hosts}}))
    pytest.importorskip("ansible")
    ansible = Path(sys.executable).with_name("ansible")
    done = subprocess.run(
        [str(ansible), "-i", str(inventory), host.name, "-m", "ansible.builtin.ping"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "ANSIBLE_HOST_KEY_CHECKING": "True"},
    )  # fmt: skip
    assert '"pong"' in done.stdout, done.stdout + done.stderr


@pytest.fixture
def lonely_home(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of labs with an engine of its own, beside the one of the other tests; downloads are shared."""
    cache = tmp_path / "cache"
    cache.mkdir()
    for made in (packages.base_system(), packages.unpacked()):
        (cache / made.name).symlink_to(made)
    monkeypatch.setenv("TIDEGATE_LAB_HOME", str(tmp_path))
    yield tmp_path
    for folder in tmp_path.iterdir():
        if (folder / "lab.json").exists():
            Lab(folder.name).down()


def traces(home: Path, lab: Lab, subnets: list[str]) -> dict[str, object]:
    """All that a lab of this home, with networks of these subnets, has on the machine."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(home) in line]
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    engine = lab.engine
    return {
        "mounts": mounts,
        "sockets": engine.sockets.exists(),
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{engine.cgroup}")],
        "processes": [
            words
            for pid in Path("/proc").glob("[0-9]*")
            if (words := _command_line(pid)) and (str(engine.sockets) in words or str(home) in words)
        ],
        "links": [line for line in links.splitlines() if any(name in line for name in _bridges(lab))],
        "routes": [line for line in routes.splitlines() if any(subnet in line for subnet in subnets)],
        "folder": lab.folder.exists(),
    }


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _bridges(lab: Lab) -> list[str]:
    return [f"tgl-{paths.digest(str(paths.home()), lab.name, text, length=8)}" for text in ("True", "False")]


def subnets_of(lab: Lab) -> list[str]:
    return [
        facts["subnet"] for facts in json.loads((lab.folder / "lab.json").read_text())["networks"].values()
    ]


def test_down_leaves_nothing_and_spares_the_other_lab(lonely_home: Path) -> None:
    one, two = Lab("one"), Lab("two")
    before = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    one.up()
    one.up()
    two.up()
    jump = one.jump_host()
    hidden = one.host("h", docker=False, behind=jump)
    other = two.host("h", docker=False)
    jump.pause()
    subnets = subnets_of(one) + subnets_of(two)
    here = traces(lonely_home, one, subnets)
    assert all(here.values()), here
    assert hidden.address != other.address
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == before

    one.down()
    assert other.run(["true"]).returncode == 0
    assert not traces(lonely_home, one, [subnets[0]])["links"]
    two.down()
    for lab in (one, two):
        left = traces(lonely_home, lab, subnets)
        assert not any(left.values()), left


def test_a_crash_of_the_engine_is_mended_by_up_and_by_down(lonely_home: Path) -> None:
    lab = Lab("crashed")
    lab.up()
    host = lab.host("h", docker=False)
    host.run(["tee", "/var/lib/tidegate/kept"], input="kept")

    crash(lab)
    lab.up()
    assert host.run(["cat", "/var/lib/tidegate/kept"]).stdout == "kept"

    subnets = subnets_of(lab)
    crash(lab)
    lab.down()
    left = traces(lonely_home, lab, subnets)
    assert not any(left.values()), left


def crash(lab: Lab) -> None:
    """Kill the engine's programs as a power cut would; the hosts' own processes are left running."""
    for program in ("dockerd", "containerd"):
        os.kill(int((lab.engine.sockets / f"{program}.process").read_text()), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while lab.engine.answers() and time.monotonic() < deadline:
        time.sleep(0.05)


def test_a_lab_that_cannot_be_made_says_why(lab: Lab) -> None:
    with pytest.raises(ValueError, match="no name for a lab"):
        Lab("../etc")
    with pytest.raises(ValueError, match="no name for a host"):
        lab.host("A b")
    with pytest.raises(LabError, match="is not installed"):
        run(["tidegate-lab-has-no-such-program"])
