"""Why requests went where they went, and where one would go now: as plain data, like the log's fields.

Ages are seconds; nothing of a prompt is in it.
"""

from __future__ import annotations

from typing import Any

from spoe_agent.agent import decided
from spoe_agent.agent.agent import Agent
from spoe_agent.agent.ending import Line
from spoe_agent.agent.history import PastRequest
from spoe_agent.routing import Dialect, Kind, RequestFacts
from spoe_agent.routing.names import canonical

NOW = "now"
"""Stands for the id of a request that is not sent."""

NOT_KEPT = (
    "no decision on a request {} is kept: it is older than those that are (pointsman explain --last 1000), or of "
    "before the agent's start, or was not asked about. The X-Request-Id that a client made up is known once its "
    "request has ended; until then the id is the one in HAProxy's log"
)


def would(agent: Agent, model: str) -> dict[str, Any]:
    """Return where a request for a model would go now. Raises ValueError for what is no name of a model."""
    canonical(model)
    facts = RequestFacts(NOW, Kind.INFERENCE, Dialect.OLLAMA).naming(model)
    return {**decided.fields(facts, agent.would(facts), caller=""), **_OPEN}


def one(agent: Agent, name: str, now_s: float) -> dict[str, Any] | None:
    """Return a request by its id or its X-Request-Id; None when it is not kept."""
    entry = agent.record.history.find(name)
    return None if entry is None else _past(agent, entry, now_s)


def last(agent: Agent, count: int, model: str | None, now_s: float) -> list[dict[str, Any]]:
    """Return the latest, newest first. Raises ValueError for what is no name of a model."""
    key = canonical(model) if model else None
    return [_past(agent, entry, now_s) for entry in agent.record.history.last(count, key)]


_OPEN: dict[str, Any] = {"request_id": "", "age_s": None, "held_s": None, "predicted_s": None, "ended": None}


def _past(agent: Agent, entry: PastRequest, now_s: float) -> dict[str, Any]:
    line = entry.line
    return {
        **decided.fields(entry.facts, entry.choice, agent.record.rows.caller(entry.facts.caller)),
        "request_id": "" if line is None else line.name,
        "age_s": round(now_s - entry.at_s, 1),
        "held_s": _rounded(entry.held_s),
        "predicted_s": _rounded(entry.predicted_s),
        "ended": None if line is None else _ended(line),
    }


def _ended(line: Line) -> dict[str, Any]:
    return {
        "server": line.server,
        "status": line.status,
        "termination": line.termination,
        "first_byte_s": _rounded(line.ending.first_byte_s),
        "total_s": _rounded(line.ending.total_s),
        "is_whole": line.ending.is_whole,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
