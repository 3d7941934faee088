"""Work that goes on for as long as the agent: one bug in it is seen, and costs neither the agent nor other work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger()

PAUSE_S = 1.0
"""Before work begins again that has failed: what fails at once would take all time."""


async def persistently(
    what: str, run: Callable[[], Awaitable[None]], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Run until it ends by itself or is cancelled. Whatever it raises is logged with its traceback, and it is run
    again: `run` must be such that it can be begun anew. `what` names it in the log.
    """
    while True:
        try:
            await run()
        except Exception:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise  # it was to end, and went wrong over that
            log.exception("background work failed and begins again", what=what)
            await sleep(PAUSE_S)
        else:
            return
