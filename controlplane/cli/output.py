# SPDX-License-Identifier: Apache-2.0
"""How answers are shown: tables for people, JSON for scripts. Server text passes `safe_text` on its way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controlplane.cli import safe_text

GOOD = frozenset({"applied", "approved", "success", "pinned", "ready", "succeeded", "healthy", "active"})
BAD = frozenset(
    {"failed", "rejected", "expired", "preview_failed", "mismatch", "blocking", "critical", "high"}
)
BUSY = frozenset(
    {"applying", "running", "pending", "pending_approval", "previewing", "queued", "warning", "medium"}
)


def console(*, stderr: bool = False) -> Console:
    """Return a console that neither reads markup nor guesses at links or numbers in server text."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def as_json(document: Any) -> None:
    """Print a document as JSON. Escapes are ASCII, so that no byte of it steers a terminal."""
    click.echo(json.dumps(document, indent=2))


def say(text: str) -> None:
    """Print a sentence that holds server text."""
    click.echo(safe_text.line(text))


def block(text: str) -> None:
    """Print several lines of text that may hold what others wrote."""
    click.echo(safe_text.block(text))


def styled(value: Any) -> Text:
    """Return a value as it is shown in a cell, coloured where it is a state."""
    if isinstance(value, Mapping | list | tuple):
        value = json.dumps(value, ensure_ascii=False)
    text = safe_text.line(value)
    style = "green" if text in GOOD else "red" if text in BAD else "yellow" if text in BUSY else ""
    return Text(text, style=style)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, more: bool = False) -> None:
    """Print rows as a table of these columns."""
    if not rows:
        click.echo("none", err=True)
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column.replace("_", " "), overflow="fold", no_wrap=column.endswith("id"))
    for row in rows:
        shown.add_row(*(styled(row.get(column)) for column in columns))
    Console(markup=False, highlight=False, emoji=False).print(shown)
    if more:
        click.echo("there are more: --limit N, or --json and `next`", err=True)


def fields(document: Mapping[str, Any], leave_out: Sequence[str] = ()) -> None:
    """Print a document's fields, one a line."""
    shown = Table.grid(padding=(0, 2))
    shown.add_column(style="bold")
    shown.add_column(overflow="fold")
    for name, value in document.items():
        if name not in leave_out and value not in (None, {}, []):
            shown.add_row(safe_text.line(name), styled(value))
    Console(markup=False, highlight=False, emoji=False).print(shown)


def problem(document: Mapping[str, Any]) -> None:
    """Print a problem document to standard error: key, detail, hint, then each field's errors."""
    out = console(stderr=True)
    key = safe_text.line(document.get("error_key", "error"))
    out.print(Text.assemble((key, "bold red"), ": ", safe_text.line(document.get("detail", ""))))
    for path, message in _field_errors(document.get("errors") or {}):
        out.print(f"  {safe_text.line(path)}: {safe_text.line(message)}")
    for name in ("moved", "states", "holder"):
        if document.get(name):
            out.print(f"  {name}: {safe_text.line(document[name])}")
    if document.get("hint"):
        out.print(Text(f"  hint: {safe_text.line(document['hint'])}", style="cyan"))
    if document.get("request_id") and int(document.get("status", 0)) >= 500:
        out.print(f"  request id: {safe_text.line(document['request_id'])}")


def _field_errors(errors: Any, path: str = "") -> list[tuple[str, str]]:
    if isinstance(errors, Mapping):
        return [
            found
            for name, inner in errors.items()
            for found in _field_errors(inner, f"{path}.{name}" if path else str(name))
        ]
    if isinstance(errors, list):
        return [found for inner in errors for found in _field_errors(inner, path)]
    return [(path, str(errors))]
