"""Whether a key has as many requests at a time as it may."""

from __future__ import annotations

from spoe_agent.agent.board import Board
from spoe_agent.routing import Kind, RequestFacts
from spoe_agent.routing.hold import HoldQueue


def is_crowding(facts: RequestFacts, board: Board, hold: HoldQueue) -> bool:
    """Tell whether a request would be one more than its key may have, running and held."""
    most = facts.rights.concurrent
    if not most or facts.kind is not Kind.INFERENCE:
        return False
    return board.of_caller(facts.caller) + hold.of(facts.caller) >= most
