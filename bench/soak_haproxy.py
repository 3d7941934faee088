"""Does the agent's account drift from HAProxy's? Both for real, with all that goes wrong between them.

Many clients at once send mixed requests through HAProxy to fast simulated Ollamas. Some leave, some run into HAProxy's
timeout, some wait too long for a slot, and a share of the log lines is lost on the way. At the end a few requests are
still running; the agent's count of grants must be HAProxy's count of connections, for each instance. Prints one line of
JSON; exits 1 on drift. `bench.soak` does the same in memory, with more that goes wrong and on virtual time. Run it:
python -m bench.soak_haproxy.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import aiohttp
import click
import uvloop

from bench.held.rig import ObservedStack, cpu_s, resident_mb
from spoe_agent.rig.haproxy import find_haproxy, version
from spoe_agent.rig.process import RigError
from spoe_agent.rig.stack import Simulated

MODELS = ("llama3.1:8b", "qwen3:8b", "gemma3:4b", "mistral:7b", "phi4:14b")
SLOW = "slow:latest"
"""So large that its tokens come a hundred a second, time scale and all: it is what still runs at the end. To load it
takes four seconds."""
LIKE = Simulated(
    instances=4,
    models=[*((name, "4.7GB") for name in MODELS), (SLOW, "2500GB")],
    vram="16TiB",
    num_parallel=8,
    max_loaded_models=4,
    time_scale=500.0,
)
SETTINGS = {
    "models": [{"match": "phi4:*", "max_concurrent": 8}, {"match": "gemma3:*", "priority": -1}],
    "policies": {"hold_timeout": "2s", "response_timeout": "6s"},
}
CLIENTS = 96
LOST_LINES = 0.02
LEAVES = 0.08
LEAVES_AFTER_S = 0.02
TIMES_OUT = 0.001
STILL_RUNNING = 6
SAMPLE_S = 0.5
SETTLE_DEADLINE_S = 60.0
"""Agents that know of a lost line only by its absence need a while; one that never settles has drifted."""
FOR_EVER_TOKENS = 10**9


@dataclass(slots=True)
class Tally:
    """What happened, and what is wrong at the end."""

    haproxy: str = ""
    requests: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    left: int = 0
    broken: int = 0
    """Answers that were cut off."""
    fell_back: int = 0
    """HAProxy did not wait for the agent's answer: this machine was too busy."""
    lost_lines: int = 0
    passed_lines: int = 0
    most_held: int = 0
    """Of those seen twice a second, as the next two."""
    most_drift: int = 0
    """Largest difference on one instance, requests included that began or ended between the two readings."""
    still_running: int = 0
    drift: dict[str, int] = field(default_factory=dict)
    """The agent's grants less HAProxy's connections, by instance, where they differ at the end."""
    settled_s: float = 0.0
    """How long it took until there was no difference, with requests still running."""
    grants_left: int = 0
    """The agent's when HAProxy has none."""
    left_in_hold: int = 0
    wall_s: float = 0.0
    agent_cpu_s: float = 0.0
    agent_mb: float = 0.0
    haproxy_mb: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong."""
        return not (self.drift or self.grants_left or self.left_in_hold)


class Traffic:
    """Clients that send one request after another, each of a random kind."""

    def __init__(self, own: ObservedStack, session: aiohttp.ClientSession, tally: Tally, seed: int) -> None:
        self._own = own
        self._session = session
        self._tally = tally
        self._random = random.Random(seed)

    async def run(self, requests: int) -> None:
        """Send so many requests in all."""
        async with asyncio.TaskGroup() as group:
            for number in range(min(CLIENTS, requests)):
                group.create_task(self._client(number, requests))

    async def _client(self, number: int, requests: int) -> None:
        headers = {"Authorization": f"Bearer key {number % 5}"}
        while self._tally.requests < requests:
            self._tally.requests += 1
            patience_s = self._random.expovariate(1 / LEAVES_AFTER_S) if self._random.random() < LEAVES else None
            try:
                async with asyncio.timeout(patience_s):
                    await self._send(headers)
            except TimeoutError:
                self._tally.left += 1
            except aiohttp.ClientError:
                self._tally.broken += 1

    async def _send(self, headers: Mapping[str, str]) -> None:
        method, path, body = self._request()
        async with self._session.request(method, self._own.url + path, json=body, headers=headers) as answer:
            await answer.read()
            self._tally.fell_back += answer.headers.get("x-pointsman", "").endswith(" fallback")
            statuses = self._tally.statuses
            statuses[answer.status] = statuses.get(answer.status, 0) + 1

    def _request(self) -> tuple[str, str, dict[str, object] | None]:
        """Return method, path and body of a random request."""
        dice, model = self._random.random(), self._random.choice(MODELS)
        if dice < 0.05:
            return "GET", "/api/tags", None
        if dice < 0.1:
            return "POST", "/api/show", {"model": model}
        if dice < 0.12:
            return "POST", "/api/chat", chat("nobody:has-it", 1)
        if dice < 0.12 + TIMES_OUT:
            return "POST", "/api/chat", {**chat(model, FOR_EVER_TOKENS), "stream": False}
        messages = chat(model, self._random.randrange(1, 40))
        if dice < 0.13:
            messages["options"] = {"num_predict": 5, "num_ctx": 8192}
        return "POST", "/api/chat", {**messages, "stream": dice < 0.55}


def chat(model: str, tokens: int) -> dict[str, object]:
    """Return the body of a chat that is answered in so many tokens."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": "hello"}],
        "options": {"num_predict": tokens},
    }


async def soak(binary: str, folder: Path, requests: int, lost_share: float, seed: int) -> Tally:
    """Send so many requests, and compare the accounts. Raises RigError when the stack does not start."""
    tally = Tally(haproxy=version(binary))
    own = ObservedStack(folder, binary, LIKE, SETTINGS, lost_share=lost_share)
    async with own, client(keep=True) as session:
        begun_s = time.monotonic()
        async with watched(own, tally):
            await Traffic(own, session, tally, seed).run(requests)
        tally.wall_s = time.monotonic() - begun_s
        tally.agent_cpu_s, tally.agent_mb = cpu_s(own.agent), resident_mb(own.agent)
        tally.haproxy_mb = resident_mb(own.haproxy)
        # Fresh connections: HAProxy has closed some that nobody used for a while.
        async with client(keep=False) as session, running(own, session):
            tally.settled_s = await settle(own)
            tally.still_running = sum((await own.connections()).values())
            tally.drift = {name: less for name, less in (await drift(own)).items() if less}
        await settle(own)
        status = await own.status()
        tally.grants_left, tally.left_in_hold = status["grants"], status["hold"]["length"]
        if own.relay is not None:
            tally.lost_lines, tally.passed_lines = own.relay.lost, own.relay.passed
    return tally


def client(keep: bool) -> aiohttp.ClientSession:
    """Return a client that keeps its connections for the next request, or does not."""
    connector = aiohttp.TCPConnector(limit=0, force_close=not keep)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=300))


async def drift(own: ObservedStack) -> dict[str, int]:
    """Return the agent's grants less HAProxy's connections, by instance."""
    status, connections = await asyncio.gather(own.status(), own.connections())
    return {one["name"]: sum(one["in_flight"].values()) - connections[one["name"]] for one in status["instances"]}


@asynccontextmanager
async def watched(own: ObservedStack, tally: Tally) -> AsyncIterator[None]:
    """Note the largest drift and the longest queue meanwhile."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(SAMPLE_S)
            tally.most_drift = max(tally.most_drift, *(abs(less) for less in (await drift(own)).values()))
            tally.most_held = max(tally.most_held, (await own.status())["hold"]["length"])

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()


@asynccontextmanager
async def running(own: ObservedStack, session: aiohttp.ClientSession) -> AsyncIterator[None]:
    """A few endless answers are read until the context ends."""

    async def read() -> None:
        body = chat(SLOW, FOR_EVER_TOKENS)
        async with session.post(f"{own.url}/api/chat", json=body) as answer:
            async for _ in answer.content.iter_any():
                pass

    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(read()) for _ in range(STILL_RUNNING)]
        try:
            async with asyncio.timeout(SETTLE_DEADLINE_S):
                while sum((await own.connections()).values()) < STILL_RUNNING:
                    await asyncio.sleep(0.1)
            yield
        finally:
            for reader in readers:
                reader.cancel()


async def settle(own: ObservedStack) -> float:
    """Wait until nobody is held and there is no drift, or for the deadline; return the seconds.

    Somebody asks for `/` now and then: HAProxy's counts come with requests that an instance is chosen for.
    """
    begun_s = time.monotonic()
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_DEADLINE_S), client(keep=False) as session:
            while True:
                async with session.get(f"{own.url}/") as answer:
                    await answer.read()
                await asyncio.sleep(0.1)
                if not (await own.status())["hold"]["length"] and not any((await drift(own)).values()):
                    break
    return time.monotonic() - begun_s


@click.command()
@click.option("--haproxy", "binary", help="HAProxy's program; else $HAPROXY, else the installed one.")
@click.option("--requests", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--lost", type=click.FloatRange(0, 1), default=LOST_LINES, show_default=True, help="Share of log lines.")
@click.option("--seed", default=1, show_default=True)
def main(binary: str | None, requests: int, lost: float, seed: int) -> None:
    """Print what is left of so many requests; exit 1 when the agent's account is not HAProxy's."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="pointsman-soak-") as folder,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            tally = runner.run(soak(binary or find_haproxy(), Path(folder), requests, lost, seed))
    except RigError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps({**asdict(tally), "seed": seed, "clean": tally.is_clean}))
    sys.exit(not tally.is_clean)


if __name__ == "__main__":
    main()
