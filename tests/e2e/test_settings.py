"""Instances whose real settings are not those of the fleet file: by their process, by their answers, by what they
evict. An operator sees each, and which line to write.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.instances.processes import INTERVAL_S
from spoe_agent.rig.process import Process, accepts, free_port
from spoe_agent.rig.stack import Stack
from tests.e2e.conftest import chat, routed, until
from tests.e2e.eyes import see
from tests.e2e.operator import QUICK, ask, one

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

DEADLINE_S = 10.0
DOUBTS = "pointsman_instance_doubts"
NAMES = {"started": ("one:1b",), "answers": ("wide:8b",), "evicts": ("a:1b", "b:1b", "c:1b")}
"""Instances, and what only they have."""


def simulated(name: str, port: int, folder: Path) -> Process:
    """An instance with four slots to a model and two models; the first is a process that is called `ollama`."""
    program = folder / "ollama"
    if not program.exists():
        program.symlink_to(sys.executable)
    command = [program if name == "started" else sys.executable, "-m", "spoe_agent", "simulate"]
    command += ["--listen", f"127.0.0.1:{port}", "--num-parallel", "4", "--max-loaded-models", "2"]
    command += ["--vram", "48GiB", "--time-scale", "20", "--keep-alive", "24h"]
    for model in NAMES[name]:
        command += ["--models", f"{model}={'1GB' if model.endswith(':1b') else '5GB'}"]
    # Under that name Python does not find the environment that its packages are in.
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "OLLAMA_NUM_PARALLEL": "4"}
    return Process(name, command, folder, environment)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Each instance is not what the file says in a way of its own."""
    folder = tmp_path_factory.mktemp("settings")
    said = {
        "started": {"num_parallel": 3},
        "answers": {"num_parallel": 1},
        "evicts": {"ollama": {"max_loaded_models": 3}},
    }
    instances = [
        {"name": name, "url": f"http://127.0.0.1:{free_port()}", "store": name, "vram": "48GiB", **says}
        for name, says in said.items()
    ]
    file = folder / "own.yaml"
    file.write_text(json.dumps({"instances": instances, "policies": QUICK}))
    ports = {one["name"]: int(str(one["url"]).rpartition(":")[2]) for one in instances}
    async with AsyncExitStack() as stack:
        for name, port in ports.items():
            process = await stack.enter_async_context(simulated(name, port, folder))
            await process.ready(partial(accepts, "127.0.0.1", port))
        yield await stack.enter_async_context(Stack(folder, binary, own=file))


async def listed(session: aiohttp.ClientSession, stack: Stack, instance: str) -> list[str]:
    return [there["model"] for there in (await one(session, stack, instance))["loaded"]]


async def is_listed(session: aiohttp.ClientSession, stack: Stack, instance: str, model: str) -> bool:
    return model in await listed(session, stack, instance)


async def test_a_process_that_was_started_with_another_number_of_slots(
    own: Stack, session: aiohttp.ClientSession
) -> None:
    what = "started: the fleet file says num_parallel 3, but its process was started with OLLAMA_NUM_PARALLEL=4"
    await see(session, own, "", what, DOUBTS, within_s=INTERVAL_S, instance="started", about="settings")


async def test_answers_that_come_at_once_where_one_was_said(own: Stack, session: aiohttp.ClientSession) -> None:
    """After ten answers one more is let through: two that want one come at once, each time."""

    async def streamed(tokens: int) -> None:
        body = chat("wide:8b", options={"num_predict": tokens})
        async with session.post(f"{own.url}/api/chat", json=body) as answer:
            assert (answer.status, routed(answer)[0]) == (200, "answers")
            await answer.read()

    await streamed(40)
    await until(partial(is_listed, session, own, "answers", "wide:8b"), DEADLINE_S, "wide:8b on the list")
    for _ in range(10):
        await streamed(40)
    for _ in range(4):
        await asyncio.gather(*(streamed(1000) for _ in range(2)))
    what = "answers: the fleet file says num_parallel 1, but 2 answers came at once"
    await see(session, own, "", what, DOUBTS, instance="answers", about="settings")


async def test_models_that_go_though_they_all_would_fit(own: Stack, session: aiohttp.ClientSession) -> None:
    # For the third one goes, which is the fourth that is asked for, and for that one another.
    for _ in range(4):
        model = next(iter(set(NAMES["evicts"]).difference(await listed(session, own, "evicts"))))
        assert await ask(session, own, model) == (200, "evicts")
        await until(partial(is_listed, session, own, "evicts", model), DEADLINE_S, f"{model} on the list")
    what = "evicts: the fleet file says max_loaded_models 3, but it lets models go to keep 2, though memory is left"
    within_s = own.fleet.policies.poll.interval
    await see(session, own, "", what, DOUBTS, within_s=within_s, instance="evicts", about="settings")
