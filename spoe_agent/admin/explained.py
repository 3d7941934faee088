"""Explanations in columns, for 80 characters and for whatever a terminal can show."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from spoe_agent.admin.wording import Explanation, age, seconds, worded


def explanation(found: dict[str, Any]) -> Group:
    """Return one decision: what was chosen, a row for each instance, what the columns mean, how it ended."""
    words = worded(found)
    parts: list[Text | Table] = [Text(words.headline)]
    if words.rows:
        parts += [Text(), _table(words), Text(), *map(Text, (*words.notes, *words.meanings))]
    if words.end:
        parts += [Text(), Text(words.end)]
    return Group(*parts)


def overview(decisions: list[dict[str, Any]]) -> Table:
    """Return a row for each decision."""
    table = _columns("age", "model", "to", "reason", "held", "first", "end", "id")
    for one in decisions:
        ended = one["ended"]
        table.add_row(
            age(one["age_s"]),
            one["model"] or "-",
            one["instance"] if one["action"] == "route" else one["action"],
            one["reason"],
            seconds(one["held_s"]),
            seconds(ended["first_byte_s"]) if ended and ended["is_whole"] else "-",
            f"{ended['status']} {ended['termination']}" if ended else "runs",
            one["request_id"] or one["id"],
        )
    return table


def _table(words: Explanation) -> Table:
    table = _columns(*words.headings)
    for row in words.rows:
        table.add_row(*row)
    return table


def _columns(*headings: str) -> Table:
    """No lines: they cost width, and not every terminal has them."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        # Ids are copied.
        table.add_column(heading, overflow="fold", no_wrap=heading == "id")
    return table
