"""Instances that fail in every way that Ollama is known to: found, named, avoided, and taken back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.instances.stall import FIRST_BYTE_FACTOR, LOAD_FACTOR
from spoe_agent.instances.usual import FIRST_BYTE_S
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import MODELS, SETTINGS, chat, routed, seen_by, until
from tests.e2e.eyes import see
from tests.e2e.operator import QUICK, ask, asking, by_hand, fault, one

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

AGE, ENDED = "pointsman_readings_age_seconds", "pointsman_requests_ended_total"
HEALTH = "pointsman_instance_health"
LOAD_S = 0.75
"""What a load of tiny:1b should take, until one has been seen."""
FOUND_WITHIN_S = 10.0
BACK_WITHIN_S = 10.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    models = (*MODELS, ("tiny:1b", "300MB"), ("small:1b", "400MB"))
    simulated = Simulated(instances=3, models=models, max_loaded_models=6, time_scale=50.0)
    pins = [
        *SETTINGS["models"],
        {"match": "tiny:1b", "instances": ["gpu1"]},
        {"match": "small:1b", "instances": ["gpu1"]},
    ]
    settings = {"models": pins, "policies": QUICK}
    async with Stack(tmp_path_factory.mktemp("health"), binary, simulated, settings=settings) as running:
        yield running


async def becomes(session: aiohttp.ClientSession, stack: Stack, instance: str, health: str, within_s: float) -> str:
    """Wait for a state; return the evidence."""
    evidence = ""

    async def reached() -> bool:
        nonlocal evidence
        found = await one(session, stack, instance)
        evidence = found["evidence"]
        return bool(found["health"] == health)

    took_s = await until(reached, within_s, f"{instance} {health}")
    print(f"{instance} {health} after {took_s:.2f} s: {evidence}")
    return evidence


async def home(session: aiohttp.ClientSession, stack: Stack, model: str) -> str:
    """Have a model loaded, and return where."""
    status, instance = await ask(session, stack, model)
    assert status == 200
    return instance


async def unloaded(session: aiohttp.ClientSession, stack: Stack, model: str, instance: str) -> None:
    """Have a pinned model unloaded, which the agent has loaded before anybody asked."""
    async with session.post(f"{stack.url}/api/generate", json={"model": model, "keep_alive": 0}) as answer:
        assert answer.status == 200

    async def gone() -> bool:
        found = (await one(session, stack, instance))["loaded"]
        return not any(there["model"].startswith(model) for there in found)

    await until(gone, FOUND_WITHIN_S, f"{model} unloaded")


@asynccontextmanager
async def all_to(session: aiohttp.ClientSession, stack: Stack, instance: str) -> AsyncIterator[None]:
    """Requests go to one instance only, although others may have the model too: tests before may have loaded it."""
    others = [spec.name for spec in stack.fleet.instances if spec.name != instance]
    for name in others:
        await by_hand(session, stack, name, "drain")
    try:
        yield
    finally:
        for name in others:
            await by_hand(session, stack, name, "ready")


async def test_killed_and_back(own: Stack, session: aiohttp.ClientSession) -> None:
    victim = await home(session, own, "alpha")
    process = own.ollamas[int(victim.removeprefix("gpu"))]
    process.signal(signal.SIGKILL)
    await process.wait()
    within_s = 2 * own.fleet.policies.poll.interval
    await see(session, own, victim, "refused", HEALTH, within_s=within_s, instance=victim, state="down")
    for _ in range(10):
        status, instance = await ask(session, own, "alpha")
        assert (status, instance != victim) == (200, True)
    await process.start()
    assert "probe" in await becomes(session, own, victim, "up", BACK_WITHIN_S)

    async def serves() -> bool:
        """HAProxy looks by itself whether it is back, and may know a little later than an agent that polls so often."""
        return await ask(session, own, "alpha") == (200, victim)

    async with all_to(session, own, victim):
        await until(serves, BACK_WITHIN_S, "an answer of the one that is back")


async def test_hangs_before_the_first_byte_while_it_lists_models(own: Stack, session: aiohttp.ClientSession) -> None:
    victim = await home(session, own, "beta:7b")
    # It is pinned: where that one was started anew just now, the agent loads it by itself.
    assert await home(session, own, "gamma") == "gpu2"
    policy = own.fleet.policies.health
    await fault(session, own, victim, "hang_before_first_byte")
    async with asking(session, own, "beta:7b"):
        what = "no request of beta:7b has ended"
        within_s = max(policy.stall, FIRST_BYTE_FACTOR * FIRST_BYTE_S) + policy.probe_timeout
        await see(session, own, victim, what, HEALTH, within_s=within_s, instance=victim, state="suspect")
        # Nothing more goes there: another instance loads the model.
        assert (await ask(session, own, "beta:7b"))[1] != victim
    await fault(session, own, victim, "none")
    await becomes(session, own, victim, "up", BACK_WITHIN_S)


async def test_hangs_with_every_slot_taken(own: Stack, session: aiohttp.ClientSession) -> None:
    """A probe would only wait in line: silence far beyond the usual is the evidence. The model is pinned."""
    for _ in range(3):
        assert await ask(session, own, "gamma") == (200, "gpu2")
    await fault(session, own, "gpu2", "hang_before_first_byte")
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(ask(session, own, "gamma")) for _ in range(own.simulated.num_parallel)]
        what, within_s = "no request of gamma:latest has ended", own.fleet.policies.health.stall
        await see(session, own, "gpu2", what, HEALTH, within_s=within_s, instance="gpu2", state="suspect")
        evidence = await becomes(session, own, "gpu2", "suspect", FOUND_WITHIN_S)
        assert (f"{len(waiting)} in flight" in evidence, "probe" in evidence) == (True, False)
        await fault(session, own, "gpu2", "none")
    assert {task.result() for task in waiting} == {(200, "gpu2")}
    await becomes(session, own, "gpu2", "up", BACK_WITHIN_S)


async def test_cut_streams(own: Stack, session: aiohttp.ClientSession) -> None:
    victim = await home(session, own, "alpha")
    await fault(session, own, victim, "cut_stream", count=2)
    body = {"model": "alpha", "prompt": "x", "options": {"num_predict": 50}}
    async with all_to(session, own, victim):
        for _ in range(2):
            with pytest.raises(aiohttp.ClientPayloadError):
                async with session.post(f"{own.url}/api/generate", json=body) as answer:
                    await answer.read()
    assert "broke" in await becomes_and_back(session, own, victim)
    # It is up again as soon as a probe is answered; what has broken is still seen.
    await see(session, own, victim, "2 requests broke off lately", ENDED, instance=victim, outcome="broken")


async def test_wrong_status(own: Stack, session: aiohttp.ClientSession) -> None:
    victim = await home(session, own, "alpha")
    await fault(session, own, victim, "wrong_status", status=500, count=2)
    async with all_to(session, own, victim):
        for _ in range(2):
            assert (await ask(session, own, "alpha"))[0] == 500

        async def probed() -> bool:
            return (await ask(session, own, "alpha"))[0] == 200

        await until(probed, FOUND_WITHIN_S, "an answer")
    # What one client asks of one model may be its own mistake: a probe was to tell.
    assert (await one(session, own, victim))["health"] == "up"


async def test_two_failures_and_no_more_until_it_answers_again(own: Stack, session: aiohttp.ClientSession) -> None:
    """The instance's own list of requests tells; probes are not in it."""
    victim = await home(session, own, "alpha")
    number = int(victim.removeprefix("gpu"))
    others = [instance.name for instance in own.fleet.instances if instance.name != victim]
    before = len(await seen_by(session, own, number))
    await fault(session, own, victim, "wrong_status", status=500)
    async with all_to(session, own, victim):
        for _ in range(2):
            assert await ask(session, own, "alpha") == (500, victim)
    await see(session, own, victim, "answered 500", HEALTH, instance=victim, state="suspect")
    for _ in range(20):
        status, instance = await ask(session, own, "alpha")
        assert (status, instance in others) == (200, True)
    assert len(await seen_by(session, own, number)) == before + 2
    await fault(session, own, victim, "none")
    await becomes(session, own, victim, "up", BACK_WITHIN_S)
    async with all_to(session, own, victim):
        assert await ask(session, own, "alpha") == (200, victim)
    assert len(await seen_by(session, own, number)) == before + 3


async def becomes_and_back(session: aiohttp.ClientSession, stack: Stack, victim: str) -> str:
    """The log tells of the doubt, as it may be lifted between two looks; return its evidence."""

    def doubts() -> list[str]:
        lines = stack.agent.output.read_text().splitlines()
        return [line for line in lines if '"after": "suspect"' in line and f'"instance": "{victim}"' in line]

    known = len(doubts()) - 1

    async def told() -> bool:
        return len(doubts()) > max(known, 0)

    await until(told, FOUND_WITHIN_S, "a line about the doubt")
    await becomes(session, stack, victim, "up", BACK_WITHIN_S)
    return doubts()[-1]


async def test_a_slow_list_is_a_transition_not_a_death(own: Stack, session: aiohttp.ClientSession) -> None:
    victim = await home(session, own, "alpha")
    await fault(session, own, victim, "slow_ps", seconds=5)

    within_s = own.fleet.policies.poll.timeout
    await see(session, own, victim, "in transition", HEALTH, within_s=within_s, instance=victim, state="up")
    async with all_to(session, own, victim):
        assert (await ask(session, own, "alpha")) == (200, victim)
    await fault(session, own, victim, "none")


async def test_lists_that_fail_are_said_once_and_the_instance_serves(
    own: Stack, session: aiohttp.ClientSession
) -> None:
    victim = await home(session, own, "alpha")
    number = int(victim.removeprefix("gpu"))

    def lines() -> list[str]:
        return [line for line in own.agent.output.read_text().splitlines() if f'"instance": "{victim}"' in line]

    async def seen(path: str) -> int:
        async with session.get(f"{own.fleet.instances[number].url}/sim/requests") as answer:
            requests = (await answer.json())["requests"]
        return len([one for one in requests if one["path"] == path and not one["request_id"]])

    before, polls, probes = len(lines()), await seen("/api/ps"), await seen("/api/generate")
    await fault(session, own, victim, "wrong_ps")
    poll = own.fleet.policies.poll
    within_s = 2 * (poll.interval + 2 * poll.timeout)
    await see(session, own, victim, "answered 500", AGE, within_s=within_s, instance=victim)

    async def polled() -> bool:
        return await seen("/api/ps") > polls + 20

    await until(polled, FOUND_WITHIN_S + 10, "twenty polls that were answered 500")
    await becomes(session, own, victim, "up", BACK_WITHIN_S)
    async with all_to(session, own, victim):
        assert await ask(session, own, "alpha") == (200, victim)
    # Doubt, and that a probe was answered; then a probe now and then, and not a word more.
    assert len(lines()) <= before + 2
    assert 1 <= await seen("/api/generate") - probes <= 5
    await fault(session, own, victim, "none")


async def test_a_wedged_loader_serves_what_is_loaded_and_gets_no_loads(
    own: Stack, session: aiohttp.ClientSession
) -> None:
    assert await ask(session, own, "small:1b") == (200, "gpu1")
    await unloaded(session, own, "tiny:1b", "gpu1")
    await fault(session, own, "gpu1", "wedged_loader")
    async with asyncio.TaskGroup() as group:
        stuck = group.create_task(ask(session, own, "tiny:1b"))
        what, within_s = "tiny:1b has been loading for", max(own.fleet.policies.health.load_stall, LOAD_FACTOR * LOAD_S)
        await see(session, own, "gpu1", what, HEALTH, within_s=within_s, instance="gpu1", state="suspect")
        assert await ask(session, own, "small:1b") == (200, "gpu1")
        async with session.post(f"{own.url}/api/embed", json={"model": "embed", "input": "x"}) as answer:
            assert (answer.status, routed(answer)[0] != "gpu1") == (200, True)
        await fault(session, own, "gpu1", "none")
    assert stuck.result() == (200, "gpu1")
    assert "loaded" in await becomes(session, own, "gpu1", "up", BACK_WITHIN_S)


async def test_a_spilled_model_is_named(own: Stack, session: aiohttp.ClientSession) -> None:
    """As long as it is used: once it is idle the agent has it unloaded, since the GPU would hold all of it."""
    await unloaded(session, own, "gamma", "gpu2")
    await fault(session, own, "gpu2", "spill", fraction=0.5)
    body = chat("gamma", options={"num_predict": 100_000})
    async with session.post(f"{own.url}/api/chat", json=body) as answer:
        await answer.content.readany()
        assert (answer.status, routed(answer)[0]) == (200, "gpu2")
        what, within_s = "gamma:latest is partly on the CPU", own.fleet.policies.poll.interval
        await see(
            session, own, "gpu2", what, "pointsman_loaded_bytes", within_s=within_s, instance="gpu2", memory="cpu"
        )
    await fault(session, own, "gpu2", "none")


async def test_drained_by_hand(own: Stack, session: aiohttp.ClientSession) -> None:
    """Nothing new goes there, also with the agent gone; its streams finish."""
    body = {"model": "alpha", "prompt": "x", "options": {"num_predict": 6000}}
    async with session.post(f"{own.url}/api/generate", json=body) as stream:
        await stream.content.readany()
        victim = routed(stream)[0]
        await by_hand(session, own, victim, "drain")
        assert (await one(session, own, victim))["health"] == "drained"
        await see(session, own, victim, "by hand", HEALTH, instance=victim, state="drained")
        before = len(await seen_by(session, own, int(victim.removeprefix("gpu"))))
        for _ in range(10):
            status, instance = await ask(session, own, "alpha")
            assert (status, instance != victim) == (200, True)
        assert len(await seen_by(session, own, int(victim.removeprefix("gpu")))) == before
        rest = await stream.content.read()
    assert b'"done":true' in rest
    await by_hand(session, own, victim, "ready")
    await becomes(session, own, victim, "up", BACK_WITHIN_S)


async def test_all_drained_by_hand_still_list_what_they_have(own: Stack, session: aiohttp.ClientSession) -> None:
    names = [instance.name for instance in own.fleet.instances]
    try:
        for name in names:
            await by_hand(session, own, name, "drain")
        assert (await ask(session, own, "alpha"))[0] == 503
        for path in ("/api/tags", "/api/ps", "/v1/models", "/api/version", "/"):
            async with session.get(f"{own.url}{path}") as answer:
                assert answer.status == 200, path
                assert ("alpha" in await answer.text()) or path not in ("/api/tags", "/v1/models")
    finally:
        for name in names:
            await by_hand(session, own, name, "ready")
    for name in names:
        await becomes(session, own, name, "up", BACK_WITHIN_S)


async def test_everybody_in_doubt_is_better_than_nobody(own: Stack, session: aiohttp.ClientSession) -> None:
    where = await home(session, own, "gamma")
    await fault(session, own, where, "wrong_status", status=500, count=2)
    for _ in range(2):
        assert (await ask(session, own, "gamma"))[0] == 500
    assert await ask(session, own, "gamma") == (200, where)


async def test_lost_gpus_are_named(own: Stack, session: aiohttp.ClientSession) -> None:
    """All that the instance has loaded is on the CPU. The last test: it is not trusted before it is started anew."""
    spec = own.fleet.instances[2]

    async def empty() -> bool:
        """What is loaded is unloaded; what a probe, or the agent of its own, has there meanwhile, at the next look."""
        found = (await one(session, own, spec.name))["loaded"]
        for there in found:
            body = {"model": there["model"], "keep_alive": 0}
            async with session.post(f"{spec.url}/api/generate", json=body) as answer:
                assert answer.status == 200
        return not found

    await until(empty, FOUND_WITHIN_S, "nothing loaded")
    await fault(session, own, spec.name, "spill", fraction=1.0)
    assert await ask(session, own, "gamma") == (200, spec.name)
    what, doubts, within_s = (
        "gamma:latest on the CPU alone",
        "pointsman_instance_doubts",
        own.fleet.policies.poll.interval,
    )
    await see(session, own, spec.name, what, doubts, within_s=within_s, instance=spec.name, about="gpus")
