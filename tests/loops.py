"""Running an asynchronous test on the loop that the agent runs on, and on asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import Parameter, signature

import pytest
import uvloop

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


def on_each_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    """Make of an asynchronous test two plain ones: what holds must not be one loop's doing.

    An exception that only the loop learns of (from a callback, or a task that nobody awaits) fails the test too.
    """

    @wraps(test)
    def run(loop: str, **fixtures: object) -> None:
        unseen: list[dict[str, object]] = []
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: unseen.append(context))
            runner.run(test(**fixtures))
        assert not unseen, unseen

    shape = signature(test)
    loop = Parameter("loop", Parameter.KEYWORD_ONLY)
    run.__signature__ = shape.replace(parameters=[*shape.parameters.values(), loop])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("loop", LOOPS)(run)
