"""A decision for the log, as fields that people and scripts read: what was asked, what was chosen, and for every
instance its seconds term by term, or why it was out of the question.
"""

from __future__ import annotations

from typing import Any

from spoe_agent.routing import Candidate, Choice, RequestFacts, Tier
from spoe_agent.routing.choice import Cost
from spoe_agent.routing.names import display

STATES = {tier: tier.name.lower() for tier in Tier}
"""How warm an instance is, in words. A table, because Python 3.11 takes long to find a member's name."""


def fields(facts: RequestFacts, choice: Choice, caller: str) -> dict[str, Any]:
    """Return the fields of a request's decision. `caller`: as much of whose it is as the fleet file lets be said
    (`Rows.caller`): a key's name, an address, or a hash; never a secret.
    """
    return {
        "id": facts.request_id,
        "model": display(facts.model) if facts.model else None,
        "caller": caller,
        "process": facts.process,
        "action": str(choice.action),
        "instance": choice.instance,
        "reason": choice.reason_text,
        **({"status": choice.status, "message": choice.message} if choice.status else {}),
        "candidates": {one.instance: _candidate(one) for one in choice.candidates},
    }


def short(facts: RequestFacts, choice: Choice, caller: str) -> dict[str, Any]:
    """Return what fits into a line for people: `id` is the one in HAProxy's log."""
    tier = {} if choice.tier is None else {"state": STATES[choice.tier]}
    return {
        "id": facts.request_id,
        "model": display(facts.model) if facts.model else None,
        "caller": caller,
        "action": str(choice.action),
        "instance": choice.instance,
        "reason": choice.reason_text,
        **tier,
        **({"status": choice.status} if choice.status else {}),
    }


def _candidate(one: Candidate) -> dict[str, Any]:
    """Terms that are nothing are left out."""
    why = {"why": one.detail} if one.detail else {}
    if one.exclusion is not None:
        return {"excluded": str(one.exclusion), **why}
    terms = {name: kept for name, s in zip(Cost._fields, one.cost, strict=True) if s and (kept := round(s, 3))}
    return {
        **({"state": STATES[one.tier]} if one.tier is not None else {}),
        "total_s": round(one.cost.total_s, 3),
        **terms,
        **({"evicts": [display(model) for model in one.victims]} if one.victims else {}),
        **({} if one.has_slot else {"slot": "none free"}),
        **why,
    }
