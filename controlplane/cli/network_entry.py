# SPDX-License-Identifier: Apache-2.0
"""`tidegate network-entry`: the virtual IP before a cluster."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text

from controlplane.cli import output, preview_text, safe_text, task
from controlplane.cli.command import Session, client_command, secret_from
from controlplane.cli.outcome import Outcome
from controlplane.cli.resource import find_id

BACKEND_COLUMNS = ("host", "address", "alive")
_CLUSTER = click.argument("which", metavar="CLUSTER")
_PREVIEW_REF = click.option("--preview-ref", help="A preview of it that was made before.")


@click.group("network-entry")
def network_entry() -> None:
    """One virtual IP before a cluster, with keepalived and IPVS."""


def _asked(function: Any) -> Any:
    for option in (
        click.option("--service-network", metavar="CIDR", help="Of the cluster, where it is known."),
        click.option("--pod-network", metavar="CIDR", help="Of the cluster, where it is known."),
        click.option("--certificate-check", type=click.Choice(("required", "warned", "skipped", "renewed"))),
        click.option("--balancer", type=click.Choice(("ipvs", "none"))),
        click.option("--backoff-seconds", type=float, help="Waited before a step is tried again."),
        click.option("--max-retries", type=int, help="How often a step is tried."),
        click.option("--nopreempt", is_flag=True, default=None, help="Who has the VIP keeps it."),
        click.option("--multicast", is_flag=True, help="In place of unicast peers."),
        click.option("--advert-interval", type=float, help="Seconds; whole ones with a password."),
        click.option("--lb-algo", type=click.Choice(("rr", "wrr", "lc", "wlc"))),
        click.option("--lb-kind", type=click.Choice(("DR", "NAT", "TUN"))),
        click.option("--health-path", help="For HTTPS: /readyz unless told."),
        click.option("--health-kind", type=click.Choice(("tcp", "https"))),
        click.option("--extra-port", "ports", type=int, multiple=True, help="One more port of the VIP."),
        click.option("--port", "health_check_port", type=int, help="6443 unless told."),
        click.option("--director", "directors", multiple=True, metavar="HOST", help="1 to 3 of them."),
        click.option(
            "--backend", "backends", multiple=True, metavar="HOST[=WEIGHT]", help="At least two of them."
        ),
        click.option(
            "--auth-pass-file", metavar="FILE", help="At most 8 characters; - reads them from stdin."
        ),
        click.option("--virtual-router-id", type=int),
        click.option("--interface", help="Found from the subnet when left out."),
        click.option("--vip", "vip_address", metavar="ADDRESS/PREFIX"),
    ):
        function = option(function)
    return function


@network_entry.command()
@_CLUSTER
@_asked
@client_command
def preview(session: Session, which: str, **asked: Any) -> Outcome:
    """Show what an apply would do on each host, and what stands in its way. Nothing is changed by asking."""
    return _show_preview(session, task.previewed(session, _base(session, which), _body(asked)))


@network_entry.command()
@_CLUSTER
@click.argument("preview_ref", required=False)
@_asked
@task.yes
@task.watched
@task.wait_approval
@client_command
def apply(
    session: Session,
    which: str,
    preview_ref: str | None,
    yes: bool,
    is_watched: bool,
    wait_approval: bool,
    **asked: Any,
) -> Outcome:
    """Apply a preview: PREVIEW_REF, or one that is made and shown now.

    Ends with 6 while it waits for an approval, unless --wait-approval.
    """
    body = {} if preview_ref else _body(asked)
    going = task.Going(yes, is_watched, wait_approval)
    return task.start(session, _base(session, which), "apply", preview_ref, body, going, _show_preview)


@network_entry.command()
@_CLUSTER
@click.option("--remove", is_flag=True, help="Take it away, also where there is one to go back to.")
@_PREVIEW_REF
@task.yes
@task.watched
@task.wait_approval
@client_command
def rollback(
    session: Session,
    which: str,
    remove: bool,
    preview_ref: str | None,
    yes: bool,
    is_watched: bool,
    wait_approval: bool,
) -> Outcome:
    """Go back to the entry before the newest; to none where there was none."""
    body = {"kind": "rollback", "remove": remove}
    going = task.Going(yes, is_watched, wait_approval)
    return task.start(session, _base(session, which), "rollback", preview_ref, body, going, _show_preview)


@network_entry.command("failover-test")
@_CLUSTER
@_PREVIEW_REF
@task.yes
@task.watched
@task.wait_approval
@client_command
def failover_test(
    session: Session, which: str, preview_ref: str | None, yes: bool, is_watched: bool, wait_approval: bool
) -> Outcome:
    """Let the active director stand back, and measure for how long the VIP does not answer."""
    base, body = _base(session, which), {"kind": "failover_test"}
    going = task.Going(yes, is_watched, wait_approval)
    ended = task.start(session, base, "failover-test", preview_ref, body, going, _show_preview)
    seen = session.client.get(base)["last_failover"] if ended is Outcome.OK and is_watched else None
    if seen and not session.as_json:
        output.say(f"from {seen['from']} to {seen['to']}: {seen['outage_ms']} ms")
    return ended


@network_entry.command()
@_CLUSTER
@click.argument("task_id", required=False)
@client_command
def show(session: Session, which: str, task_id: str | None) -> Outcome:
    """Show how the entry is; with TASK_ID, a task and its steps. Ends with 1 where the entry has failed."""
    base = _base(session, which)
    if task_id:
        task.show_task(session, session.client.get(f"{base}/tasks/{task_id}"))
        return Outcome.OK
    document = session.client.get(base)
    if session.as_json:
        output.as_json(document)
    else:
        output.fields(document, ("backends", "problems", "nodes"))
        output.table(document["backends"], BACKEND_COLUMNS)
        for one in document["problems"]:
            output.say(safe_text.line(f"{one.get('level')} {one.get('code')}: {one.get('message')}", 400))
    return Outcome.RELEASE_FAILED if document["status"] == "failed" else Outcome.OK


def _base(session: Session, which: str) -> str:
    return f"/clusters/{find_id(session.client, '/clusters', which)}/network-entry"


task.add_commands(network_entry, _base, "CLUSTER")


def _body(asked: dict[str, Any]) -> dict[str, Any]:
    missing = [
        option
        for option, name in (("--vip", "vip_address"), ("--virtual-router-id", "virtual_router_id"))
        if asked[name] is None
    ]
    if missing or not asked["backends"]:
        raise click.UsageError(f"give {', '.join([*missing, *([] if asked['backends'] else ['--backend'])])}")
    password = secret_from(asked["auth_pass_file"])
    lvs_vip = {
        name: asked[name]
        for name in (
            "vip_address", "interface", "virtual_router_id", "health_check_port", "lb_kind", "lb_algo",
            "nopreempt", "balancer", "certificate_check",
        )
    }  # fmt: skip
    lvs_vip |= {
        "auth_pass": password.strip() if password else None,
        "backend_nodes": [_backend(word) for word in asked["backends"]],
        "directors": list(asked["directors"]) or None,
        "ports": list(asked["ports"]) or None,
        "advert_interval": _seconds(asked["advert_interval"]),
        "unicast": False if asked["multicast"] else None,
        "health_check": _given(kind=asked["health_kind"], path=asked["health_path"]),
        "retry_policy": _given(max_retries=asked["max_retries"], backoff_seconds=asked["backoff_seconds"]),
    }
    networks = _given(pod=asked["pod_network"], service=asked["service_network"])
    return {"lvs_vip": _given(**lvs_vip), **({"cluster_networks": networks} if networks else {})}


def _given(**values: Any) -> dict[str, Any] | None:
    return {name: value for name, value in values.items() if value is not None} or None


def _seconds(value: float | None) -> float | int | None:
    return int(value) if value is not None and value == int(value) else value


def _backend(word: str) -> dict[str, Any]:
    host, equals, weight = word.partition("=")
    if equals and not weight.isdigit():
        raise click.BadParameter(f"{word!r}: the weight is a whole number", param_hint="--backend")
    return {"host": host, **({"weight": int(weight)} if equals else {})}


def _show_preview(session: Session, made: dict[str, Any]) -> Outcome:
    document = made["preview"]
    if session.as_json:
        output.as_json(made)
        return Outcome.OK if document["preview_ref"] else Outcome.BLOCKED
    out = output.console()
    output.say(f"task {made['task_id']}: {made['kind']} {made['cluster']} ({made['stage']})")
    for name, host in sorted(document["hosts"].items()):
        out.print(
            Text(f"host {safe_text.line(name)}  {_part(host.get('entry') or {})}".rstrip(), style="bold")
        )
        for file in host.get("files") or []:
            out.print(Text(f"  {safe_text.line(file['action'])} {safe_text.line(file['path'])}"))
            if file.get("diff"):
                out.print(Text(safe_text.block(file["diff"]).rstrip(), style="dim"))
    # Its checks, risk and reference are told as a release's are.
    preview_text.preview({**document, "hosts": {}})
    return Outcome.OK if document["preview_ref"] else Outcome.BLOCKED


def _part(entry: dict[str, Any]) -> str:
    shown = {"interface": entry.get("interface"), "priority": entry.get("priority")}
    return "  ".join(f"{name} {safe_text.line(value)}" for name, value in shown.items() if value is not None)
