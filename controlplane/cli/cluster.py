# SPDX-License-Identifier: Apache-2.0
"""`tidegate cluster`: Kubernetes clusters, how they are reached, what runs there and whose credential ends when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from controlplane.cli import cluster_certificates, output, safe_text
from controlplane.cli.command import Session, client_command
from controlplane.cli.resource import Field, Resource, add_commands, body_from, find_id, options
from controlplane.cli.resources import IN_PROJECT, NAME, PROJECT

NAMESPACE = Field("namespace", purpose="Where it is asked what the credential may do.")
KUBECONFIG = Field(
    "kubeconfig",
    "secret",
    is_required=True,
    purpose="With everything inline: kubectl config view --raw --flatten.",
)
CONTEXT = Field("context", purpose="The current one when left out.")
ENDPOINT = Field("endpoint", is_required=True, purpose="https://HOST:PORT")
PARTS = (
    Field("ca", "secret", purpose="The cluster's authority, PEM."),
    Field("token", "secret"),
    Field("client_certificate", "secret", purpose="In place of a token; PEM."),
    Field("client_key", "secret", purpose="PEM."),
    Field("tls_server_name", purpose="The name in the server's certificate."),
    Field("insecure_skip_tls_verify", "switch", purpose="Only where the server's settings let it."),
    NAMESPACE,
)
FROM_KUBECONFIG = (PROJECT, NAME, KUBECONFIG, CONTEXT, NAMESPACE)
FROM_PARTS = (PROJECT, NAME, ENDPOINT, *PARTS)
CONNECTION = (Field("kubeconfig", "secret"), CONTEXT, Field("endpoint"), *PARTS)
CLUSTERS = Resource(
    "cluster",
    "/clusters",
    FROM_KUBECONFIG,
    ("id", "name", "endpoint", "server_version", "status", "credential_expires_at"),
    filters=(IN_PROJECT, Field("status", "choice", choices=("ready", "failed", "gone"))),
    actions=("list", "show", "delete"),
)
EXPIRING = ("id", "name", "credential_kind", "credential_expires_at", "status")


@click.group()
def cluster() -> None:
    """Kubernetes clusters, and how they are reached."""


add_commands(cluster, CLUSTERS)
cluster.add_command(cluster_certificates.certs)


@cluster.command("import")
@options(FROM_KUBECONFIG)
@client_command
def import_(session: Session, **given: Any) -> None:
    """Bring a cluster in with a kubeconfig; it is connected to before anything is stored."""
    _made(session, "/clusters/import/kubeconfig", FROM_KUBECONFIG, given)


@cluster.command()
@options(FROM_PARTS)
@client_command
def add(session: Session, **given: Any) -> None:
    """Bring a cluster in with endpoint, authority, and a token or a client certificate."""
    _made(session, "/clusters/import/cert", FROM_PARTS, given)


@cluster.command()
@click.argument("which", metavar="ID|NAME")
@options((NAMESPACE,))
@client_command
def test(session: Session, which: str, **given: Any) -> None:
    """Connect, and show what was found: version, latency, what expires when, what the credential may do."""
    cluster_id = find_id(session.client, "/clusters", which)
    body = body_from(session.client, (NAMESPACE,), given)
    _show(session, session.client.post(f"/clusters/{cluster_id}/connect/test", body), leave_out=("allowed",))


@cluster.command()
@click.argument("which", metavar="ID|NAME")
@options(CONNECTION)
@client_command
def connection(session: Session, which: str, **given: Any) -> None:
    """Reach a cluster in another way from now on; the targets on it are looked at again."""
    cluster_id = find_id(session.client, "/clusters", which)
    body = body_from(session.client, CONNECTION, given)
    if not body:
        raise click.UsageError("give --kubeconfig-file, or --endpoint with a credential")
    document = session.client.put(f"/clusters/{cluster_id}/connection", body)
    _show(session, document, leave_out=("last_check", "targets_failing"))
    for one in document["targets_failing"]:
        access = one["cluster_access"]
        click.echo(
            safe_text.line(f"target {one['name']} fails: {access['error_key']}: {access['detail']}"), err=True
        )


@cluster.command()
@click.option(
    "--within", "days", type=click.IntRange(0, 36500), default=30, show_default=True, metavar="DAYS"
)
@options((IN_PROJECT,))
@client_command
def expiring(session: Session, days: int, **given: Any) -> None:
    """List the clusters whose credential has ended or will, the first to end first."""
    before = datetime.now(UTC) + timedelta(days=days)
    query = body_from(session.client, (IN_PROJECT,), given)
    page = session.client.pages(
        "/clusters", sort="credential_expires_at", expires_before=before.isoformat(), **query
    )
    if session.as_json:
        output.as_json(page)
    else:
        output.table(page["items"], EXPIRING)


def _made(session: Session, path: str, fields: Sequence[Field], given: dict[str, Any]) -> None:
    document = session.client.post(path, body_from(session.client, fields, given))
    _show(session, document, leave_out=("last_check",))


def _show(session: Session, document: dict[str, Any], leave_out: Sequence[str]) -> None:
    if session.as_json:
        output.as_json(document)
    else:
        output.fields(document, leave_out)


def _view(name: str, columns: Sequence[str], purpose: str, *, is_namespaced: bool = True) -> click.Command:
    def add_options(function: Callable[..., Any]) -> Callable[..., Any]:
        return click.option("--namespace", help="All when left out.")(function) if is_namespaced else function

    @click.command(name, help=purpose)
    @click.argument("which", metavar="ID|NAME")
    @add_options
    @click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
    @client_command
    def view(session: Session, which: str, limit: int, namespace: str | None = None) -> None:
        cluster_id = find_id(session.client, "/clusters", which)
        page = session.client.pages(f"/clusters/{cluster_id}/{name}", limit, namespace=namespace)
        if session.as_json:
            output.as_json(page)
        else:
            output.table(page["items"], columns, more=bool(page.get("next")))

    return view


cluster.add_command(
    _view("namespaces", ("name", "status", "created_at"), "List its namespaces.", is_namespaced=False)
)
cluster.add_command(
    _view("workloads", ("namespace", "kind", "name", "ready", "wanted", "images"), "List what runs in it.")
)
cluster.add_command(
    _view(
        "events",
        ("namespace", "last_seen", "type", "reason", "object", "count", "message"),
        "List the events that it keeps itself.",
    )
)
