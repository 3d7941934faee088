"""The status as plain columns, for 80 characters and for whatever a terminal can show."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from spoe_agent.admin.wording import age, haproxy

COLOURS = {"up": "green", "down": "red", "suspect": "yellow", "recovering": "yellow", "drained": "cyan"}
MAX_HELD = 20
GIB = 1 << 30


def tables(status: dict[str, Any]) -> Group:
    """Return the status: what to look into, a row for each instance and why it is as it is, the held requests."""
    head = Text(f"pointsman {status['version']}, up {age(status['up_s'])}, {status['grants']} requests in flight")
    warnings = [Text(f"Note: {warning}", "yellow") for warning in status["warnings"]]
    parts: list[Text | Table] = [*_unasked(status["haproxy"]), head, *warnings, Text(haproxy(status["haproxy"]))]
    parts += [Text(), _instances(status["instances"])]
    why = [Text(f"{one['name']}: {sign['what']}") for one in status["instances"] for sign in one["signs"]]
    if why:
        parts += [Text(), *why]
    if status["hold"]["length"]:
        hold = status["hold"]
        parts += [Text(), Text(f"{hold['length']} held, oldest {age(hold['oldest_s'])}"), _hold(hold)]
    return Group(*parts)


def _unasked(haproxy: dict[str, Any]) -> list[Text]:
    warning = haproxy["warning"]
    return [Text(f"WARNING: {warning}.", "bold red")] if warning else []


def _columns(*headings: str) -> Table:
    """No lines: they cost width, and not every terminal has them."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in ("health", "limit", "GPU memory free"))
    return table


def _instances(instances: list[dict[str, Any]]) -> Table:
    table = _columns("instance", "health", "limit", "GPU memory free", "models")
    for one in instances:
        limit = one["connections"]
        table.add_row(
            one["name"],
            Text(f"{one['health']} {age(one['since_s'])}", COLOURS.get(one["health"], "")),
            f"{limit['limit']} of {limit['configured']}",
            _memory(one["gpus"]),
            "\n".join(_models(one)),
        )
    return table


def _models(one: dict[str, Any]) -> list[str]:
    """In brackets what is not there yet; with a minus what must go, and after an arrow what it goes for.

    Behind each, how many requests are under way.
    """
    there = [model["model"] for model in one["loaded"]]
    marked = {name: f"-{name}" if name in one["leaving"] else name for name in there}
    marked |= {name: f"({name})" for name in (*one["loading"], *one["in_flight"]) if name not in marked}
    running = one["in_flight"]
    shown = [f"{text} {running[name]}" if running.get(name) else text for name, text in marked.items()]
    return [*shown, *([f"-> {one['reserved']}"] if one["reserved"] else [])]


def _memory(gpus: dict[str, Any] | None) -> str:
    if gpus is None or gpus["free_bytes"] is None or gpus["total_bytes"] is None:
        return "-"
    return f"{gpus['free_bytes'] / GIB:.1f} of {gpus['total_bytes'] / GIB:.1f} GiB"


def _hold(hold: dict[str, Any]) -> Table:
    table = _columns("position", "model", "caller", "priority", "age", "id")
    for one in hold["requests"][:MAX_HELD]:
        row = (one["position"], one["model"], one["caller"], one["priority"], age(one["age_s"]), one["id"])
        table.add_row(*map(str, row))
    return table
