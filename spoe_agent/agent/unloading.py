"""Has models unloaded while the request that needs their room waits, but not for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from spoe_agent.routing.names import display
from spoe_agent.routing.snapshot import Pair

log = structlog.get_logger()

DEADLINE_S = 0.15
"""How long a request waits for its victims' unloading to be asked for: until then Ollama would choose others. With
second_look.DEADLINE_S it stays within HAProxy's `timeout processing`; the load itself takes seconds."""

Unload = Callable[[str, str], Awaitable[str]]
"""Asks an instance to unload a model (display name) as soon as it is idle: "" or what went wrong."""


async def unload_all(unload: Unload, pairs: Sequence[Pair]) -> None:
    """Have each model unloaded by its instance. If that fails, Ollama makes room itself, as it sees fit."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            said = await asyncio.gather(*(unload(instance, display(model)) for model, instance in pairs))
    except TimeoutError:
        said = [f"no answer within {1000 * DEADLINE_S:.0f} ms"]
    failures = "; ".join(filter(None, said))
    if failures:
        log.debug("unloading failed", models=pairs, why=failures)
