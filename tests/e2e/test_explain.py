"""`pointsman explain` of live requests: what it says is what HAProxy did."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from spoe_agent.agent.ending import STREAMED_S
from spoe_agent.rig.stack import POINTSMAN, Stack
from spoe_agent.routing.choice import Cost
from tests.e2e.conftest import chat, routed, until
from tests.e2e.test_metrics import scrape, total

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUESTS = 1000
TIMES = 2
"""Explanations are asked for after each half: the agent keeps the latest thousand, and others' may be among them."""
AT_ONCE = 16
ERRORS = "pointsman_prediction_error_seconds"
SECRET = "nobody may read this"


async def pointsman(stack: Stack, *arguments: str) -> tuple[int, str]:
    """Run the command; return its status and what it said."""
    command = [*POINTSMAN, *arguments, "--fleet", str(stack.fleet_file)]
    pipe = asyncio.subprocess.PIPE
    done = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    said, _ = await done.communicate()
    return done.returncode or 0, said.decode()


async def explained(session: aiohttp.ClientSession, stack: Stack, query: str) -> list[dict[str, Any]]:
    """Return what the agent answers."""
    async with session.get(f"http://{stack.fleet.listeners.admin}/explain?{query}") as answer:
        assert answer.status == 200, await answer.text()
        found: list[dict[str, Any]] = (await answer.json())["decisions"]
    return found


async def test_explanations_are_what_haproxy_did(stack: Stack, session: aiohttp.ClientSession) -> None:
    went: dict[str, str] = {}
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(number: int) -> None:
        name = f"explain-{number}"
        body = chat(("alpha", "beta:7b", "gamma")[number % 3], options={"num_predict": 40})
        body["messages"] = [{"role": "user", "content": SECRET}]
        async with gate, session.post(f"{stack.url}/api/chat", json=body, headers={"X-Request-Id": name}) as answer:
            await answer.read()
            assert answer.status == 200
            went[name] = routed(answer)[0]

    found: dict[str, dict[str, Any]] = {}

    async def all_ended() -> bool:
        found.update({one["request_id"]: one for one in await explained(session, stack, "last=1000")})
        return went.keys() <= found.keys()

    for turn in range(TIMES):
        async with asyncio.TaskGroup() as group:
            for number in range(turn, REQUESTS, TIMES):
                group.create_task(ask(number))
        await until(all_ended, 30, "the lines of all requests")
    for name, instance in went.items():
        one = found[name]
        assert (one["instance"], one["ended"]["server"], one["ended"]["status"]) == (instance, instance, 200)
        chosen = one["candidates"][instance]
        assert sum(chosen.get(term, 0.0) for term in Cost._fields) == pytest.approx(chosen["total_s"], abs=0.005)
    assert SECRET not in json.dumps(list(found.values()))
    predicted = [one["ended"] for one in found.values() if one["predicted_s"] is not None]
    streamed = [end for end in predicted if end["total_s"] - end["first_byte_s"] > STREAMED_S]
    errors = total(await scrape(session, stack), ERRORS, f"{ERRORS}_count")
    assert errors == len(streamed) > REQUESTS / 2
    (again,) = await explained(session, stack, "id=explain-7")
    assert again["id"] == found["explain-7"]["id"]


async def test_the_command_tells_people(stack: Stack, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{stack.url}/api/chat", json=chat("alpha", stream=False)) as answer:
        await answer.read()
        (name,) = answer.headers.getall("X-Request-Id")
        instance = routed(answer)[0]
    status, said = await pointsman(stack, "explain", name)
    assert status == 0
    assert f"went to {instance}" in " ".join(said.split())
    status, said = await pointsman(stack, "explain", "--model", "alpha", "--json")
    assert (status, json.loads(said)[0]["action"]) == (0, "route")
    status, said = await pointsman(stack, "explain", "--last", "3")
    assert (status, name in said) == (0, True)
    status, said = await pointsman(stack, "explain", "--last", "3", "--json")
    assert (status, len(json.loads(said)), json.loads(said)[0]["request_id"]) == (0, 3, name)
    status, said = await pointsman(stack, "explain", "nobody's")
    assert (status, "no decision on a request nobody's is kept" in said) == (1, True)
    status, said = await pointsman(stack, "explain", "--model", "alpha:b:c")
    assert (status, "model" in said) == (1, True)
