"""What is watched, as plain data: the status, what is wrong in it, and the latest decisions, without what is long."""

from __future__ import annotations

from typing import Any

from spoe_agent.admin.signs import faults
from spoe_agent.admin.wording import WHY, haproxy, waits
from spoe_agent.agent.agent import Agent
from spoe_agent.agent.history import PastRequest
from spoe_agent.routing import Action
from spoe_agent.routing.names import display

DECISIONS = 30

MOST_HELD = 20
"""Who waits longest; the page shows 12 of them, `top` 3."""


def scene(status: dict[str, Any], agent: Agent, now_s: float) -> dict[str, Any]:
    """Return the scene of a status as of the same moment. What was learned is left out: it is long."""
    seen = {name: value for name, value in status.items() if name != "learned"}
    latest = agent.record.history.last(DECISIONS)
    asks = haproxy(status["haproxy"])
    return {**seen, "asks": asks, "faults": faults(status), "decisions": [decision(entry, now_s) for entry in latest]}


def decision(entry: PastRequest, now_s: float) -> dict[str, Any]:
    """Return one decision in a line; `grade` is as in `admin.signs`, or "" when it is well."""
    facts, choice, line = entry.facts, entry.choice, entry.line
    is_routed = choice.action is Action.ROUTE
    has_left = line is not None and line.ending.left is not None
    is_broken = line is not None and not line.ending.is_whole and not has_left
    # Of who was turned away HAProxy only has that it answered itself.
    end = "" if line is None else f"{line.status} {line.termination}" if is_broken and is_routed else str(line.status)
    return {
        "id": facts.request_id,
        "age_s": round(now_s - entry.at_s, 1),
        "model": display(facts.model) if facts.model else "",
        "caller": facts.caller,
        "to": (choice.instance or "") if is_routed else "",
        "action": str(choice.action),
        "reason": choice.reason_text,
        "why": _why(entry),
        "held_s": entry.held_s,
        "first_s": line.ending.first_byte_s if line is not None and line.ending.is_whole else None,
        "end": "left" if has_left else end,
        "grade": "bad" if is_broken else "" if is_routed else "doubt" if choice.action is Action.HOLD else "bad",
    }


def _why(entry: PastRequest) -> str:
    choice = entry.choice
    if choice.action is Action.HOLD:
        return waits(choice.instance, choice.reason_text)
    if choice.action is Action.ROUTE:
        return WHY.get(choice.reason_text, choice.reason_text)
    return f"{choice.status} {choice.reason_text}: {choice.message}"
