# SPDX-License-Identifier: Apache-2.0
"""Kubeconfigs that mean harm or are broken: each with the error key that it has to be refused with, and where."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

# No secret of anybody's; long enough to be found wherever it might be repeated.
TOKEN = "canary-7d40-token-of-a-hostile-kubeconfig"
PEM = "-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n"
UNSAFE, INVALID, ENDPOINT = "kubeconfig_unsafe", "kubeconfig_invalid", "endpoint_invalid"
CLUSTER, USER, CONTEXT = "clusters[0].cluster", "users[0].user", "contexts[0].context"


class Hostile(NamedTuple):
    """A text, the error key, and a member that `errors` has to have."""

    name: str
    text: str
    key: str
    where: str


def data(text: str) -> str:
    """Return a text as a `-data` field has it."""
    return base64.b64encode(text.encode()).decode()


def plain(server: str) -> dict[str, Any]:
    """Return a kubeconfig with nothing wrong, whose endpoint is this."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def hostile(server: str, marker: str) -> list[Hostile]:
    """Return them all. `server` is an endpoint that counts who comes; `marker` a file that none may make."""
    run = {"apiVersion": "client.authentication.k8s.io/v1", "command": "/usr/bin/touch", "args": [marker]}
    found: list[Hostile] = []

    def with_(name: str, key: str, where: str, change: Callable[[dict[str, Any]], Any]) -> None:
        document = deepcopy(plain(server))
        change(document)
        found.append(Hostile(name, json.dumps(document), key, where))

    def cluster(name: str, key: str, where: str, **fields: Any) -> None:
        with_(name, key, where, lambda one: one["clusters"][0]["cluster"].update(_named(fields)))

    def user(name: str, key: str, where: str, **fields: Any) -> None:
        with_(name, key, where, lambda one: one["users"][0]["user"].update(_named(fields)))

    # It would run a program, read a file, or go another way.
    user("exec", UNSAFE, f"{USER}.exec", exec=run)
    user("an empty exec", UNSAFE, f"{USER}.exec", exec=None)
    user(
        "an auth provider",
        UNSAFE,
        f"{USER}.auth-provider",
        auth_provider={"name": "gcp", "config": {"cmd-path": "/bin/sh"}},
    )
    user("a token file", UNSAFE, f"{USER}.tokenFile", tokenFile="/etc/shadow")
    user("a certificate file", UNSAFE, f"{USER}.client-certificate", client_certificate="/etc/shadow")
    user("a key file", UNSAFE, f"{USER}.client-key", client_key="/root/.ssh/id_ed25519")
    cluster(
        "an authority file", UNSAFE, f"{CLUSTER}.certificate-authority", certificate_authority="/etc/shadow"
    )
    cluster("a proxy", UNSAFE, f"{CLUSTER}.proxy-url", proxy_url="socks5://192.0.2.1:1080")
    cluster("no verification", UNSAFE, f"{CLUSTER}.insecure-skip-tls-verify", insecure_skip_tls_verify=True)
    with_(
        "exec in a user that is not chosen",
        UNSAFE,
        "users[1].user.exec",
        lambda one: one["users"].append({"name": "other", "user": {"exec": run}}),
    )
    with_(
        "a proxy in a cluster that is not chosen",
        UNSAFE,
        "clusters[1].cluster.proxy-url",
        lambda one: one["clusters"].append(
            {"name": "o", "cluster": {"server": server, "proxy-url": "http://x"}}
        ),
    )
    # Its shape.
    with_("another kind", INVALID, "kind", lambda one: one.update(kind="Secret"))
    with_("another version", INVALID, "apiVersion", lambda one: one.update(apiVersion="v2"))
    with_("users that are a mapping", INVALID, "users", lambda one: one.update(users={"u": {"exec": run}}))
    with_("a cluster that is a text", INVALID, "clusters[0]", lambda one: one.update(clusters=["c"]))
    with_("a user that is a list", INVALID, "users[0].user", lambda one: one["users"][0].update(user=[run]))
    with_("a name that is a number", INVALID, "users[0].name", lambda one: one["users"][0].update(name=7))
    with_(
        "a name twice", INVALID, "users[1].name", lambda one: one["users"].append(deepcopy(one["users"][0]))
    )
    with_("many clusters", INVALID, "clusters", lambda one: one.update(clusters=one["clusters"] * 101))
    with_("no context", INVALID, "current-context", lambda one: one.pop("current-context"))
    with_("an unknown context", INVALID, "current-context", lambda one: one.update({"current-context": "y"}))
    with_("a context without its user", INVALID, f"{CONTEXT}.user", lambda one: one["users"].clear())
    with_("a context without its cluster", INVALID, f"{CONTEXT}.cluster", lambda one: one["clusters"].clear())
    with_(
        "a namespace that is a path",
        INVALID,
        f"{CONTEXT}.namespace",
        lambda one: one["contexts"][0]["context"].update(namespace="../../kube-system"),
    )
    # Its credential.
    user("a password", INVALID, f"{USER}.username", username="admin", password=TOKEN)
    user("somebody else", INVALID, f"{USER}.as", **{"as": "system:admin"})
    user("other groups", INVALID, f"{USER}.as-groups", as_groups=["system:masters"])
    user("an unknown field", INVALID, f"{USER}.Exec", Exec=run)
    user("a line break in the token", INVALID, f"{USER}.token", token=f"{TOKEN}\r\nHost: elsewhere")
    user("a control character in the token", INVALID, f"{USER}.token", token=f"{TOKEN}\x07")
    user("a huge token", INVALID, f"{USER}.token", token=TOKEN * 1000)
    user("a token that is a number", INVALID, f"{USER}.token", token=12345)
    user("two credentials", INVALID, USER, client_certificate_data=data(PEM), client_key_data=data(PEM))
    user(
        "a certificate without key",
        INVALID,
        f"{USER}.client-key-data",
        token="",
        client_certificate_data=data(PEM),
    )
    user("no credential", INVALID, USER, token="")
    user(
        "a certificate that is no base 64",
        INVALID,
        f"{USER}.client-certificate-data",
        client_certificate_data="/etc/shadow",
    )
    cluster(
        "an authority that is no PEM",
        INVALID,
        f"{CLUSTER}.certificate-authority-data",
        certificate_authority_data=data("file:///etc/shadow"),
    )
    cluster(
        "an authority that is a list",
        INVALID,
        f"{CLUSTER}.certificate-authority-data",
        certificate_authority_data=[PEM],
    )
    cluster("an authority that is none", "certificate_invalid", "ca", certificate_authority_data=data(PEM))
    cluster(
        "verification that is a word",
        INVALID,
        f"{CLUSTER}.insecure-skip-tls-verify",
        insecure_skip_tls_verify="yes!",
    )
    cluster(
        "a server name that is a URL", INVALID, f"{CLUSTER}.tls-server-name", tls_server_name="https://a/b"
    )
    # Where it leads.
    for server_ in (
        "http://192.0.2.1", "https://user:word@192.0.2.1", "https://a@192.0.2.1", "file:///etc/shadow",
        "192.0.2.1:6443",
        "unix:///run/docker.sock", "https://192.0.2.1?x=1", "https://192.0.2.1/#x", "https://192.0.2.1/a/../b",
        "https://192.0.2.1/%2e%2e/x", "https://192.0.2.1\\@10.0.0.1", "https://192.0.2.1:0", "https://192.0.2.1:99999",
        "https://127.1", "https://0x7f000001", "https://2130706433", "https://0177.0.0.1", "https://127.0.0.1.",
        "https://[fe80::1%25eth0]", "https://", "https://a b", "https://a\nb", "https://" + "a" * 300, "https://[::1",
        "https://ⓛocalhost", 7, None, ["https://192.0.2.1"],
    ):  # fmt: skip
        cluster(f"server {str(server_)[:40]!r}", ENDPOINT, "endpoint", server=server_)
    for server_ in (
        "https://127.0.0.1:6443", "https://localhost", "https://[::1]", "https://[::ffff:127.0.0.1]", "https://0.0.0.0",
        "https://[::]", "https://169.254.169.254", "https://[::ffff:169.254.169.254]", "https://[fd00:ec2::254]",
        "https://[fe80::1]", "https://100.100.100.200", "https://168.63.129.16", "https://224.0.0.1", "https://[ff02::1]",
        "https://255.255.255.255", "https://[64:ff9b::7f00:1]", "https://[2002:7f00:1::]", "https://[::127.0.0.1]",
        server,
    ):  # fmt: skip
        cluster(f"address {server_}", ENDPOINT, "endpoint", server=server_)
    # As text.
    good = json.dumps(plain(server))
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(12)
    )
    for name, text in (
        ("an alias bomb", bomb), ("a cyclic anchor", "clusters: &a [*a]"), ("an anchor", "kind: &a Config"),
        ("a key twice", 'kind: Config\nusers: []\nusers: [{"name": "u"}]'), ("two documents", f"{good}\n---\n{good}"),
        ("no document", "# nothing\n"), ("a tag that makes an object", "!!python/object/apply:os.system ['id']"),
        ("a tag within", "users: !!python/name:os.system []"), ("no YAML", "{{{"), ("a list in a key", "? [a]\n: b"),
        ("very deep", "[" * 5000), ("many nodes", "users: [" + "[]," * 30_000 + "]"), ("a merge", "<<: [1]\n"),
        ("huge", good + " " * 300_000), ("a control character", 'kind: "a\x07b"'),
    ):  # fmt: skip
        where = "kubeconfig"
        found.append(Hostile(name, text, INVALID, where))
    found.append(Hostile("a list", "[]", INVALID, "kubeconfig"))
    found.append(Hostile("a text", "words", INVALID, "kubeconfig"))
    return found


def _named(fields: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in fields.items()}
