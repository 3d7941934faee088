"""The agent's own addresses change: a restart for the agent, then `pointsman apply` for HAProxy."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.process import free_port
from spoe_agent.rig.stack import Simulated
from tests.e2e.conftest import MODELS
from tests.e2e.fleet_edits import Service, service
from tests.e2e.operator import QUICK, ask, asking, status
from tests.e2e.test_restart import successors

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]


@pytest_asyncio.fixture(loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    simulated = Simulated(instances=2, models=MODELS, time_scale=50.0)
    async with service(binary, tmp_path_factory.mktemp("moved"), simulated, policies=QUICK) as running:
        yield running


async def test_listeners_that_move_leave_no_request_without_the_agent(
    own: Service, session: aiohttp.ClientSession
) -> None:
    """The restarted agent is asked at the old addresses until HAProxy has been told of the new ones."""
    moved = {key: f"127.0.0.1:{free_port()}" for key in ("spop", "door")}
    moved["log"] = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    failed: list[int] = []
    async with successors(own):
        async with asking(session, own, "alpha", clients=4, failed=failed):
            own.edited(listeners=own.listeners() | moved)
            code, said = await own.command("apply")
            assert code == 1, said
            assert "listeners.spop, listeners.log, listeners.door: the agent must be restarted" in said
            code, said = await own.command("restart")
            assert code == 0, said
            before = await status(session, own)
            assert sum("of before the restart is served too" in warning for warning in before["warnings"]) == 3
            for command in ("apply", "restart"):
                code, said = await own.command(command)
                assert code == 0, said
            for _ in range(10):
                assert (await ask(session, own, "beta:7b"))[0] == 200
            async with session.get(f"{own.url}/api/tags") as answer:
                assert answer.headers["x-pointsman"] == "- list"
        after = await status(session, own)
        assert (failed, before["haproxy"]["fell_back"], after["haproxy"]["fell_back"]) == ([], 0, 0)
        assert after["warnings"] == []
