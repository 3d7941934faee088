"""The agent's heart: holds the board, asks `choose`, enters what was granted. One per process, for every front end.

Must not live here: sockets, SPOP, HTTP; the decision itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from spoe_agent.routing import Action, Choice, FleetSpec, Kind, RequestFacts, choose
from spoe_agent.telemetry.board import Board

log = structlog.get_logger()

REFRESH_INTERVAL_S = 1.0
"""Unknown models make the agent ask the instances anew at most this often."""

REFRESH_DEADLINE_S = 0.06
"""How long a request for an unknown model waits for that; well within HAProxy's `timeout processing`."""


class Agent:
    """Decides requests against the live board.

    Args:
        fleet: what the fleet file says.
        board: readings and grants; telemetry publishes to it.
        refresh: asks every instance for its lists now; awaited, bounded, when a model is unknown.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        fleet: FleetSpec,
        board: Board,
        refresh: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fleet = fleet
        self.board = board
        self._refresh = refresh
        self._clock = clock
        self._refreshed_at_s = clock()

    def decide(self, facts: RequestFacts) -> Choice:
        """Return the Choice for one request, and enter it on the board when it is routed."""
        now_s = self._clock()
        choice = choose(facts, self.fleet, self.board.snapshot(facts.loads, now_s))
        if choice.instance is not None and facts.model is not None and facts.kind is Kind.INFERENCE:
            self.board.grant(facts.request_id, choice.instance, facts.model, now_s)
        log.debug("decided", id=facts.request_id, model=facts.model, choice=choice)
        return choice

    def is_worth_a_second_look(self, choice: Choice) -> bool:
        """Tell whether a refusal may only be due to lists that are a few seconds old (a model just pulled)."""
        is_unknown = choice.action is Action.REJECT and choice.status == 404
        return is_unknown and self._may_refresh()

    async def decide_again(self, facts: RequestFacts) -> Choice:
        """Ask the instances for their lists, briefly, and decide anew.

        Of many requests that came in one batch only the first asks.
        """
        if not self._may_refresh():
            return self.decide(facts)
        self._refreshed_at_s = self._clock()
        try:
            async with asyncio.timeout(REFRESH_DEADLINE_S):
                await self._refresh()
        except TimeoutError:
            log.debug("lists did not come in time", id=facts.request_id)
        return self.decide(facts)

    def _may_refresh(self) -> bool:
        return self._clock() - self._refreshed_at_s >= REFRESH_INTERVAL_S
