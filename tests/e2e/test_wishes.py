"""Headers by which a request says what it wishes of its routing; none of them reaches Ollama."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from multidict import CIMultiDict

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, is_mitmproxy, routed, seen_by, stack_of, until
from tests.e2e.operator import status

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

INSTANCE, PRIORITY, TIMEOUT = "X-Pointsman-Instance", "X-Pointsman-Priority", "X-Pointsman-Timeout"
MODELS = (("alpha:latest", "4.7GB"), ("beta:7b", "9GB"))
DEADLINE_S = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two instances with one slot each; the second has no beta."""
    simulated = Simulated(
        instances=2, num_parallel=1, time_scale=10.0, stores=(("both", MODELS), ("alpha", MODELS[:1]))
    )
    async with stack_of(binary, tmp_path_factory.mktemp("wishes"), simulated) as running:
        yield running


async def asked(
    session: aiohttp.ClientSession, stack: Stack, headers: dict[str, str], model: str = "alpha", tokens: int = 2
) -> tuple[int, str, str]:
    """Return status, instance and text of a chat."""
    body = chat(model, stream=False, options={"num_predict": tokens})
    async with session.post(f"{stack.url}/api/chat", json=body, headers=headers) as answer:
        said = await answer.json()
        return answer.status, routed(answer)[0], said.get("error", "")


@pytest.mark.parametrize("name", ["gpu0", "gpu1"])
async def test_the_instance_that_is_wanted_serves(own: Stack, session: aiohttp.ClientSession, name: str) -> None:
    for _ in range(3):
        assert await asked(session, own, {INSTANCE: name}) == (200, name, "")
    async with session.get(f"{own.url}/api/tags", headers={INSTANCE: name}) as answer:
        assert routed(answer) == (name, "list")
        assert len((await answer.json())["models"]) == {"gpu0": 2, "gpu1": 1}[name]


async def test_where_it_cannot_it_is_refused(own: Stack, session: aiohttp.ClientSession) -> None:
    told = "model 'beta:7b' not found (only gpu1 was asked for, by the header x-pointsman-instance)"
    assert await asked(session, own, {INSTANCE: "gpu1"}, "beta:7b") == (404, "-", told)
    told = "no instance is called 'gpu9' (header x-pointsman-instance)"
    assert await asked(session, own, {INSTANCE: "gpu9"}) == (404, "-", told)


WRONG = {
    INSTANCE: ("a b", "'a b' is not a name of an instance"),
    PRIORITY: ("urgent", "'urgent' is not interactive or batch"),
    TIMEOUT: ("soon", "'soon' is not seconds, or a time such as 500ms, 30s or 2m"),
}


@pytest.mark.parametrize("header", WRONG)
async def test_one_that_cannot_be_read_is_named(own: Stack, session: aiohttp.ClientSession, header: str) -> None:
    value, why = WRONG[header]
    told = f"header {header.lower()}: {why}"
    assert await asked(session, own, {header: value}) == (400, "-", told)
    body = {**chat("alpha"), "max_tokens": 5}
    async with session.post(f"{own.url}/v1/messages", json=body, headers={header: value}) as answer:
        assert (await answer.json())["error"] == {"type": "invalid_request_error", "message": told}
    async with session.get(f"{own.url}/api/tags", headers={header: value}) as answer:
        assert answer.status == 400


async def test_none_of_them_reaches_ollama(own: Stack, session: aiohttp.ClientSession) -> None:
    headers = {INSTANCE: "gpu0", PRIORITY: "batch", TIMEOUT: "5", "x-POINTSMAN-anything": "x", "X-Other": "y"}
    assert (await asked(session, own, headers))[:2] == (200, "gpu0")
    names = set((await seen_by(session, own, 0))[-1]["headers"])  # type: ignore[call-overload]
    # For another pass HAProxy has notes of its own.
    notes = {"x-pointsman-tried", "x-pointsman-wish", "x-pointsman-caller"}
    of_haproxy = set() if is_mitmproxy(own.binary) else notes
    assert {name for name in names if name.startswith("x-pointsman-")} == of_haproxy
    assert "x-other" in names


async def test_of_one_that_comes_twice_the_first_counts(own: Stack, session: aiohttp.ClientSession) -> None:
    for first, second in (("gpu0", "gpu1"), ("gpu1", "gpu0")):
        headers = CIMultiDict([(INSTANCE, first), (INSTANCE, second)])
        async with session.get(f"{own.url}/api/tags", headers=headers) as answer:
            assert (answer.status, routed(answer)) == (200, (first, "list"))


HERE = {INSTANCE: "gpu0"}
LONG = chat("alpha", options={"num_predict": 100_000})


async def test_who_does_not_want_to_wait_longer_is_told_so(own: Stack, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{own.url}/api/chat", json=LONG, headers=HERE) as running:
        await running.content.readany()
        told = "no slot was free within 0.5 s; try again later (header x-pointsman-timeout)"
        assert await asked(session, own, {**HERE, TIMEOUT: "500ms"}) == (503, "-", told)


@pytest.mark.haproxy
async def test_who_is_less_urgent_comes_last(own: Stack, session: aiohttp.ClientSession) -> None:
    ended: list[str] = []

    async def one(name: str, headers: dict[str, str]) -> None:
        assert (await asked(session, own, {**HERE, **headers}))[0] == 200
        ended.append(name)

    async def all_are_held() -> bool:
        return len((await status(session, own))["hold"]["requests"]) == 6

    async with session.post(f"{own.url}/api/chat", json=LONG, headers=HERE) as running, asyncio.TaskGroup() as group:
        await running.content.readany()
        for number in range(3):
            group.create_task(one("batch", {PRIORITY: "batch"}))
            group.create_task(one("interactive", {PRIORITY: "interactive"} if number else {}))
        await until(all_are_held, DEADLINE_S, "all are held")
        running.close()
    assert ended == ["interactive"] * 3 + ["batch"] * 3


@pytest.mark.haproxy
async def test_without_the_agent_and_when_it_is_down(own: Stack, session: aiohttp.ClientSession) -> None:
    """HAProxy alone keeps to it too, and nobody else gets what it did not take."""
    own.ollamas[1].signal(signal.SIGKILL)
    await own.ollamas[1].wait()
    code, instance, text = await asked(session, own, {INSTANCE: "gpu1"})
    assert (code, instance) == (503, "-")
    assert "only gpu1 was asked for" in text
    own.agent.signal(signal.SIGKILL)
    await own.agent.wait()
    try:
        assert await asked(session, own, {INSTANCE: "gpu0"}) == (200, "gpu0", "")

        async def is_down() -> bool:
            return (await asked(session, own, {INSTANCE: "gpu1"}))[0] == 503

        await until(is_down, DEADLINE_S, "it is down")
        assert (await asked(session, own, {}))[:2] == (200, "gpu0")
    finally:
        await own.ollamas[1].start()
        await own.agent.start()
