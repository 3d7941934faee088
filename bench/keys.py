"""What keys cost, and what one key's flood costs another: ratios of one run, before simulated Ollamas on this machine.

    python -m bench.keys [--keys 10000] [--rounds 6] [--requests 500]

One JSON object: p50 and p99 of a small request with two keys in HAProxy's map and with many, in turns; the same, and
the longest, of requests about which the agent is asked, at a fixed rate, so that whatever holds the agent up is seen;
how long it takes until a revoked key is refused; p95 of another key's time to the first token, alone and by a flood.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles
from uuid import uuid4

import aiohttp

from spoe_agent.haproxy.key_keeper import VERIFY_INTERVAL_S
from spoe_agent.haproxy.key_maps import key_lines
from spoe_agent.haproxy.key_places import put
from spoe_agent.keys.entry import Key, hash_of
from spoe_agent.keys.file import Keys, change
from spoe_agent.rig.haproxy import find_haproxy
from spoe_agent.rig.stack import Simulated, Stack

CALM, FLOOD, FEW = "pm-calm", "pm-flood", 1
"""Two secrets, and how many requests at a time the second one's key may have."""
PROMPT = "a few words " * 600
"""Read in some tenths of a second: beside that, what a busy machine adds is little."""
NEW, CACHED = 8, 200
"""Streams in a turn, alone and beside the flood."""
SETTLED_S = 10.0
"""The agent has read what was written before, and looked whether HAProxy has it."""
READ_S = 2.0
"""The agent has read what was just written; how long that takes is told by itself."""
RATE_PER_S, RATED_S = 50, 3 * VERIFY_INTERVAL_S
"""Of requests at a fixed rate, and how long: the agent looks some times meanwhile."""


def keys(count: int) -> Keys:
    """Return so many keys, of which two are used."""
    own = Key(name="calm", hash=hash_of(CALM)), Key(name="flood", hash=hash_of(FLOOD), concurrent=FEW)
    made = (Key(name=f"key{n}", hash=hash_of(f"pm-{n}"), models=("alpha", f"m{n % 20}*"), rpm=60) for n in range(count))
    return (*own, *made)


def header(secret: str) -> dict[str, str]:
    """Return the header of a key."""
    return {"Authorization": f"Bearer {secret}"}


async def put_in_place(stack: Stack, of: Keys) -> None:
    """Have HAProxy know these keys."""
    change(stack.folder / "keys" / "keys.json", lambda _: of)
    wrong = {place: why for place, why in (await put(stack.fleet.haproxy, key_lines(of))).items() if why}
    assert not wrong, wrong


async def latencies(session: aiohttp.ClientSession, stack: Stack, requests: int) -> list[float]:
    """Return how long small requests took, one after the other, in milliseconds."""
    found = []
    for _ in range(requests):
        begun = time.perf_counter()
        async with session.get(f"{stack.url}/api/version", headers=header(CALM)) as answer:
            await answer.read()
            assert answer.status == 200
        found.append(1000 * (time.perf_counter() - begun))
    return found


async def at_a_rate(session: aiohttp.ClientSession, stack: Stack) -> list[float]:
    """Return how long requests took of which the agent is asked, in milliseconds from when each was due: those before
    need not have ended.
    """
    begun = time.perf_counter()

    async def one(due_s: float) -> float:
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        async with session.post(f"{stack.url}/api/show", json={"model": "alpha"}, headers=header(CALM)) as answer:
            await answer.read()
            assert answer.status == 200
        return 1000 * (time.perf_counter() - due_s)

    return await asyncio.gather(*(one(begun + n / RATE_PER_S) for n in range(int(RATED_S * RATE_PER_S))))


async def rated(session: aiohttp.ClientSession, stack: Stack, count: int) -> object:
    """Return the latencies at a fixed rate with few and with many keys."""
    found = {}
    for name, of in (("few", keys(0)), ("many", keys(count))):
        await put_in_place(stack, of)
        await asyncio.sleep(SETTLED_S)
        took = await at_a_rate(session, stack)
        found[name] = {"p50_ms": _at(took, 50), "p99_ms": _at(took, 99), "longest_ms": round(max(took), 2)}
    return found


async def compared(session: aiohttp.ClientSession, stack: Stack, count: int, rounds: int, requests: int) -> object:
    """Return the latencies with few and with many keys, in turns."""
    few: list[float] = []
    many: list[float] = []
    for _ in range(rounds):
        for of, into in ((keys(0), few), (keys(count), many)):
            await put_in_place(stack, of)
            await asyncio.sleep(READ_S)
            await latencies(session, stack, 20)
            into += await latencies(session, stack, requests)
    said = {name: {"p50_ms": _at(of, 50), "p99_ms": _at(of, 99)} for name, of in (("few", few), ("many", many))}
    return {**said, "p99_ratio": round(_at(many, 99) / _at(few, 99), 3)}


async def revoked_s(session: aiohttp.ClientSession, stack: Stack, count: int, *, by_agent: bool) -> float:
    """Return how long a key is good after its file was written: as `pointsman key revoke` tells HAProxy, or as the
    agent does when nobody else has.
    """
    await put_in_place(stack, keys(count))
    await asyncio.sleep(SETTLED_S)
    left = change(stack.folder / "keys" / "keys.json", lambda all_keys: all_keys[1:])
    begun = time.perf_counter()
    if not by_agent:
        await put(stack.fleet.haproxy, key_lines(left))
    while True:
        async with session.get(f"{stack.url}/api/version", headers=header(CALM)) as answer:
            if answer.status == 401:
                return round(time.perf_counter() - begun, 3)
        await asyncio.sleep(0.01)


async def first_tokens(session: aiohttp.ClientSession, stack: Stack, requests: int, is_new: bool) -> list[float]:
    """Return the times to the first token of streams, one after the other, in milliseconds. `is_new`: of prompts that
    nobody has cached; else all are the same one.
    """
    found = []
    for _ in range(requests):
        message = {"role": "user", "content": f"{uuid4() if is_new else ''} {PROMPT}"}
        ask = {"model": "alpha", "messages": [message], "options": {"num_predict": 5}}
        begun = time.perf_counter()
        async with session.post(f"{stack.url}/api/chat", json=ask, headers=header(CALM)) as answer:
            await answer.content.readline()
            found.append(1000 * (time.perf_counter() - begun))
            await answer.read()
    return found


@asynccontextmanager
async def flood(stack: Stack, *options: str) -> AsyncIterator[dict[str, float]]:
    """Have one key ask from many clients meanwhile; gives the statuses that they get in a second, in the end."""
    command = [sys.executable, "-m", "bench.key_flood", stack.url, FLOOD, *options]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    rates: dict[str, float] = {}
    try:
        await child.stdout.readline()
        yield rates
    finally:
        child.terminate()
        said, _ = await child.communicate()
        rates.update(json.loads(said))


async def beside_a_flood(
    session: aiohttp.ClientSession, stack: Stack, rounds: int, requests: int, *options: str, is_new: bool
) -> object:
    """Return p95 of the times to the first token, alone and beside the flood, in turns."""
    alone: list[float] = []
    beside: list[float] = []
    for _ in range(rounds):
        alone += await first_tokens(session, stack, requests, is_new)
        async with flood(stack, *options) as told:
            beside += await first_tokens(session, stack, requests, is_new)
    return {
        "alone_p50_p95_ms": (_at(alone, 50), _at(alone, 95)),
        "beside_p50_p95_ms": (_at(beside, 50), _at(beside, 95)),
        "p95_ratio": round(_at(beside, 95) / _at(alone, 95), 3),
        "the_floods_statuses_per_s": told,
    }


async def floods(session: aiohttp.ClientSession, stack: Stack, rounds: int) -> object:
    """Return it for floods that do, and do not, wait as they are told; and for prompts new, and cached."""
    for instance in stack.fleet.instances:
        wish = {**header(CALM), "x-pointsman-instance": instance.name}
        async with session.post(f"{stack.url}/api/generate", json={"model": "alpha"}, headers=wish) as answer:
            assert answer.status == 200
    return {
        f"{'patient' if options else 'rude'}, {'new' if is_new else 'cached'}": await beside_a_flood(
            session, stack, rounds, NEW if is_new else CACHED, *options, is_new=is_new
        )
        for options in ((), ("--patient",))
        for is_new in (True, False)
    }


def _at(values: list[float], percent: int) -> float:
    return round(quantiles(values, n=100)[percent - 1], 2)


async def measured(count: int, rounds: int, requests: int) -> object:
    """Return all of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        change(folder / "keys" / "keys.json", lambda _: keys(0))
        settings = {
            "keys": {"file": str(folder / "keys" / "keys.json")},
            "haproxy": {"runtime": str(folder / "admin.sock"), "files": str(folder / "haproxy")},
        }
        simulated = Simulated(instances=2, models=(("alpha:latest", "1GB"),), time_scale=0.1)
        async with Stack(folder, find_haproxy(), simulated, settings) as stack, aiohttp.ClientSession() as session:
            found = {
                "keys": count,
                "latency": await compared(session, stack, count, rounds, requests),
                "at_a_rate": await rated(session, stack, count),
                "revoked_by_command_s": await revoked_s(session, stack, count, by_agent=False),
                "revoked_by_agent_s": await revoked_s(session, stack, count, by_agent=True),
            }
            await put_in_place(stack, keys(0))
            return {**found, "first_token": await floods(session, stack, rounds)}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--requests", type=int, default=500)
    args = parser.parse_args()
    print(json.dumps(asyncio.run(measured(args.keys, args.rounds, args.requests)), indent=1))


if __name__ == "__main__":
    main()
