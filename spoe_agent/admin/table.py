"""The status as tables on a terminal. Must not live here: what is in it (status), asking for it (command)."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

COLOURS = {"up": "green", "down": "red", "suspect": "yellow", "recovering": "yellow", "drained": "cyan"}
MAX_HELD = 20
GIB = 1 << 30


def tables(status: dict[str, Any]) -> Group:
    """Return the status: a line for each instance, and the held requests under it."""
    head = Text(f"pointsman {status['version']}, up {_age(status['up_s'])}, {status['grants']} requests in flight")
    parts: list[Text | Table] = [head, _instances(status["instances"])]
    if status["hold"]["length"]:
        parts.append(_hold(status["hold"]))
    return Group(*parts)


def _instances(instances: list[dict[str, Any]]) -> Table:
    table = Table()
    for heading in ("instance", "health", "loaded", "in flight", "limit", "GPU memory", "why"):
        table.add_column(heading, overflow="fold")
    for one in instances:
        limit = one["connections"]
        table.add_row(
            one["name"],
            Text(f"{one['health']}\n{_age(one['since_s'])}", COLOURS.get(one["health"], "")),
            "\n".join(_models(one)),
            "\n".join(f"{model} {count}" for model, count in one["in_flight"].items()),
            f"{limit['limit']} of {limit['configured']}",
            _memory(one["gpus"]),
            "\n".join(_reasons(one)),
        )
    return table


def _models(one: dict[str, Any]) -> list[str]:
    """In brackets what is not there yet; with a minus what must go, and after an arrow what it goes for."""
    loaded = (f"-{name}" if name in one["leaving"] else name for name in (model["model"] for model in one["loaded"]))
    return [*loaded, *(f"({name})" for name in one["loading"]), *([f"-> {one['reserved']}"] if one["reserved"] else [])]


def _reasons(one: dict[str, Any]) -> list[str]:
    found = [] if one["health"] == "up" else [one["evidence"]]
    gpus = one["gpus"] or {}
    return [
        part for part in (*found, one["note"], gpus.get("slow"), gpus.get("broken"), *gpus.get("notes", ())) if part
    ]


def _memory(gpus: dict[str, Any] | None) -> str:
    if gpus is None or gpus["free_bytes"] is None or gpus["total_bytes"] is None:
        return "-"
    free, total = gpus["free_bytes"] / GIB, gpus["total_bytes"] / GIB
    return f"{free:.1f} of {total:.1f} GiB free\n{_age(gpus['age_s'])} ago"


def _hold(hold: dict[str, Any]) -> Table:
    table = Table(title=f"{hold['length']} held, oldest {_age(hold['oldest_s'])}")
    for heading in ("position", "model", "caller", "priority", "age", "id"):
        table.add_column(heading)
    for one in hold["requests"][:MAX_HELD]:
        row = (one["position"], one["model"], one["caller"], one["priority"], _age(one["age_s"]), one["id"])
        table.add_row(*map(str, row))
    return table


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
