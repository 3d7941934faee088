"""Has models unloaded while the request that needs their room waits, but not for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from spoe_agent.routing import Action, Choice
from spoe_agent.routing.names import display

log = structlog.get_logger()

DEADLINE_S = 0.15
"""How long a request waits for its victims' unloading to be asked for: until then Ollama would choose others. With
second_look.DEADLINE_S it stays within HAProxy's `timeout processing`; the load itself takes seconds."""

Unload = Callable[[str, str], Awaitable[str]]
"""Asks an instance to unload a model (display name) as soon as it is idle: "" or what went wrong."""


class Unloading:
    """Makes the room that choices need. `unload` None: Ollama chooses what goes."""

    def __init__(self, unload: Unload | None) -> None:
        self._unload = unload

    def is_needed(self, choice: Choice) -> bool:
        """Tell whether models have to go before the request may."""
        return self._unload is not None and choice.action is Action.ROUTE and bool(choice.victims or choice.unloads)

    async def make_room(self, choice: Choice) -> None:
        """Have unloaded what a choice says. If that fails, Ollama makes room itself, as it sees fit."""
        unload, instance = self._unload, choice.instance
        if unload is None or instance is None:
            return
        pairs = *((model, instance) for model in choice.victims), *choice.unloads
        try:
            async with asyncio.timeout(DEADLINE_S):
                said = await asyncio.gather(*(unload(where, display(model)) for model, where in pairs))
        except TimeoutError:
            said = [f"no answer within {1000 * DEADLINE_S:.0f} ms"]
        failures = "; ".join(filter(None, said))
        if failures:
            log.debug("unloading failed", models=pairs, why=failures)
