"""Requests that cannot run yet are held in one fair queue, through real HAProxy."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from bench.held import crowd as many
from bench.held import scenes
from bench.held.rig import ObservedStack
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, routed, stack_of, until
from tests.e2e.eyes import scene, scrape, total
from tests.e2e.operator import status

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOTS = 2
MODELS = (("alpha:latest", "4.7GB"), ("beta:latest", "4.7GB"))


def simulated(**more: object) -> Simulated:
    """One instance with two slots, so that the third request of a model must wait."""
    return Simulated(instances=1, models=MODELS, num_parallel=SLOTS, time_scale=10.0, **more)  # type: ignore[arg-type]


@pytest_asyncio.fixture(loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack that holds requests."""
    settings = {"policies": {"trusted_proxies": ["127.0.0.1"]}}
    async with stack_of(binary, tmp_path_factory.mktemp("hold"), simulated(), settings) as running:
        yield running


class Crowd:
    """Requests of one model, in order of their sending, each noting when it ended."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.ended: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()

    async def one(
        self, name: str, tokens: int = 30, headers: dict[str, str] | None = None, path: str = "/api/chat"
    ) -> None:
        """Send a request under a name."""
        body = chat("alpha", stream=False, options={"num_predict": tokens}, max_tokens=tokens)
        async with self._session.post(f"{self._url}{path}", json=body, headers=headers) as answer:
            await answer.read()
            self.ended.append(name)
            self.statuses[answer.status] += 1
            self.reasons[routed(answer)[1]] += 1


async def in_flight(session: aiohttp.ClientSession, stack: Stack) -> int:
    """Return how many requests the instance has."""
    async with session.get(f"{stack.fleet.instances[0].url}/sim/stats") as answer:
        return int((await answer.json())["in_flight"])


@pytest.mark.both_fronts
async def test_the_instance_never_has_more_than_its_slots(own: Stack, session: aiohttp.ClientSession) -> None:
    crowd = Crowd(session, own.url)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(crowd.one(str(number))) for number in range(200)]
        most = 0
        while not all(task.done() for task in tasks):
            most = max(most, await in_flight(session, own))
    assert crowd.statuses == {200: 200}
    assert most == SLOTS
    assert crowd.reasons["fallback"] == 0


@pytest.mark.both_fronts
@pytest.mark.parametrize(
    ("greedy", "modest"),
    [
        ({"Authorization": "Bearer greedy"}, {"Authorization": "Bearer modest"}),
        ({"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "198.51.100.9, 192.0.2.2"}),
    ],
    ids=["keys", "behind a proxy"],
)
async def test_callers_share_alike(
    own: Stack, session: aiohttp.ClientSession, greedy: dict[str, str], modest: dict[str, str]
) -> None:
    """Ten requests of one caller do not wait behind a hundred of another, sent before."""
    crowd = Crowd(session, own.url)
    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(crowd.one(f"greedy {number}", headers=greedy))
        await until(lambda: _reached(crowd, 4), 20, "the first answers")
        for number in range(10):
            group.create_task(crowd.one(f"modest {number}", headers=modest))
    last_modest = max(place for place, name in enumerate(crowd.ended) if name.startswith("modest"))
    # Alike: after 4, some that run and 10 of each, all of the modest caller's are done.
    assert last_modest < 4 + 2 * SLOTS + 2 * 10 + 4, crowd.ended


async def _reached(crowd: Crowd, number: int) -> bool:
    return len(crowd.ended) >= number


async def test_the_agent_dies_while_requests_are_held(own: Stack, session: aiohttp.ClientSession) -> None:
    crowd = Crowd(session, own.url)
    async with asyncio.TaskGroup() as group:
        for number in range(60):
            group.create_task(crowd.one(str(number)))
        await until(lambda: _reached(crowd, 4), 20, "the first answers")
        own.agent.signal(signal.SIGKILL)
    assert crowd.statuses == {200: 60}
    assert crowd.reasons["fallback"] > 0


async def test_the_agent_stops_while_requests_are_held(own: Stack, session: aiohttp.ClientSession) -> None:
    """On SIGTERM every held request gets its decision: none falls back for want of an answer."""
    crowd = Crowd(session, own.url)
    async with asyncio.TaskGroup() as group:
        for number in range(60):
            group.create_task(crowd.one(str(number)))
        await until(lambda: _reached(crowd, 4), 20, "the first answers")
        own.agent.signal(signal.SIGTERM)
        assert await asyncio.wait_for(own.agent.wait(), 30) == 0
    assert crowd.statuses == {200: 60}
    assert crowd.reasons["fallback"] == 0


async def test_a_client_that_leaves_while_held(own: Stack, session: aiohttp.ClientSession) -> None:
    """Its place goes to the next, and nothing of it reaches the instance. For mitmproxy: tests/addon/test_mitmdump."""
    crowd = Crowd(session, own.url)
    async with asyncio.TaskGroup() as group:
        for number in range(SLOTS):
            group.create_task(crowd.one(f"runs {number}", tokens=400))
        await until(lambda: _has(session, own, SLOTS), 20, "all slots taken")
        leaver = group.create_task(crowd.one("leaves"))
        await until(lambda: _held(session, own, 1), 30, "it is held")
        leaver.cancel()
        group.create_task(crowd.one("stays"))
    assert set(crowd.ended) == {"runs 0", "runs 1", "stays"}
    assert crowd.statuses == {200: 3}
    assert (await scene(session, own))["hold"]["length"] == 0
    hold = "pointsman_hold_seconds"

    async def is_counted() -> bool:
        # HAProxy from 3.0 on sees that a client has left once it is told where its request goes.
        found = await scrape(session, own)
        return sum(total(found, hold, f"{hold}_count", outcome=outcome) for outcome in ("left", "granted")) == 2

    await until(is_counted, 10, "what became of both is counted")
    async with session.get(f"{own.fleet.instances[0].url}/sim/stats") as answer:
        assert sum((await answer.json())["served"].values()) == 3


async def _has(session: aiohttp.ClientSession, stack: Stack, number: int) -> bool:
    return await in_flight(session, stack) == number


async def test_a_client_that_left_while_held_is_logged_so(own: Stack, session: aiohttp.ClientSession) -> None:
    """HAProxy 2.6 sees it leave; later ones see that nobody is there when the slot is granted, and say so by `CC`."""
    line = await _leave(own, session)
    while line["spoe_error"] == "1":
        # The machine was so busy that HAProxy did not wait for the answer "hold".
        line = await _leave(own, session)
    assert (line["reason"], line["termination"]) in {("left", "LR"), ("loaded", "CC"), ("loading", "CC")}


async def _leave(own: Stack, session: aiohttp.ClientSession) -> dict[str, object]:
    """Leave while held, and return the line that HAProxy writes."""
    crowd, found = Crowd(session, own.url), []
    begun = own.haproxy.output.read_text()

    async def is_logged() -> bool:
        new = own.haproxy.output.read_text().removeprefix(begun)
        lines = [json.loads(line) for line in new.splitlines() if line.startswith("{")]
        found[:] = [line for line in lines if line["path"].startswith("/v1/")]
        return bool(found)

    async with asyncio.TaskGroup() as group:
        for number in range(SLOTS):
            group.create_task(crowd.one(f"runs {number}", tokens=400))
        await until(lambda: _has(session, own, SLOTS), 20, "all slots taken")
        leaver = group.create_task(crowd.one("leaves", path="/v1/chat/completions"))
        await until(lambda: _held(session, own, 1), 30, "it is held")
        leaver.cancel()
    await until(is_logged, 30, "its line")
    return found[0]


async def _held(session: aiohttp.ClientSession, stack: Stack, number: int) -> bool:
    return bool((await status(session, stack))["hold"]["length"] == number)


@pytest.mark.both_fronts
async def test_who_waits_too_long_is_told_so(
    binary: str, session: aiohttp.ClientSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = {"policies": {"hold_timeout": "1s"}}
    async with stack_of(binary, tmp_path_factory.mktemp("late"), simulated(), settings) as own:
        crowd = Crowd(session, own.url)
        async with asyncio.TaskGroup() as group:
            for number in range(SLOTS):
                group.create_task(crowd.one(str(number), tokens=3000))
            await until(lambda: _has(session, own, SLOTS), 20, "all slots taken")
            body = {**chat("alpha"), "max_tokens": 5}
            for path, error in (
                ("/api/chat", "no slot was free within 1 s; try again later"),
                (
                    "/v1/messages",
                    {"type": "overloaded_error", "message": "no slot was free within 1 s; try again later"},
                ),
            ):
                async with session.post(own.url + path, json=body) as answer:
                    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
                    assert (await answer.json())["error"] == error
                    assert routed(answer) == ("-", "hold timeout")
        assert crowd.statuses == {200: SLOTS}


@pytest.mark.both_fronts
async def test_the_agent_chooses_who_must_go(
    binary: str, session: aiohttp.ClientSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With room for two models, the third makes the one that is asked for least go. Ollama would take alpha."""
    models = (*MODELS, ("gamma:latest", "4.7GB"))
    one = Simulated(instances=1, models=models, max_loaded_models=2, time_scale=20.0)
    async with stack_of(binary, tmp_path_factory.mktemp("room"), one) as own:
        for name in ("beta", *["alpha"] * 8, "gamma"):
            async with session.post(f"{own.url}/api/chat", json=chat(name, stream=False)) as answer:
                assert answer.status == 200, await answer.text()
        async with session.get(f"{own.fleet.instances[0].url}/api/ps") as answer:
            stayed = {entry["name"] for entry in (await answer.json())["models"]}
        async with session.get(f"{own.fleet.instances[0].url}/sim/stats") as answer:
            assert stayed == {"alpha:latest", "gamma:latest"}, await answer.json()


CROWD = 66


@pytest_asyncio.fixture(loop_scope="module")
async def one_slot(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ObservedStack]:
    """The stack of bench.held: one slot for three models of different priority."""
    async with many.stack(binary, tmp_path_factory.mktemp("slot"), hold_timeout="10m") as running:
        await many.warm(running)
        yield running


async def test_a_crowd_is_served_in_the_stated_order(one_slot: ObservedStack) -> None:
    """Priority class, fair share, age: what the instance saw is compared with a rule of the bench's own."""
    seen = await scenes.held_at_once(one_slot, CROWD, probes=5)
    assert (seen.held, seen.served, seen.fell_back) == (CROWD, CROWD, 0)
    assert (seen.in_order_of, seen.out_of_order) == (CROWD, 0)


async def test_a_key_that_sends_ten_times_as_much_gets_no_more(one_slot: ObservedStack) -> None:
    share = await scenes.equal_share(one_slot, CROWD)
    assert (share.offered, share.failed) == ({"greedy": 60, "modest": 6}, 0)
    assert share.served["modest"] == 6
    assert abs(share.served["greedy"] - 6) <= 1


async def test_nobody_is_lost_when_all_ask_in_one_instant(one_slot: ObservedStack) -> None:
    instant = await scenes.one_instant(one_slot, CROWD)
    assert (instant.sent, instant.served) == (CROWD, CROWD)


async def test_urgent_requests_without_end_starve_nobody(binary: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Who has waited for half of the hold time goes before everybody; without that, all others would get 503."""
    async with many.stack(binary, tmp_path_factory.mktemp("haste"), hold_timeout="3s") as own:
        await many.warm(own)
        seen = await scenes.no_starvation(own)
    assert seen.failed == 0
    assert {wait.key: wait.requests for wait in seen.longest if wait.key != many.URGENT} == {
        many.NORMAL: scenes.SLOW,
        many.PATIENT: scenes.SLOW,
    }
