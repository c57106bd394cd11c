# SPDX-License-Identifier: Apache-2.0
"""The lab from a shell, and from molecule's delegated driver.

    python -m tests.lab up --name shared --hosts a,b
    python -m tests.lab host c --name shared        # JSON: address, port, user, key_path, ssh_args ...
    python -m tests.lab inventory --name shared     # JSON, as Ansible's inventory scripts print it
    python -m tests.lab fault a pause --name shared
    python -m tests.lab remove-host c --name shared
    python -m tests.lab down --name shared
    python -m tests.lab bundle                      # a real bundle; prints its folder
    eval "$(python -m tests.lab kube up)"            # sets KUBECONFIG; `kube down` removes it all
    python -m tests.lab kube check                  # 1, and a line that says why, where there can be none
    python -m tests.lab host c --kubeadm            # a bare host that a kubelet can run on
    python -m tests.lab kubeadm                     # inputs of installs on such hosts; 1 as `kube check`

molecule: `create.yml` runs `host NAME` and puts the JSON's address, port, user, key_path and ssh_args into
the instance configuration; `destroy.yml` runs `remove-host NAME`. Messages go to stderr, JSON alone to
stdout.
Exit codes: 0 done, 1 the lab could not do it, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from . import bundle, kube_assets, kube_keeper, kubeadm
from .command import LabError
from .host import LabHost
from .lab import Lab

FAULTS = (
    "pause",
    "unpause",
    "cut",
    "mend",
    "kill",
    "start",
    "change-host-key",
    "pin-host-key",
    "fill-disk",
    "free-disk",
)


def host_facts(host: LabHost) -> dict[str, Any]:
    """What a client must know to reach a host."""
    return {
        "name": host.name,
        "address": host.address,
        "port": host.port,
        "user": host.user,
        "key_path": str(host.key_path),
        "known_hosts": str(host.lab.known_hosts),
        "ssh_args": host.ssh_options(),
        "docker": host.docker,
        "behind": host.behind,
        "state": host.state(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Do one thing; answers the exit code."""
    options = _parser().parse_args(arguments)
    try:
        answer = _do(Lab(options.name), options)
    except (LabError, ValueError, KeyError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    if answer is not None:
        print(json.dumps(answer, indent=2) if not isinstance(answer, str) else answer)
    return 0


def _do(lab: Lab, options: argparse.Namespace) -> Any:
    match options.verb:
        case "up":
            lab.up()
            return [host_facts(lab.host(name)) for name in options.hosts.split(",") if name]
        case "down":
            return lab.down()
        case "status":
            return {"name": lab.name, "up": lab.is_up(), "hosts": _hosts(lab)}
        case "inventory":
            return lab.inventory()
        case "host":
            lab.up()
            behind = lab.jump_host() if options.behind_jump else None
            bare = options.no_docker or options.kubeadm
            host = lab.host(options.host, docker=not bare, behind=behind)
            if options.kubeadm:
                kubeadm.prepare(host)
            return host_facts(host)
        case "remove-host":
            return (
                lab.known_host(options.host).remove() if lab.is_up() and options.host in _names(lab) else None
            )
        case "fault":
            return getattr(lab.known_host(options.host), options.fault.replace("-", "_"))()
        case "app":
            return str(
                lab.app_archive(options.version, healthy=not options.unhealthy, size_mb=options.size_mb)
            )
        case "bundle":
            return str(bundle.make())
        case "kubeadm":
            if absent := kubeadm.why_not():
                raise LabError(absent)
            return kubeadm.INPUTS
        case "kube":
            return _do_kube(lab, options.action)
    raise AssertionError(options.verb)


def _do_kube(lab: Lab, action: str) -> Any:
    match action:
        case "up":
            return kube_keeper.export_line(kube_keeper.up(lab))
        case "down":
            return kube_keeper.down(lab)
        case "status":
            return kube_keeper.status(lab)
        case "check":
            if absent := kube_assets.why_not():
                raise LabError(absent)
            return None
    return kube_keeper.kubeconfig(lab)


def _hosts(lab: Lab) -> list[dict[str, Any]]:
    return [host_facts(host) for host in lab.hosts()] if lab.is_up() else []


def _names(lab: Lab) -> set[str]:
    return {host.name for host in lab.hosts()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default="lab", help="the lab (default: lab)")
    up = verbs.add_parser("up", parents=[common], help="bring the lab up; quick when it is")
    up.add_argument("--hosts", default="", help="Docker hosts to make, with commas between")
    verbs.add_parser("down", parents=[common], help="delete everything the lab made")
    verbs.add_parser("status", parents=[common], help="what is there, as JSON")
    verbs.add_parser("inventory", parents=[common], help="an Ansible inventory, as JSON")
    host = verbs.add_parser("host", parents=[common], help="make a host (and the lab), print how to reach it")
    host.add_argument("host")
    host.add_argument("--no-docker", action="store_true", help="a host on which Docker is not installed")
    host.add_argument("--kubeadm", action="store_true", help="no Docker, and fit for a kubelet")
    host.add_argument("--behind-jump", action="store_true", help="reachable only through the jump host")
    remove = verbs.add_parser("remove-host", parents=[common], help="delete a host, if it is there")
    remove.add_argument("host")
    fault = verbs.add_parser("fault", parents=[common], help="switch a fault on or off")
    fault.add_argument("host")
    fault.add_argument("fault", choices=FAULTS)
    app = verbs.add_parser("app", parents=[common], help="make an image archive, print its path")
    app.add_argument("version")
    app.add_argument("--unhealthy", action="store_true", help="its health check fails")
    app.add_argument("--size-mb", type=int, default=0, help="padding in MiB")
    verbs.add_parser(
        "bundle", parents=[common], help="make a real bundle out of Debian's packages, print its folder"
    )
    verbs.add_parser(
        "kubeadm", parents=[common], help="inputs of a kubeadm install on the lab's hosts, as JSON"
    )
    kube = verbs.add_parser("kube", help="a Kubernetes API, and a node where there can be one")
    kube.add_argument("action", choices=["up", "down", "status", "kubeconfig", "check"])
    kube.add_argument("--name", default="kube", help="its lab (default: kube)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
