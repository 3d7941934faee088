"""The measurements: a crowd held at once, two keys of unequal appetite, patience beside haste, one single instant."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from bench.held.clients import Answered, Caller
from bench.held.crowd import (
    FAST,
    FREE,
    NORMAL,
    PATIENT,
    URGENT,
    Crowd,
    Wait,
    occupied,
    served_order,
    steady,
    waits,
)
from bench.held.probe import FastPath, fast_path
from bench.held.rig import AGENT, ObservedStack, cpu_s, resident_mb
from bench.held.rule import out_of_order

ARRIVALS_PER_S = 400.0
CALLERS = 40
"""Of the crowd; the first has as many requests as all others."""
CROWD_TOKENS = 500
"""Four milliseconds each: Ollama does not answer faster, and on few cores a busier instance would take the probes'."""
HURRIED, SLOW = 20, 10
"""Requests of the urgent class that always wait, and of the others beside them."""


@dataclass(frozen=True, slots=True)
class Held:
    """A crowd held at once and then let in."""

    sent: int
    held: int
    """In the agent's queue at once."""
    served: int
    """Status 200."""
    fell_back: int
    """Served without the agent's word."""
    out_of_order: int
    in_order_of: int
    """Held requests that were seen at the instance."""
    release_s: float
    agent_mb: float
    """Before anybody is held."""
    agent_held_mb: float
    haproxy_mb: float
    haproxy_held_mb: float
    spop_connections: int
    before: FastPath
    while_held: FastPath
    while_let_in: FastPath
    after: FastPath
    longest: list[Wait]


def crowd_of(number: int) -> list[tuple[str, str]]:
    """Return keys and models: a tenth urgent, a fifth patient; half of all from one key."""
    models = [URGENT] + 7 * [NORMAL] + 2 * [PATIENT]
    keys = ["key 0" if n % 2 else f"key {1 + n // 2 % (CALLERS - 1)}" for n in range(number)]
    return [(key, models[n * 7 % 10]) for n, key in enumerate(keys)]


async def held_at_once(own: ObservedStack, number: int, probes: int) -> Held:
    """Hold a crowd, let it in, and compare the order in which the instance saw it with the rule."""
    before = await fast_path(own, FAST, FREE, probes)
    agent_mb, haproxy_mb = resident_mb(own.agent), resident_mb(own.haproxy)
    async with Crowd(own) as crowd, AsyncExitStack() as slot:
        await slot.enter_async_context(occupied(own))
        await crowd.send(crowd_of(number), ARRIVALS_PER_S, CROWD_TOKENS)
        waiting = await steady(own)
        agent_held_mb, haproxy_held_mb = resident_mb(own.agent), resident_mb(own.haproxy)
        connections = int((await own.show_stat())[AGENT, "BACKEND"]["scur"])
        while_held = await fast_path(own, FAST, FREE, probes)
        begun_s = time.monotonic()
        await slot.aclose()
        let_in = asyncio.ensure_future(fast_path(own, FAST, FREE, probes))
        try:
            answers = await crowd.answers()
            release_s = answers[-1].ended_at_s - begun_s
            while_let_in = await let_in
        finally:
            let_in.cancel()
            with suppress(asyncio.CancelledError):
                await let_in
    after = await fast_path(own, FAST, FREE, probes)
    order = await served_order(own)
    held = {one.request_id for one in waiting}
    return Held(
        sent=number,
        held=len(waiting),
        served=sum(answer.status == 200 for answer in answers),
        fell_back=sum(answer.reason == "fallback" for answer in answers),
        out_of_order=out_of_order(waiting, order),
        in_order_of=len(held & set(order)),
        release_s=release_s,
        agent_mb=agent_mb,
        agent_held_mb=agent_held_mb,
        haproxy_mb=haproxy_mb,
        haproxy_held_mb=haproxy_held_mb,
        spop_connections=connections,
        before=before,
        while_held=while_held,
        while_let_in=while_let_in,
        after=after,
        longest=waits(answers),
    )


@dataclass(frozen=True, slots=True)
class Share:
    """Two keys, ten times as many requests of one, both backlogged."""

    offered: dict[str, int]
    served: dict[str, int]
    """Until the smaller one had all of its own."""
    longest: list[Wait]
    failed: int


async def equal_share(own: ObservedStack, number: int) -> Share:
    """Hold 10:1 requests of two keys, and count who is served as long as both wait."""
    asks = [("modest" if n % 11 == 10 else "greedy", NORMAL) for n in range(number)]
    async with Crowd(own) as crowd:
        async with occupied(own):
            await crowd.send(asks, ARRIVALS_PER_S)
            await steady(own)
        answers = await crowd.answers()
    last = max(place for place, answer in enumerate(answers) if answer.key == "modest")
    return Share(
        dict(Counter(key for key, _ in asks)),
        dict(Counter(answer.key for answer in answers[: last + 1])),
        waits(answers),
        sum(answer.status != 200 for answer in answers),
    )


@dataclass(frozen=True, slots=True)
class Patience:
    """Less urgent requests beside urgent ones that never end."""

    hold_timeout_s: float
    urgent_served: int
    """While the others waited."""
    failed: int
    longest: list[Wait]


async def no_starvation(own: ObservedStack) -> Patience:
    """Keep urgent requests waiting without a pause until everybody else has been served."""
    asks = [(f"{model} {n}", model) for n in range(SLOW) for model in (NORMAL, PATIENT)]
    hurried: list[Answered] = []
    is_over = asyncio.Event()

    async def hurry(number: int) -> None:
        async with await Caller.connect(own.port, f"hurried {number % 4}") as caller:
            while not is_over.is_set():
                caller.ask(URGENT)
                hurried.append(await caller.answer())
                if not hurried[-1].status:
                    return

    async with asyncio.TaskGroup() as group, Crowd(own) as crowd:
        for number in range(HURRIED):
            group.create_task(hurry(number))
        try:
            await crowd.send(asks, per_s=None)
            answers = await crowd.answers()
        finally:
            is_over.set()
    failed = sum(answer.status != 200 for answer in (*answers, *hurried))
    by_class = [Answered(one.model, one.model, one.status, one.reason, one.wait_s, 0.0) for one in (*answers, *hurried)]
    return Patience(own.fleet.policies.hold_timeout, len(hurried), failed, waits(by_class))


@dataclass(frozen=True, slots=True)
class Instant:
    """A crowd that asks in the same instant."""

    sent: int
    held: int
    fell_back: int
    """HAProxy did not wait for the agent's answer: served, but unordered."""
    served: int
    sending_ms: float
    """From the first to the last request."""
    cpu_agent_s: float
    cpu_haproxy_s: float
    spop_connections: int
    """The most at a time."""
    agent_errors: dict[str, int]
    """HAProxy's codes of unanswered questions: 1 is `timeout processing`, 256 and up an error of the connection."""


async def one_instant(own: ObservedStack, number: int) -> Instant:
    """Send everything at once, and count who is held and who fell back."""
    seen = len(own.log_lines())
    async with Crowd(own) as crowd:
        async with occupied(own):
            cpu_before = cpu_s(own.agent), cpu_s(own.haproxy)
            sending_s = await crowd.send([(f"key {n % CALLERS}", NORMAL) for n in range(number)], per_s=None)
            held = len(await steady(own))
            cpu = cpu_s(own.agent) - cpu_before[0], cpu_s(own.haproxy) - cpu_before[1]
            most = int((await own.show_stat())[AGENT, "BACKEND"]["smax"])
        answers = await crowd.answers()
    lines = own.log_lines()[seen:]
    errors = Counter(line.rpartition('"spoe_error":"')[2].partition('"')[0] for line in lines)
    return Instant(
        sent=number,
        held=held,
        fell_back=sum(answer.reason == "fallback" for answer in answers),
        served=sum(answer.status == 200 for answer in answers),
        sending_ms=1000 * sending_s,
        cpu_agent_s=cpu[0],
        cpu_haproxy_s=cpu[1],
        spop_connections=most,
        agent_errors={code: count for code, count in errors.items() if code != "-"},
    )
