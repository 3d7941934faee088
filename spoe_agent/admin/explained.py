"""Explanations in plain words and columns, for 80 characters and for whatever a terminal can show."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

WHY = {
    "loaded": "it is loaded there",
    "loading": "it is loading there just now",
    "reload": "it is loaded there with another context or other options, and is loaded again",
    "room": "there is room to load it beside what is loaded",
    "evict": "it is loaded there in the place of others",
}

TERMS = {
    "wait_s": ("wait", "until a slot is free, or a connection"),
    "load_s": ("load", "loading the model, or what is left of that"),
    "behind_s": ("behind", "other loads before it, and models that have to go first"),
    "share_s": ("share", "slower because other requests run on the same GPUs, and slowing these"),
    "slow_s": ("slow", "GPUs that are held down, or part of the model on the CPU"),
    "prefix_s": ("cached", "saved: the beginning of the conversation is in its cache"),
    "price_s": ("price", "no time of this request: what its load takes from others"),
}
"""Heading and meaning of each term, in the order of the columns."""


def explanation(found: dict[str, Any]) -> Group:
    """Return one decision: what was chosen, a row for each instance, what the columns mean, how it ended."""
    candidates: dict[str, dict[str, Any]] = found["candidates"]
    parts: list[Text | Table] = [Text(_headline(found))]
    terms = [term for term in TERMS if any(term in one for one in candidates.values())]
    if candidates:
        parts += [Text(), _table(candidates, terms, found["instance"]), Text()]
        parts += [Text(f"{name}: {note}") for name, one in candidates.items() if (note := _note(one))]
        parts += [Text(f"{TERMS[term][0]}: {TERMS[term][1]}") for term in terms]
    if found["age_s"] is not None:
        parts += [Text(), Text(_end(found))]
    return Group(*parts)


def overview(decisions: list[dict[str, Any]]) -> Table:
    """Return a row for each decision."""
    table = _columns("age", "model", "to", "reason", "held", "first", "end", "id")
    for one in decisions:
        ended = one["ended"]
        table.add_row(
            _age(one["age_s"]),
            one["model"] or "-",
            one["instance"] if one["action"] == "route" else one["action"],
            one["reason"],
            _s(one["held_s"]),
            _s(ended["first_byte_s"]) if ended and ended["is_whole"] else "-",
            f"{ended['status']} {ended['termination']}" if ended else "runs",
            one["request_id"] or one["id"],
        )
    return table


def _headline(found: dict[str, Any]) -> str:
    """Say what was decided, or would be, and why."""
    model, instance, reason = found["model"] or "no model", found["instance"], found["reason"]
    is_past = found["age_s"] is not None
    who = f"{found['id']}: {model}" + (f" for {found['caller']}" if found["caller"] else "")
    subject = f"{who}, {_age(found['age_s'])} ago," if is_past else f"A request for {model} would now be"
    why = WHY.get(reason, reason)
    if found["action"] == "route":
        held = f", after {_s(found['held_s'])} in the queue" if found["held_s"] is not None else ""
        return f"{subject} {'went' if is_past else 'sent'} to {instance}: {why}{held}."
    if found["action"] == "hold":
        return f"{subject} held: no slot is free. It waits least for {instance}: {why}."
    held = f" after {_s(found['held_s'])} in the queue" if found["held_s"] is not None else ""
    return f"{subject} {'was ' * is_past}turned away{held} with {found['status']}, {reason}: {found['message']}"


def _table(candidates: dict[str, dict[str, Any]], terms: list[str], chosen: str | None) -> Table:
    table = _columns("", "instance", "model is", "seconds", *(f"{TERMS[term][0]}" for term in terms))
    for name, one in candidates.items():
        mark = ">" if name == chosen else ""
        if "excluded" in one:
            table.add_row(mark, name, f"out: {one['excluded']}")
            continue
        seconds = [_plain(one.get(term)) for term in ("total_s", *terms)]
        table.add_row(mark, name, one.get("state", "-"), *seconds)
    return table


def _note(one: dict[str, Any]) -> str:
    """Say what is to be known of an instance beside its seconds."""
    parts = [one["why"]] if one.get("why") else []
    if one.get("evicts"):
        parts.append(f"{', '.join(one['evicts'])} must go for it")
    if one.get("slot"):
        parts.append("no slot is free")
    return "; ".join(parts)


def _end(found: dict[str, Any]) -> str:
    """Say how it ended."""
    ended, predicted_s = found["ended"], found["predicted_s"]
    if ended is None:
        return "It has not ended, as far as is known."
    if not ended["is_whole"]:
        where = f" at {ended['server']}" if ended["server"] != found["instance"] else ""
        return f"It ended{where} with {ended['status']}, termination {ended['termination']} in HAProxy's words."
    predicted = f" (predicted: {_s(predicted_s)})" if predicted_s is not None else ""
    took = f"{_s(ended['first_byte_s'])} until the first token{predicted}, {_s(ended['total_s'])} in all"
    return f"It was answered by {ended['server']} with {ended['status']}: {took}."


def _columns(*headings: str) -> Table:
    """No lines: they cost width, and not every terminal has them."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        # Ids are copied.
        table.add_column(heading, overflow="fold", no_wrap=heading == "id")
    return table


def _plain(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f}"


def _s(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
