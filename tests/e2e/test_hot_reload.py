"""The fleet file edited a hundred times under load, twenty times so that it cannot be used: no request is lost, and
each goes where a fleet file lets it that was in force while it was asked.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, routed, until
from tests.e2e.operator import QUICK, status

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

MODELS = ("alpha:latest", "beta:7b", "embed:latest")
EDITS, EVERY_BAD = 100, 5
CLIENTS = 6
INSTANCES = ("gpu0", "gpu1", "gpu2")


class Epoch(NamedTuple):
    """What a fleet file allows, from when it may be in force, until nobody goes by it any more."""

    allowed: dict[str, frozenset[str]]
    from_s: float
    until_s: float = float("inf")


class Went(NamedTuple):
    """One answered request."""

    model: str
    status: int
    instance: str
    reason: str
    asked_at_s: float
    answered_at_s: float


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    simulated = Simulated(instances=3, models=[(name, "1GB") for name in MODELS], time_scale=100.0)
    settings = {"policies": QUICK}
    async with Stack(tmp_path_factory.mktemp("hot"), binary, simulated, settings=settings) as running:
        yield running


def edits(document: dict[str, Any]) -> list[tuple[dict[str, Any] | str, dict[str, frozenset[str]] | None]]:
    """Return what the file says in turn, with the instances that each model may go to; None: it cannot be used.

    Instances come and go, are limited, models pinned, policies changed; HAProxy has all three instances all the time.
    """
    shapes = itertools.cycle(
        [(0, 1, 2), (0, 2), (1, 2), (2, 1, 0), (0, 1), (1,)],
    )
    pins = itertools.cycle([{}, {"alpha": ["gpu1"]}, {"beta:7b": ["gpu1", "gpu2"], "embed": ["gpu1"]}])
    bad = itertools.cycle(["instances: [", "surprise: 1", {"instances": []}, {"policies": {"hold_timeout": "soon"}}])
    found: list[tuple[dict[str, Any] | str, dict[str, frozenset[str]] | None]] = []
    for number in range(EDITS):
        if number % EVERY_BAD == EVERY_BAD - 1:
            wrong = next(bad)
            found.append((wrong if isinstance(wrong, str) else {**document, **wrong}, None))
            continue
        there = [document["instances"][index] for index in next(shapes)]
        names = {one["name"] for one in there}
        pinned = {
            model: kept for model, where in next(pins).items() if (kept := [one for one in where if one in names])
        }
        limited = [{**one, "max_connections": 4 + (number + place) % 9} for place, one in enumerate(there)]
        policies = {**QUICK, "hold_timeout": f"{30 + number % 3}s", "retry_after": f"{1 + number % 7}s"}
        models = [{"match": model, "instances": where} for model, where in pinned.items()]
        allowed = {model: frozenset(pinned.get(model.removesuffix(":latest"), names)) for model in MODELS}
        found.append(({**document, "instances": limited, "models": models, "policies": policies}, allowed))
    return found


def wrong(went: Went, epochs: list[Epoch]) -> bool:
    """Tell whether no fleet file that was in force while it was asked lets the request go where it went."""
    over = (one for one in epochs if one.from_s <= went.answered_at_s and went.asked_at_s <= one.until_s)
    return not any(went.instance in one.allowed[went.model] for one in over)


async def test_a_hundred_edits_under_load(own: Stack, session: aiohttp.ClientSession) -> None:
    document = json.loads(own.fleet_file.read_text())
    went: list[Went] = []
    done = asyncio.Event()

    async def client(number: int) -> None:
        for turn in itertools.count():
            if done.is_set():
                return
            model, asked_at_s = MODELS[(number + turn) % len(MODELS)], time.monotonic()
            path, body = "/api/chat", chat(model, stream=False, options={"num_predict": 3})
            if model.startswith("embed"):
                path, body = "/api/embed", {"model": model, "input": "hello"}
            async with session.post(f"{own.url}{path}", json=body) as answer:
                await answer.read()
                instance, reason = routed(answer)
                went.append(Went(model, answer.status, instance, reason, asked_at_s, time.monotonic()))

    epochs = [Epoch({model: frozenset(INSTANCES) for model in MODELS}, time.monotonic())]
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(client(number))
        for content, allowed in edits(document):
            _write(own.fleet_file, content)
            before, begun_s = len(went), time.monotonic()
            async with session.post(f"http://{own.fleet.listeners.admin}/reload") as answer:
                said = await answer.json()
                assert (answer.status, "error" in said) == ((200, False) if allowed else (409, True)), said
            if allowed:
                epochs[-1] = epochs[-1]._replace(until_s=time.monotonic())
                epochs.append(Epoch(allowed, begun_s))
            await until(partial(_more, went, before + 3), 30, "requests")
        done.set()
    _write(own.fleet_file, document)
    assert [one for one in went if one.status != 200] == []
    assert [one for one in went if one.reason == "fallback"] == []
    assert [one for one in went if wrong(one, epochs)] == []
    assert len(epochs) == 1 + EDITS - EDITS // EVERY_BAD
    assert (await status(session, own))["grants"] == 0
    print(f"{len(went)} requests, {EDITS} edits")


def _write(file: Path, content: dict[str, Any] | str) -> None:
    file.write_text(content if isinstance(content, str) else json.dumps(content))


async def _more(went: list[Went], count: int) -> bool:
    return len(went) >= count
