# SPDX-License-Identifier: Apache-2.0
"""What an install made on a host, written down before it is made: so that a rollback takes away that, and no more."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import shutil
import subprocess
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..host import state_folder
from ..release.errors import ReleaseError
from . import earlier_state, external_etcd, hook
from .own_files import SYSTEMD, digest, is_own, keep, read_hosts, write_hosts

ADMIN = "/etc/kubernetes/admin.conf"
CRI_SOCKET = "unix:///run/containerd/containerd.sock"
# Folders that a cluster's programs make, beside those of the runtime.
OWN_DATA = ("/etc/kubernetes", "/var/lib/cni", "/var/lib/etcd", "/var/lib/kubelet")
# Why a thing is left that is no more ours to take away.
_GIVEN_UP = ("somebody changed it since", "images and volumes may be somebody's")
# A folder is removed only below these.
_OWN = ("/usr/local/lib/tidegate/",)
# What an entry tells beside what the thing is.
_BESIDE = ("was", "unread", "content")


class Journal:
    """The entries of this host, in the order in which things were made. Each has a `step`, a `kind` and a `name`; the
    `task` that made the thing, or changed it last; and of one that was changed what it was before that, as `earlier`.

    `task` names who works now. `undoes` are the tasks that an undo is about; None is whoever made anything. `secrets`
    are inputs that a rollback hook is given, and that are kept on no host.
    """

    def __init__(
        self,
        file: str = "",
        task: str = "",
        undoes: Optional[Sequence[str]] = None,
        secrets: Optional[Dict[str, Any]] = None,
    ) -> None:
        self._file = file or state_folder.path("environment.json")
        self._task, self._undoes, self._secrets = task, undoes, secrets or {}
        self.entries: List[Dict[str, Any]] = []
        try:
            with open(self._file, encoding="utf-8") as kept:
                self.entries = json.load(kept)["entries"]
        except (OSError, ValueError, KeyError):
            pass

    def find(self, kind: str, name: str) -> Dict[str, Any]:
        """The entry of a thing; empty when it is not ours."""
        return next((one for one in self.entries if (one["kind"], one["name"]) == (kind, name)), {})

    def note(
        self, step: str, kind: str, name: str, current: Optional[Dict[str, Any]] = None, **more: Any
    ) -> None:
        """Write an entry down. What was known of the thing is kept where `more` does not say otherwise; where another
        task made it, all of it is, with `current`: what there is of it now."""
        known = self.find(kind, name)
        entry = {**known, "step": step, "kind": kind, "name": name, **more}
        if entry == known:
            return
        is_other = any(known.get(part) != value for part, value in more.items() if part not in _BESIDE)
        if self._task and not known:
            entry["task"] = self._task
        elif self._task and is_other and known.get("task") != self._task:
            entry.update(task=self._task, earlier={**known, **(current or {})})
        if known:
            self.entries[self.entries.index(known)] = entry
        else:
            self.entries.append(entry)
        self._save()

    def is_unread(self, step: str) -> bool:
        """Whether a step wrote something, a setting or a unit, that no program has read since, as far as is known."""
        return any(one.get("unread") for one in self.entries if one["step"] == step)

    def all_read(self, step: str) -> None:
        """What a step wrote is in force."""
        unread = [one for one in self.entries if one["step"] == step and one.get("unread")]
        for entry in unread:
            entry["unread"] = False
        if unread:
            self._save()

    def undo(self, step: str) -> Tuple[List[str], List[str]]:
        """Take away what a step made, the last first; answers what was undone, and what was left and why.

        What is somebody else's by now is given up; what failed stays written down, to be tried again.
        """
        undone, left = self._give_back(step)
        taken = [one for one in reversed(self.entries) if one["step"] == step and self._goes(one)]
        for entry in taken:
            given = {**entry, "secrets": self._secrets} if entry["kind"] == "hook" else entry
            why = _UNDO[entry["kind"]](given)
            (left if why else undone).append(f"{entry['kind']} {entry['name']}" + (f": {why}" if why else ""))
            if not why or why.startswith(_GIVEN_UP):
                self.entries.remove(entry)
                self._save()
        if any(one["kind"] == "unit" for one in taken):
            run("systemctl", "daemon-reload")
        return undone, left

    @property
    def undoes_some(self) -> bool:
        """Whether an undo is about some tasks, and what others made stays."""
        return self._undoes is not None

    def takes(self, kind: str, name: str) -> bool:
        """Whether an undo takes a thing away: nobody made it but the tasks that are undone."""
        return self._goes(self.find(kind, name))

    def gives_back(self) -> List[Dict[str, Any]]:
        """The entries of what an undo brings back to what an earlier task had made of it."""
        return [one for one in self.entries if self._is_undone(one) and not self._goes(one)]

    def taken(self) -> List[Dict[str, Any]]:
        """The entries of what an undo takes away."""
        return [one for one in self.entries if self._goes(one)]

    def _is_undone(self, entry: Dict[str, Any]) -> bool:
        return self._undoes is None or entry.get("task") in self._undoes

    def _goes(self, entry: Dict[str, Any]) -> bool:
        while entry and self._is_undone(entry):
            if self._undoes is None or not entry.get("earlier"):
                return True
            entry = entry["earlier"]
        return False

    def _is_beneath(self, entry: Dict[str, Any]) -> bool:
        """Whether a thing is of the tasks that are undone, beneath what another did to it after them."""
        if self._is_undone(entry):
            return False
        while entry.get("earlier"):
            entry = entry["earlier"]
            if self._is_undone(entry):
                return True
        return False

    def _give_back(self, step: str) -> Tuple[List[str], List[str]]:
        """Bring what was changed back to what it was before the tasks that are undone; its programs start anew."""
        undone: List[str] = []
        left = [
            f"{one['kind']} {one['name']}: {one.get('task')} changed it since"
            for one in self.entries
            if one["step"] == step and self._is_beneath(one)
        ]
        for entry in [one for one in self.gives_back() if one["step"] == step]:
            back = entry["earlier"]
            while self._is_undone(back):
                back = back["earlier"]
            why, name = earlier_state.give_back(entry, back), f"{entry['kind']} {entry['name']}"
            if why:
                left.append(f"{name}: {why}")
                continue
            undone.append(f"{name}, which is as it was before")
            self.entries[self.entries.index(entry)] = {**back, "unread": True}
            self._save()
        if self._undoes is not None and self.is_unread(step):
            left += self._read_again(step)
        return undone, left

    def _read_again(self, step: str) -> List[str]:
        """Start the units of a step anew that stay and run. Answers what does not start, and why."""
        its = [one for one in self.entries if (one["step"], one["kind"]) == (step, "unit")]
        units = [one["name"] for one in its if not self._goes(one)]
        if units:
            run("systemctl", "daemon-reload")
        left = []
        for name in units:
            done = run("systemctl", "try-restart", name)
            if done.returncode != 0:
                left.append(f"unit {name}: it does not start again: {done.stderr.strip()[-200:]}")
        if not left:
            self.all_read(step)
        return left

    def take_back(self, kind: str, name: str) -> str:
        """Undo one thing alone. Answers why it could not be, or nothing."""
        entry = self.find(kind, name)
        why = _UNDO[kind](entry) if entry else ""
        if entry and not why:
            self.entries.remove(entry)
            self._save()
        return why

    def forget(self, kind: str, name: str) -> None:
        """Drop the entry of a thing that went in another way."""
        entry = self.find(kind, name)
        if entry:
            self.entries.remove(entry)
            self._save()

    def _save(self) -> None:
        os.makedirs(os.path.dirname(self._file), mode=0o755, exist_ok=True)
        making = self._file + ".making"
        with open(
            making, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)
        ) as out:
            json.dump({"entries": self.entries}, out, indent=1)
            out.flush()
            os.fsync(out.fileno())
        os.replace(making, self._file)
        keep(os.path.dirname(self._file))


def run(*argv: str, timeout: int = 120) -> "subprocess.CompletedProcess[str]":
    """Run a program and wait; never raises for its exit code."""
    try:
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout, check=False, env=_environment()
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(argv, 127, "", f"{argv[0]} is not there")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"{argv[0]} took longer than {timeout} s")


def _environment() -> Dict[str, str]:
    """What is installed is found first; sudo may know another path, or none."""
    own = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {**os.environ, "PATH": own, "LC_ALL": "C"}


def _undo_file(entry: Dict[str, Any]) -> str:
    path = entry["name"]
    if not os.path.lexists(path):
        return ""
    if not is_own(entry, "sha256", digest(path)):
        return "somebody changed it since"
    os.unlink(path)
    return ""


def _undo_link(entry: Dict[str, Any]) -> str:
    if not os.path.lexists(entry["name"]):
        return ""
    if not os.path.islink(entry["name"]) or not is_own(entry, "target", os.readlink(entry["name"])):
        return "somebody changed it since"
    os.unlink(entry["name"])
    return ""


def _undo_folder(entry: Dict[str, Any]) -> str:
    path = entry["name"]
    if entry.get("with_content"):
        if not path.startswith(_OWN):
            return "it is none of Tidegate's"
        shutil.rmtree(path, ignore_errors=True)
        return ""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError:
        return "it is not empty"
    return ""


def _undo_unit(entry: Dict[str, Any]) -> str:
    name = entry["name"]
    done = run("systemctl", "stop", name)
    run("systemctl", "disable", name)
    path = os.path.join(SYSTEMD, name)
    if digest(path) and not is_own(entry, "sha256", digest(path)):
        return "somebody changed it since: it was stopped, and left"
    if os.path.lexists(path):
        os.unlink(path)
    run("systemctl", "reset-failed", name)
    return "" if done.returncode in (0, 5) else f"it did not stop: {done.stderr.strip()[-200:]}"


def _undo_group(entry: Dict[str, Any]) -> str:
    try:
        if grp.getgrnam(entry["name"]).gr_mem:
            return "it has members"
    except KeyError:
        return ""
    done = run("groupdel", entry["name"])
    return "" if done.returncode == 0 else done.stderr.strip()[-200:]


def _undo_interface(entry: Dict[str, Any]) -> str:
    if not os.path.exists(os.path.join("/sys/class/net", entry["name"])):
        return ""
    done = run("ip", "link", "delete", entry["name"])
    return "" if done.returncode == 0 else done.stderr.strip()[-200:]


def _undo_made(entry: Dict[str, Any]) -> str:
    if os.path.isfile(entry["name"]):
        os.unlink(entry["name"])
    return ""


def _undo_image(entry: Dict[str, Any]) -> str:
    done = run("docker", "image", "rm", entry["name"])
    return "" if done.returncode == 0 or "No such image" in done.stderr else done.stderr.strip()[-200:]


def _undo_hook(entry: Dict[str, Any]) -> str:
    asked, context = entry.get("hidden") or [], entry["context"]
    missing = [name for name in asked if name not in entry["secrets"]]
    if missing:
        return f"secret inputs are kept on no host: give {', '.join(missing)} again"
    secrets = {name: entry["secrets"][name] for name in asked}
    try:
        given = {**context, "inputs": {**context["inputs"], **secrets}}
        ran = hook.run(entry["path"], entry["sha256"], given, entry["timeout"])
        hook.outcome(ran, [])
    except ReleaseError as error:
        return str(error)
    return ""


def _undo_data(entry: Dict[str, Any]) -> str:
    if not os.path.isdir(entry["name"]) or not os.listdir(entry["name"]):
        return ""
    return "images and volumes may be somebody's: delete it yourself"


def _undo_hosts_line(entry: Dict[str, Any]) -> str:
    lines = read_hosts()
    if entry["line"] in lines:
        write_hosts([one for one in lines if one != entry["line"]])
    return ""


def _undo_sysctl(entry: Dict[str, Any]) -> str:
    path = os.path.join("/proc/sys", *entry["name"].split("."))
    try:
        with open(path, encoding="utf-8") as file:
            if file.read().strip() != entry["value"]:
                return "somebody changed it since"
        with open(path, "w", encoding="utf-8") as file:
            file.write(entry["before"])
    except OSError as error:
        return str(error)
    return ""


def _undo_cluster_image(entry: Dict[str, Any]) -> str:
    done = run("ctr", "--namespace", "k8s.io", "images", "remove", "--sync", entry["name"])
    return "" if done.returncode == 0 or "not found" in done.stderr else done.stderr.strip()[-200:]


def _undo_kubeadm(_entry: Dict[str, Any]) -> str:
    done = run("kubeadm", "reset", "--force", "--cri-socket", CRI_SOCKET, timeout=300)
    run("systemctl", "stop", "kubelet.service")
    # What a rotation of certificates keeps is of no use to another cluster.
    shutil.rmtree(state_folder.path("certificates"), ignore_errors=True)
    return "" if done.returncode == 0 else f"kubeadm reset: {(done.stderr or done.stdout).strip()[-300:]}"


def _undo_external_etcd(entry: Dict[str, Any]) -> str:
    """It was empty before: what is in it is of the cluster that began in it."""
    return external_etcd.clear(entry["endpoints"], entry.get("cluster") or "")


def _undo_cordon(entry: Dict[str, Any]) -> str:
    """A node that was to leave takes pods again; where its cluster is gone, that went with it."""
    if not os.path.isfile(ADMIN):
        return ""
    done = run("kubectl", "--kubeconfig", ADMIN, "--request-timeout=10s", "uncordon", entry["name"])
    return "" if done.returncode == 0 or "not found" in done.stderr else done.stderr.strip()[-200:]


def _undo_own_data(entry: Dict[str, Any]) -> str:
    """What programs of ours wrote in a folder that was not there, or empty, before."""
    path = entry["name"]
    if path not in OWN_DATA:
        return "it is none of Tidegate's"
    for name in os.listdir(path) if os.path.isdir(path) else ():
        inner = os.path.join(path, name)
        if os.path.islink(inner) or not os.path.isdir(inner):
            os.unlink(inner)
        else:
            shutil.rmtree(inner, ignore_errors=True)
    if not entry["was_there"] and os.path.isdir(path) and not os.path.ismount(path):
        with contextlib.suppress(OSError):
            os.rmdir(path)
    return "something in it is in use" if os.path.isdir(path) and os.listdir(path) else ""


def _undo_packet_filter(entry: Dict[str, Any]) -> str:
    for family in ("ip", "ip6"):
        run("nft", "delete", "table", family, "kube-proxy")
    kept = run("iptables-save").stdout
    return "its rules of the packet filter stay until the next boot" if entry["name"] in kept else ""


_UNDO = {
    "file": _undo_file,
    "link": _undo_link,
    "folder": _undo_folder,
    "unit": _undo_unit,
    "group": _undo_group,
    "interface": _undo_interface,
    "made": _undo_made,
    "image": _undo_image,
    "data": _undo_data,
    "hook": _undo_hook,
    "hosts_line": _undo_hosts_line,
    "sysctl": _undo_sysctl,
    "cluster_image": _undo_cluster_image,
    "kubeadm": _undo_kubeadm,
    "external_etcd": _undo_external_etcd,
    "cordon": _undo_cordon,
    "own_data": _undo_own_data,
    "packet_filter": _undo_packet_filter,
}
