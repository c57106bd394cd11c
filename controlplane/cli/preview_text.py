# SPDX-License-Identifier: Apache-2.0
"""A preview and a failure's diagnostics, as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from controlplane.cli import output, safe_text

SIGNS = {"add": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red"), "none": (" ", "dim")}
LEVELS = {"blocking": "red", "warning": "yellow", "info": "dim"}


def preview(document: Mapping[str, Any]) -> None:
    """Print what would change on each host, the checks, the risk, and the reference to apply."""
    out = output.console()
    hosts = document.get("hosts") or {}
    for name, host in _named(hosts):
        out.print(Text(f"host {name}", style="bold"))
        for service in host.get("services") or []:
            _service(service)
    for check in document.get("checks") or []:
        level = safe_text.line(check.get("level"))
        out.print(
            Text.assemble(
                (level, LEVELS.get(level, "")),
                f" {safe_text.line(check.get('code'))}: {safe_text.line(check.get('message'))}",
            )
        )
        if check.get("hint"):
            out.print(Text(f"  hint: {safe_text.line(check['hint'])}", style="cyan"))
    if document.get("strategy"):
        out.print(f"strategy {safe_text.line(document['strategy'])}")
    reasons = ", ".join(safe_text.line(reason) for reason in document.get("risk_reasons") or [])
    out.print(Text.assemble("risk ", output.styled(document.get("risk_level")), f"  {reasons}"))
    if document.get("preview_ref"):
        out.print(f"preview_ref {safe_text.line(document['preview_ref'])}")
        out.print(f"expires {safe_text.line(document.get('preview_expires_at'))}")
        out.print(f"digest {safe_text.line(document.get('preview_digest'))}")


def diagnostics(document: Mapping[str, Any]) -> None:
    """Print what is known of a failure: where, which container, its last lines."""
    out = output.console()
    summary = safe_text.line(document.get("summary"))
    out.print(Text(summary, style="bold red"))
    out.print(
        f"  {safe_text.line(document.get('error_key'))} ({safe_text.line(document.get('failure_domain'))})"
    )
    for host in document.get("hosts") or []:
        name, step, code = (safe_text.line(host.get(key)) for key in ("host", "step", "exit_code"))
        out.print(f"  host {name}: {step}, exit code {code}")
        _tail(host.get("stderr_tail"))
    for thing in document.get("objects") or []:
        words = [
            f"{key} {safe_text.line(thing[key])}"
            for key in ("container", "state", "exit_code", "health")
            if thing.get(key) is not None
        ]
        out.print(f"  service {safe_text.line(thing.get('service'))}: {', '.join(words)}")
        _tail(thing.get("health_log"))
        _tail(thing.get("log_tail"))
    for hint in document.get("hints") or []:
        out.print(Text(f"  hint: {safe_text.line(hint)}", style="cyan"))


def _service(service: Mapping[str, Any]) -> None:
    out = output.console()
    sign, style = SIGNS.get(str(service.get("action")), ("?", ""))
    out.print(Text(f"  {sign} {safe_text.line(service.get('name'))}", style=style))
    for change in service.get("changes") or []:
        before, after = safe_text.line(change.get("before"), 200), safe_text.line(change.get("after"), 200)
        out.print(f"      {safe_text.line(change.get('path'))}: {before} -> {after}")


def _named(hosts: Any) -> list[tuple[str, Mapping[str, Any]]]:
    if isinstance(hosts, Mapping):
        return [(safe_text.line(name), host) for name, host in hosts.items() if isinstance(host, Mapping)]
    return [(safe_text.line(host.get("host")), host) for host in hosts if isinstance(host, Mapping)]


def _tail(text: Any) -> None:
    if text:
        for part in safe_text.block(text).rstrip().split("\n")[-20:]:
            output.console().print(Text(f"    | {part}", style="dim"))
