"""Running Ollamas behind the fronts: what is known of them, how they are emptied, what they load."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import yaml
from click.testing import CliRunner

from bench.live import instance
from bench.live.command import live
from bench.live.own import Loads, Own, ask, watched
from bench.policies.fleets import FLEETS
from spoe_agent.fleet import load
from spoe_agent.rig.process import RigError
from tests.bench.live.test_command import skip_without

PLAN = FLEETS["F2-few"]
TIME_SCALE = 50.0


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[Path]:
    """The fleet file of two that run."""
    async with AsyncExitStack() as stack:
        addresses = await instance.start(PLAN, TIME_SCALE, tmp_path, stack)
        like = {"num_parallel": 4, "vram": "80GiB", "ollama": {"max_loaded_models": 3, "context_length": 4096}}
        instances = [{"name": f"gpu{number}", "url": f"http://{one}", **like} for number, one in enumerate(addresses)]
        path = tmp_path / "fleet.yaml"
        path.write_text(yaml.safe_dump({"instances": instances}))
        yield path


async def asked(file: Path) -> Own:
    return await ask(file, load(file), "a100")


async def generate(own: Own, model: str) -> None:
    body = {"model": model, "prompt": "rail", "stream": False, "options": {"num_predict": 1}}
    async with aiohttp.ClientSession() as session, own.remotes[0].post(session, "/api/generate", body) as response:
        assert response.status == 200


async def test_they_are_known_by_their_fleet_file_and_their_lists(file: Path) -> None:
    own = await asked(file)

    assert own.names == ["gpu0", "gpu1"]
    known = [(model.name, model.size_bytes, model.kv_bytes_per_token) for model in own.plan.models]
    assert known == [(model.name, model.size_bytes, model.kv_bytes_per_token) for model in PLAN.models]
    for mine, theirs in zip(own.plan.instances, PLAN.instances, strict=True):
        assert replace(mine, cold_bytes_per_s=theirs.cold_bytes_per_s) == theirs


async def test_they_are_emptied_first_and_then_loads_are_counted(file: Path) -> None:
    own = await asked(file)
    names = [model.name for model in own.plan.models]
    async with watched(own) as loads:
        for name in (names[0], names[1], names[0]):
            await generate(own, name)
    assert loads.count == 2

    async with watched(own) as loads:
        await generate(own, names[0])
    assert loads.count == 1


def test_a_load_is_a_model_that_was_not_there_a_moment_ago() -> None:
    loads = Loads()
    for there in ({"a"}, {"a"}, {"a", "b"}, {"b"}, {"a", "b"}):
        loads.see("one", frozenset(there))
    loads.see("two", frozenset({"b"}))

    assert loads.count == 4


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"vram": "80GiB", "url": "http://127.0.0.1:1"}, "gpu0 does not list its models"),
        ({"vram": "1GiB"}, "gpu0 has no model that completes texts and fits every instance"),
        ({}, "gpu0: .* must say its `vram`"),
    ],
)
async def test_what_cannot_be_compared_is_refused(file: Path, change: dict[str, str], why: str) -> None:
    document = yaml.safe_load(file.read_text())
    del document["instances"][0]["vram"]
    document["instances"][0] |= change
    file.write_text(yaml.safe_dump(document))

    with pytest.raises(RigError, match=why):
        await asked(file)


async def test_fronts_are_compared_before_them(file: Path) -> None:
    skip_without("leastconn")
    records = file.with_name("records.jsonl")
    options = ["--own", str(file), "--arm", "leastconn", "--arm", "pointsman", "--requests", "12", "--load", "2"]
    # In a thread of its own: the command has its own event loop.
    result = await asyncio.to_thread(CliRunner().invoke, live, [*options, "--records", str(records), "--json"])

    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert [(row["arm"], row["fleet"], row["failed"]) for row in printed["rows"]] == [
        ("leastconn", str(file), 0),
        ("pointsman", str(file), 0),
    ]
    assert all(row["loads_per_1000"] > 0 for row in printed["rows"])
    lines = [json.loads(one) for one in records.read_text().splitlines()]
    assert {line["instance"] for line in lines} <= {0, 1}
