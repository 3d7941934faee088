"""Background work with a bug in it."""

import asyncio

import pytest
from structlog.testing import capture_logs

from spoe_agent.agent.persistently import PAUSE_S, persistently


def failing(*faults):
    """Work that fails so, one after the other, and then ends."""
    left = list(faults)

    async def run():
        if left:
            raise left.pop(0)

    return run


async def test_what_fails_is_logged_with_its_traceback_and_begins_again_after_a_pause():
    paused = []

    async def sleep(delay_s):
        paused.append(delay_s)

    with capture_logs() as logs:
        await persistently("ticks", failing(ZeroDivisionError("0"), ExceptionGroup("two", [OSError()])), sleep)
    assert paused == [PAUSE_S] * 2
    assert [(line["what"], line["exc_info"]) for line in logs] == [("ticks", True)] * 2


@pytest.mark.parametrize("end", [asyncio.CancelledError, KeyboardInterrupt])
async def test_what_is_to_end_ends(end):
    with pytest.raises(end):
        await persistently("ticks", failing(end()))
