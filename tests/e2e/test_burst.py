"""Many clients that ask for one model and leave before it is there: nothing of them stays behind."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from spoe_agent.rig.stack import Simulated
from tests.e2e import operator
from tests.e2e.conftest import chat, stack_of, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

CLIENTS = 30
MODELS = [("wanted:latest", "8GB"), ("one:latest", "1GB"), ("two:latest", "4GB"), ("three:latest", "5GB")]


async def test_whoever_leaves_leaves_no_slot_and_no_place_behind(
    binary: str, tmp_path_factory: pytest.TempPathFactory, session: aiohttp.ClientSession
) -> None:
    """On each instance another model must go first, and there is one slot on each."""
    simulated = Simulated(instances=3, num_parallel=1, max_loaded_models=1, models=MODELS, time_scale=2.0)
    async with stack_of(binary, tmp_path_factory.mktemp("burst"), simulated) as stack:
        for name in ("one", "two", "three"):
            assert (await operator.ask(session, stack, name))[0] == 200

        async def impatient(seconds: float) -> None:
            body = chat("wanted", stream=False, options={"num_predict": 900})
            with pytest.raises(TimeoutError):
                async with session.post(f"{stack.url}/api/chat", json=body, timeout=aiohttp.ClientTimeout(seconds)):
                    pass

        await asyncio.gather(*(impatient(0.4 + 0.1 * (number % 9)) for number in range(CLIENTS)))

        async def nobody_is_there() -> bool:
            now = await operator.status(session, stack)
            return (now["grants"], now["hold"]["length"]) == (0, 0)

        await until(nobody_is_there, 30, "no request is in flight or held")
        assert (await operator.status(session, stack))["haproxy"]["warning"] == ""
        assert (await operator.ask(session, stack, "wanted"))[0] == 200
