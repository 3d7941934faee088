"""Without the agent HAProxy goes by what the agent wrote down: who has which model, and where it is loaded."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.haproxy.models_map import MODELS_MAP
from spoe_agent.haproxy.runtime import RuntimeAPI
from spoe_agent.rig.stack import POINTSMAN, Process, Simulated, Stack
from tests.e2e.conftest import chat, routed, stack_of, until
from tests.e2e.load import Load

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = "4.7GB"
Store = tuple[str, list[tuple[str, str]]]

STORES: list[Store] = [
    (f"store{number}", [(f"{name}:latest", SIZE) for name in names])
    for number, names in enumerate((("common", "first"), ("common", "second"), ("common", "first", "second")))
]
PINS = {"models": [{"match": "common", "instances": ["gpu1", "gpu2"]}]}


def stack(binary: str, folder: Path, stores: list[Store], **settings: object) -> Stack:
    """Return a stack whose HAProxy has a runtime socket; the agent keeps the map there and in the folder."""
    haproxy = {"runtime": str(folder / "admin.sock"), "files": str(folder / "haproxy")}
    simulated = Simulated(instances=len(stores), stores=stores, time_scale=50.0)
    return stack_of(binary, folder, simulated, {"haproxy": haproxy, **settings})


@pytest_asyncio.fixture(loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Three instances with stores of their own."""
    async with stack(binary, tmp_path_factory.mktemp("own"), STORES, **PINS) as running:
        await until(lambda: knows(running, "^first:latest$", "gpu2"), 10, "HAProxy's map")
        yield running


async def knows(own: Stack, model: str, instance: str) -> bool:
    """Tell whether HAProxy's own map names the instance for the model."""
    api = RuntimeAPI(own.fleet.haproxy.runtime[0])
    with suppress(OSError):
        (reference,) = await api.maps(MODELS_MAP)
        return instance in dict(await api.lines(reference)).get(model, "").replace("+", "").split(",")
    # Its first port is open a moment before its last.
    return False


async def end(own: Stack) -> None:
    """Kill the agent and wait until HAProxy knows."""
    own.agent.signal(signal.SIGKILL)
    await own.agent.wait()

    async def known() -> bool:
        return "Server pointsman_agent/agent1 is DOWN" in own.haproxy.output.read_text()

    await until(known, 10, "the agent is known to be dead")


async def ask(session: aiohttp.ClientSession, own: Stack, model: str, path: str = "/api/chat") -> tuple[int, str, str]:
    async with session.post(own.url + path, json=chat(model, stream=False, max_tokens=4)) as answer:
        await answer.read()
        return answer.status, *routed(answer)


async def test_agent_killed_and_back_with_separate_stores(own: Stack, session: aiohttp.ClientSession) -> None:
    async with Load(session, own.url, ("common", "first", "second")) as load:
        await load.grows(60)
        own.agent.signal(signal.SIGKILL)
        await own.agent.wait()
        await load.grows(150)
        await own.agent.start()

        async def answers() -> bool:
            return (await ask(session, own, "first"))[2] != "fallback"

        await until(answers, 30, "the agent answers again")
        await load.grows(60)
    assert load.failed == []
    assert load.reasons["fallback"] > 50
    where = {name: {instance for model, instance in load.where if model == name} for name, _ in load.where}
    assert where["common"] <= {"gpu1", "gpu2"}
    assert where["first"] <= {"gpu0", "gpu2"}
    assert where["second"] <= {"gpu1", "gpu2"}


async def test_without_anybody_who_asks_haproxy_goes_by_the_map(own: Stack, session: aiohttp.ClientSession) -> None:
    """All that is asked here is asked of one HAProxy whose agent is dead, and which was started anew since."""
    map_file = own.folder / "haproxy" / MODELS_MAP

    async def written() -> bool:
        # What is pinned, the agent has loaded on one of them before anybody asked.
        return {"^first:latest$ ,gpu0,gpu2,", "^common:latest$ ,gpu1+,gpu2,"} <= set(map_file.read_text().splitlines())

    await until(written, 10, "the map in HAProxy's folder")
    await end(own)
    await own.haproxy.stop()
    await own.haproxy.start()
    await until(lambda: _is_up(session, own), 10, "the front")
    for name, may in (
        ("FIRST", {"gpu0", "gpu2"}),
        ("library/second:latest", {"gpu1", "gpu2"}),
        ("common:local", {"gpu1"}),
    ):
        where = Counter([await ask(session, own, name) for _ in range(12)])
        assert set(where) == {(200, instance, "fallback") for instance in may}, name
    async with session.get(f"{own.url}/v1/models/first") as answer:
        assert (answer.status, routed(answer)[0] in {"gpu0", "gpu2"}) == (200, True)
    # It may be new: nobody is claimed not to have it.
    for body in ({"model": "unknown"}, {"Model": "first"}):
        async with session.post(f"{own.url}/v1/messages", json={**chat(""), **body}) as answer:
            error = (await answer.json())["error"]
            assert (answer.status, answer.headers["Retry-After"], error["type"]) == (503, "5", "overloaded_error")
    # Nor does a wish take a model where its pins, or the stores, keep it from.
    for name, wish, code, instance in (
        ("common", "gpu0", 503, "-"),
        ("common", "gpu2", 200, "gpu2"),
        ("first", "gpu1", 503, "-"),
        ("first", "gpu0", 200, "gpu0"),
    ):
        for _ in range(4):
            body, wishes = chat(name, stream=False), {"X-Pointsman-Instance": wish}
            async with session.post(f"{own.url}/api/chat", json=body, headers=wishes) as answer:
                assert (answer.status, routed(answer)[0]) == (code, instance), (name, wish)
    await _the_store_is_changed_by_one(own, session)
    await _who_dies_is_passed_over(own, session)


async def _the_store_is_changed_by_one(own: Stack, session: aiohttp.ClientSession) -> None:
    # One writer of the store, also then: the first that is up. What the simulated one says to it does not matter.
    pulls = [(await ask(session, own, "x", "/api/pull"))[1:] for _ in range(4)]
    assert pulls == [("gpu0", "fallback")] * 4
    deleted = {"model": "second"}
    async with session.delete(f"{own.url}/api/delete", json=deleted) as answer:
        assert (answer.status, routed(answer)) == (200, ("gpu1", "fallback"))
    async with session.post(
        f"{own.fleet.instances[1].url}/api/copy", json={"source": "common", "destination": "second"}
    ) as answer:
        assert answer.status == 200


async def _who_dies_is_passed_over(own: Stack, session: aiohttp.ClientSession) -> None:
    own.ollamas[2].signal(signal.SIGKILL)
    await own.ollamas[2].wait()
    assert await ask(session, own, "second") == (200, "gpu1", "fallback")
    own.ollamas[1].signal(signal.SIGKILL)
    await own.ollamas[1].wait()
    assert (await ask(session, own, "second"))[:2] == (503, "-")
    assert await ask(session, own, "first") == (200, "gpu0", "fallback")


async def _is_up(session: aiohttp.ClientSession, own: Stack) -> bool:
    try:
        return (await ask(session, own, "first"))[0] == 200
    except aiohttp.ClientError:
        return False


async def test_what_is_loaded_comes_first_and_load_is_spread(
    binary: str, session: aiohttp.ClientSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two of three have it loaded: one by one all goes there, evenly; of fifteen at a time the third takes its share.
    One of the three is drained: it gets nothing, although no agent is there to say so.
    """
    shared: list[Store] = [("shared", [("one:latest", SIZE)])] * 4
    async with stack(binary, tmp_path_factory.mktemp("spread"), shared) as own:
        for number in (0, 1):
            async with session.post(f"{own.fleet.instances[number].url}/api/generate", json={"model": "one"}) as answer:
                assert answer.status == 200
        command = [*POINTSMAN, "drain", "gpu3", "--fleet", own.fleet_file]
        async with Process("drain", command, own.folder) as drain:
            assert await drain.wait() == 0

        api = RuntimeAPI(own.fleet.haproxy.runtime[0])

        async def known() -> bool:
            (reference,) = await api.maps(MODELS_MAP)
            loaded = ("^one:latest$", ",gpu0+,gpu1+,gpu2,gpu3,") in await api.lines(reference)
            return loaded and (await api.ask("get weight pointsman_ollama/gpu3")).startswith("0 ")

        await until(known, 10, "HAProxy's map")
        await end(own)
        one_by_one = Counter([(await ask(session, own, "one"))[1] for _ in range(40)])
        assert set(one_by_one) == {"gpu0", "gpu1"}
        assert min(one_by_one.values()) >= 10
        # Four beside each other on each loaded one are as good as one load on the third.
        async with asyncio.TaskGroup() as group:
            streams = []
            for number in range(15):
                streams.append(group.create_task(_endless(session, own)))
                await until(lambda number=number: _begun(session, own, number + 1), 20, "it has begun")
            share = await _in_flight(session, own)
            for stream in streams:
                stream.cancel()
        assert (share["gpu2"] > 0, share["gpu3"]) == (True, 0), share
        assert max(share.values()) <= 7, share


async def _endless(session: aiohttp.ClientSession, own: Stack) -> None:
    body = chat("one", options={"num_predict": 1_000_000})
    async with session.post(f"{own.url}/api/chat", json=body) as answer:
        await answer.read()


async def _begun(session: aiohttp.ClientSession, own: Stack, number: int) -> bool:
    return sum((await _in_flight(session, own)).values()) == number


async def _in_flight(session: aiohttp.ClientSession, own: Stack) -> dict[str, int]:
    found = {}
    for instance in own.fleet.instances:
        async with session.get(f"{instance.url}/sim/stats") as answer:
            found[instance.name] = (await answer.json())["in_flight"]
    return found
