"""A choice as one line, and as plain data: what tools show and files keep."""

from __future__ import annotations

from typing import Any

from mitmproxy import http

from spoe_agent.mitmproxy.flight import Flight
from spoe_agent.routing import Candidate, Choice


def note(flow: http.HTTPFlow, flight: Flight, choice: Choice) -> None:
    """Show what was chosen where mitmproxy's users look for it."""
    flight.choice = choice
    flow.comment = summary(choice)
    flow.metadata["pointsman"] = account(choice)


def summary(choice: Choice) -> str:
    """Return one line: what was chosen and why, and what speaks against each other instance."""
    others = [candidate for candidate in choice.candidates if candidate.instance != choice.instance]
    where = ", ".join(writing.writers[0] for writing in choice.writings if writing.writers)
    chosen = f"{where or choice.instance or choice.status}: {choice.reason_text}"
    return " | ".join([chosen, *(f"{other.instance}: {_against(other)}" for other in others)])


def _against(candidate: Candidate) -> str:
    if candidate.exclusion is not None:
        return f"{candidate.exclusion} ({candidate.detail})"
    tier = "" if candidate.tier is None else f"{candidate.tier.name.lower()}, "
    return f"{tier}{candidate.cost.total_s:.1f} s"


def account(choice: Choice) -> dict[str, Any]:
    """Return what was chosen, and every instance with its exclusion or its cost in seconds, term by term."""
    return {
        "action": str(choice.action),
        "instance": choice.instance,
        "reason": choice.reason_text,
        "status": choice.status,
        "message": choice.message,
        "candidates": [_candidate(candidate) for candidate in choice.candidates],
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "instance": candidate.instance,
        "excluded": None if candidate.exclusion is None else str(candidate.exclusion),
        "detail": candidate.detail,
        "tier": None if candidate.tier is None else candidate.tier.name.lower(),
        "cost": candidate.cost._asdict(),
        "evicts": list(candidate.victims),
        "has_slot": candidate.has_slot,
    }
