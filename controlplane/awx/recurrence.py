# SPDX-License-Identifier: Apache-2.0
"""Recurrence rules, as AWX's schedules have them: `DTSTART:20300115T120000Z RRULE:FREQ=DAILY;INTERVAL=1`.

Counting times can be made to take for ever by who writes the rule, so what would is not let in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dateutil import rrule, tz

LONGEST = 1_000
MOST_COUNT = 999
# A rule that comes often is not counted up from long ago.
_OLDEST = timedelta(days=31)
_OFTEN = ("MINUTELY", "HOURLY")
_SHAPE = re.compile(
    r"DTSTART(?:;TZID=([A-Za-z][A-Za-z0-9_+\-/]{0,63}))?:(\d{8}T\d{6})(Z?)\s+RRULE:([A-Z0-9=;,+\-]+)"
)
_PARTS = frozenset({"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "BYHOUR", "BYMINUTE", "WKST"})
_PARTS_OF_MONTHS = _PARTS | {"BYMONTHDAY", "BYMONTH", "BYSETPOS"}
_ALLOWED = {
    "MINUTELY": _PARTS, "HOURLY": _PARTS, "DAILY": _PARTS, "WEEKLY": _PARTS,
    "MONTHLY": _PARTS_OF_MONTHS, "YEARLY": _PARTS_OF_MONTHS,
}  # fmt: skip


class NotTaken(ValueError):
    """It is no rule that is followed here; the message says why."""


@dataclass(frozen=True)
class Recurrence:
    """A rule that was let in."""

    rule: Any
    has_count: bool

    def after(self, moment: datetime, anchor: datetime | None = None) -> datetime | None:
        """Return the first time after a moment, None when there is none any more.

        `anchor` is a time of the rule to count from, where it is known: the beginning may be years back.
        """
        rule = self.rule
        if anchor is not None and not self.has_count:
            # Counted on from a time of the rule itself, each `INTERVAL` falls where it would have.
            rule = rule.replace(dtstart=anchor.astimezone(rule._dtstart.tzinfo))
        found = rule.after(moment)
        return found.astimezone(UTC) if found else None


def read(text: str, now: datetime) -> Recurrence:
    """Return what a rule says.

    Raises:
        NotTaken: it is none, or one that is not followed here.
    """
    found = _SHAPE.fullmatch(" ".join(text.split())) if len(text) <= LONGEST else None
    if found is None:
        raise NotTaken("must be DTSTART:YYYYMMDDTHHMMSSZ RRULE:FREQ=...;INTERVAL=..., with one rule")
    zone_name, start, is_utc, rule_text = found.groups()
    zone = tz.UTC if is_utc or not zone_name else tz.gettz(zone_name)
    if zone is None or (is_utc and zone_name):
        raise NotTaken("the time zone is not known, or it is there twice")
    parts = dict(part.partition("=")[::2] for part in rule_text.split(";") if part)
    _check(parts)
    try:
        begin = datetime.strptime(start, "%Y%m%dT%H%M%S").replace(tzinfo=zone)
    except ValueError:
        raise NotTaken("DTSTART is no time") from None
    if parts["FREQ"] in _OFTEN and begin < now - _OLDEST:
        raise NotTaken(f"DTSTART of a rule that is {parts['FREQ']} must not be more than 31 days ago")
    try:
        return Recurrence(rrule.rrulestr(f"RRULE:{rule_text}", dtstart=begin), "COUNT" in parts)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NotTaken(f"is no rule: {error}") from None


def _check(parts: dict[str, str]) -> None:
    allowed = _ALLOWED.get(parts.get("FREQ", ""))
    if allowed is None:
        raise NotTaken(f"FREQ must be one of {', '.join(_ALLOWED)}")
    unknown = sorted(set(parts) - allowed)
    if unknown:
        raise NotTaken(f"{', '.join(unknown)[:80]} is not taken with FREQ={parts['FREQ']}")
    for name, most in (("INTERVAL", 10_000), ("COUNT", MOST_COUNT)):
        value = parts.get(name, "1")
        if not value.isdigit() or not 1 <= int(value) <= most:
            raise NotTaken(f"{name} must be from 1 to {most}")
