# SPDX-License-Identifier: Apache-2.0
"""How events of a release or an install are shown while they come: a live view in a terminal, else a line each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from controlplane.cli import safe_text

MARKS = {
    "success": ("✓", "green"),
    "failed": ("✗", "red"),
    "warning": ("!", "yellow"),
    "running": ("…", "cyan"),
}
_SHOWN_DETAIL = (
    "host",
    "step",
    "object",
    "progress",
    "duration_ms",
    "exit_code",
    "error_key",
    "waiting_for",
    "comment",
    "by",
    "moved",
)


class View(Protocol):
    """Whatever shows events."""

    def show(self, event: dict[str, Any]) -> None:
        """Show one event."""
        ...


def line(event: dict[str, Any]) -> Text:
    """Return an event as a line: time, mark, what happened, and what its detail says."""
    mark, style = MARKS.get(str(event.get("status")), ("·", ""))
    text = Text(f"{safe_text.line(event.get('occurred_at'))[11:19]}  ")
    text.append(mark, style=style)
    text.append(f" {safe_text.line(event.get('action')):<28} ")
    detail = event.get("detail") or {}
    parts = [
        f"{name}={_value(detail[name])}"
        for name in _SHOWN_DETAIL
        if detail.get(name) not in (None, "", [], {})
    ]
    text.append("  ".join(parts), style="dim")
    return text


def _value(value: Any) -> str:
    return safe_text.line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 300)


class JsonLines:
    """One JSON document a line, for scripts."""

    def show(self, event: dict[str, Any]) -> None:
        """Print the event."""
        click.echo(json.dumps(event))


class PlainLines:
    """A line an event, where there is no terminal."""

    def show(self, event: dict[str, Any]) -> None:
        """Print the event."""
        click.echo(line(event).plain.rstrip())


class LiveLines:
    """Lines that stay, and below them what is under way with the time it has taken."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._under_way: dict[tuple[str, str], float] = {}
        self._waited_for: dict[tuple[str, str], str] = {}
        self._state = ""
        self._live: Live | None = None

    def attach(self, live: Live) -> None:
        """Draw on this display."""
        self._live = live

    def __rich__(self) -> RenderableType:
        now = time.monotonic()
        shown = [
            Spinner("dots", Text(f"{host} {step}  {now - since:.0f} s", style="cyan"))
            for (host, step), since in self._under_way.items()
        ]
        waits = [
            Text(f"    {name}  {how_far}", style="cyan")
            for (_host, name), how_far in self._waited_for.items()
        ]
        return Group(*shown, *waits, Spinner("dots", Text(f"{self._title}  {self._state}", style="bold")))

    def show(self, event: dict[str, Any]) -> None:
        """Take the event into the view."""
        assert self._live is not None
        detail = event.get("detail") or {}
        step = (safe_text.line(detail.get("host", ""), 80), safe_text.line(detail.get("step", ""), 80))
        # What happens is called alike for releases and installs, but for what it happens to.
        action = safe_text.line(event["action"], 80).partition(".")[2].removeprefix("install_")
        if action == "step_started":
            self._under_way[step] = time.monotonic()
            return
        if action == "step_progress":
            what = (step[0], safe_text.line(detail.get("object", ""), 80))
            self._waited_for[what] = safe_text.line(detail.get("progress", ""), 80)
            return
        if action in ("step_succeeded", "step_failed"):
            self._under_way.pop(step, None)
            self._waited_for = {what: said for what, said in self._waited_for.items() if what[0] != step[0]}
        else:
            self._state = action
        self._live.console.print(line(event))


@contextmanager
def view(title: str, as_json: bool) -> Iterator[View]:
    """Yield what shows events here."""
    console = Console(markup=False, highlight=False, emoji=False)
    if as_json:
        yield JsonLines()
    elif not console.is_terminal:
        yield PlainLines()
    else:
        lines = LiveLines(safe_text.line(title, 120))
        with Live(lines, console=console, refresh_per_second=8, transient=True) as live:
            lines.attach(live)
            yield lines
