# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes API of a test's own: etcd, kube-apiserver and kube-controller-manager, ready in seconds.

Deployments make ReplicaSets and those make Pods, which stay Pending: nothing runs them. KubeCluster
(kube_cluster.py) adds a node that does.
"""

from __future__ import annotations

import contextlib
import http.client
import secrets
import socket
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import kube_assets, kube_credentials
from .command import LabError, run
from .kube_certificates import Authority, Pair, new_token_key
from .kube_processes import Processes

SERVICES = "10.96.0.0/16"
PODS = "10.244.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


def missing() -> list[str]:
    """The programs that an API server needs and that are not there."""
    return kube_assets.missing()


class KubeApi:
    """One API server with its own etcd, controllers, authority and folder; RBAC is on.

    It listens on `address` only: loopback, or an address of this machine in a lab's network. The process
    (and the thread) that starts it must outlive it: it dies with them. Every file is below `folder`, in memory.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address
        self.port = 0
        self.authority = Authority()
        self._processes: Processes | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until objects can be made in the namespace `default`.

        Raises LabError when programs are missing or one of them does not start.
        """
        if absent := kube_assets.why_not():
            raise LabError(absent)
        self._processes = Processes()
        try:
            self._write_certificates()
            self._start_etcd()
            self._start_api_server()
            self._start_controllers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process and remove every file. A second time does nothing."""
        if self._processes is not None:
            self._processes.stop()
            self._processes = None

    # What a client needs

    @property
    def endpoint(self) -> str:
        """The URL of the API."""
        return f"https://{self.address}:{self.port}"

    @property
    def ca(self) -> str:
        """The certificate of the authority that signed the server's, PEM."""
        return self.authority.pair.certificate

    @property
    def folder(self) -> Path:
        """Where the cluster keeps its files while it runs."""
        return self.processes.folder

    @property
    def processes(self) -> Processes:
        """The running programs. Raises LabError when there are none."""
        if self._processes is None:
            raise LabError("the API server was not started")
        return self._processes

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "admin.kubeconfig"

    def kubeconfig_for(
        self,
        name: str,
        namespace: str,
        rules: Sequence[dict[str, Any]],
        *,
        kind: kube_credentials.Kind = "token",
        cluster_rules: Sequence[dict[str, Any]] = (),
        seconds: int = 3600,
    ) -> Path:
        """A kubeconfig for someone who may do what `rules` say in `namespace`, and nothing else.

        `rules` and `cluster_rules` are RBAC policy rules (`{"apiGroups": [""], "resources": ["pods"],
        "verbs": ["get"]}`). A `token` is a service account's, made in the namespace, and expires after `seconds`
        (600 at least); a `certificate` is a user's. The namespace is made when it is missing; asked a second
        time, the rules are the new ones.
        """
        kube_credentials.grant(self, name, namespace, rules, cluster_rules, kind)
        if kind == "token":
            words = ["create", "token", name, "-n", namespace, f"--duration={seconds}s"]
            token = self.kubectl(words).stdout.strip()
            text = kube_credentials.kubeconfig(self.endpoint, self.ca, token=token, namespace=namespace)
        else:
            pair = self.authority.issue(name)
            text = kube_credentials.kubeconfig(self.endpoint, self.ca, pair=pair, namespace=namespace)
        return self._write(f"{namespace}-{name}-{kind}.kubeconfig", text)

    def kubectl(
        self,
        arguments: Sequence[str],
        *,
        check: bool = True,
        input: str | None = None,
        kubeconfig: Path | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator, or as whom `kubeconfig` names."""
        words = [str(kube_assets.program("kubectl")), "--kubeconfig", str(kubeconfig or self.kubeconfig)]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder)}
        return run([*words, *arguments], check=check, text=input, timeout=timeout, env=environment)

    def client(self, kubeconfig: Path | None = None) -> Any:
        """A `kubernetes.client.ApiClient` of the administrator, or of whom `kubeconfig` names."""
        from kubernetes import client, config

        settings = client.Configuration()
        config.load_kube_config(str(kubeconfig or self.kubeconfig), client_configuration=settings)
        settings.proxy = None
        return client.ApiClient(settings)

    def new_namespace(self, prefix: str = "test") -> str:
        """Make a namespace that nobody else has, ready for pods; answers its name."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        self.kubectl(["create", "namespace", name])
        self.processes.wait("kube-controller-manager", lambda: self._has_account(name), 30)
        return name

    def delete_namespace(self, name: str) -> None:
        """Begin to delete a namespace and all in it; does not wait for the end."""
        self.kubectl(["delete", "namespace", name, "--wait=false", "--ignore-not-found"])

    # Starting

    def credential(self, name: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with a client certificate for one of the cluster's own parts."""
        pair = self.authority.issue(name, groups)
        text = kube_credentials.kubeconfig(self.endpoint, self.ca, pair=pair)
        return self._write(name.replace(":", "-") + ".kubeconfig", text)

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def _write_pair(self, name: str, pair: Pair) -> None:
        self._write(f"{name}.crt", pair.certificate)
        self._write(f"{name}.key", pair.key)

    def _write_certificates(self) -> None:
        private, public = new_token_key()
        self._write("tokens.key", private)
        self._write("tokens.pub", public)
        self._write_pair("ca", self.authority.pair)
        names = {*NAMES, self.address, "127.0.0.1", KUBERNETES_SERVICE}
        self._write_pair("server", self.authority.issue("kube-apiserver", addresses=sorted(names)))
        # The API server asks kubelets as this user for logs.
        self._write_pair(
            "kubelet-client", self.authority.issue("kube-apiserver-kubelet-client", ["system:masters"])
        )

    def _start_etcd(self) -> None:
        clients, peers = (f"unix://{self.folder}/{name}.sock" for name in ("etcd", "peers"))
        self.processes.start(
            "etcd",
            [
                f"--data-dir={self.folder}/etcd",
                f"--listen-client-urls={clients}",
                f"--listen-peer-urls={peers}",
                # The only member is looked up by nobody, and must give addresses with a port.
                "--advertise-client-urls=http://127.0.0.1:1",
                "--initial-advertise-peer-urls=http://127.0.0.1:1",
                "--initial-cluster=default=http://127.0.0.1:1",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
        )
        self.processes.wait("etcd", (self.folder / "etcd.sock").exists, 30)

    def _start_api_server(self) -> None:
        self.port = _free_port(self.address)
        folder = self.folder
        # An endpoint object may not hold a loopback address.
        reconciler = "none" if self.address.startswith("127.") else "lease"
        self.processes.start(
            "kube-apiserver",
            [
                f"--etcd-servers=unix://{folder}/etcd.sock",
                f"--bind-address={self.address}",
                f"--advertise-address={self.address}",
                f"--secure-port={self.port}",
                f"--endpoint-reconciler-type={reconciler}",
                f"--cert-dir={folder}",
                f"--tls-cert-file={folder}/server.crt",
                f"--tls-private-key-file={folder}/server.key",
                f"--client-ca-file={folder}/ca.crt",
                f"--kubelet-certificate-authority={folder}/ca.crt",
                f"--kubelet-client-certificate={folder}/kubelet-client.crt",
                f"--kubelet-client-key={folder}/kubelet-client.key",
                "--kubelet-preferred-address-types=InternalIP",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={folder}/tokens.pub",
                f"--service-account-signing-key-file={folder}/tokens.key",
                f"--service-cluster-ip-range={SERVICES}",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
                "--profiling=false",
            ],
        )
        admin = self.authority.issue("lab-admin", ["system:masters"])
        self._write_pair("admin", admin)
        self._write("admin.kubeconfig", kube_credentials.kubeconfig(self.endpoint, self.ca, pair=admin))
        self.processes.wait("kube-apiserver", lambda: self._answers("/readyz"), 90)

    def _start_controllers(self) -> None:
        folder = self.folder
        kubeconfig = self.credential("system:kube-controller-manager")
        self.processes.start(
            "kube-controller-manager",
            [
                f"--kubeconfig={kubeconfig}",
                "--secure-port=0",
                "--leader-elect=false",
                "--use-service-account-credentials=true",
                f"--root-ca-file={folder}/ca.crt",
                f"--service-account-private-key-file={folder}/tokens.key",
                f"--cluster-signing-cert-file={folder}/ca.crt",
                f"--cluster-signing-key-file={folder}/ca.key",
                # A test's hundred objects are not to wait for a polite client.
                "--kube-api-qps=200",
                "--kube-api-burst=400",
            ],
        )
        self.processes.wait("kube-controller-manager", lambda: self._has_account("default"), 60)

    def _has_account(self, namespace: str) -> bool:
        """Whether the namespace has its service account; it refuses pods before."""
        return self._answers(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")

    def _answers(self, path: str) -> bool:
        trust = ssl.create_default_context(cadata=self.ca)
        trust.load_cert_chain(self.folder / "admin.crt", self.folder / "admin.key")
        connection = http.client.HTTPSConnection(self.address, self.port, timeout=5, context=trust)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            return connection.getresponse().status == 200
        return False


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
