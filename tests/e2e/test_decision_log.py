"""The decision log of live requests: each is in it once, with what HAProxy did, whoever of the agents decided it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from spoe_agent.decisions.file import chain
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import MODELS, chat, routed, until
from tests.e2e.test_restart import restart, successors

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

SECRET = "nobody may read this"
SHORT, LONG = 6, 2
"""Clients that ask for answers of 5 tokens, more than there are slots for: some are held when a new agent takes over;
and for such of 3000, so that one runs then."""


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in chain(file) for line in path.read_text().splitlines()]


async def test_each_request_is_in_the_log_once_across_restarts(
    binary: str, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    file = tmp_path / "decisions.jsonl"
    policies = {"decision_log": {"file": str(file), "max_size": "64KiB", "keep": 100}, "hold_timeout": "60s"}
    simulated = Simulated(instances=2, models=MODELS, num_parallel=1, time_scale=20.0)
    went: dict[str, str] = {}

    enough = asyncio.Event()

    async def client(number: int) -> None:
        turn = 0
        while not enough.is_set():
            name, turn = f"log-{number}-{turn}", turn + 1
            model, tokens = ("beta:7b", 5) if number < SHORT else ("alpha", 3000)
            body = chat(model, stream=turn % 2 == 0, options={"num_predict": tokens})
            body["messages"] = [{"role": "user", "content": SECRET}]
            async with session.post(f"{own.url}/api/chat", json=body, headers={"X-Request-Id": name}) as answer:
                await answer.read()
                assert answer.status == 200
                went[name] = routed(answer)[0]

    async def all_written() -> bool:
        return went.keys() <= {row["ended"]["request_id"] for row in rows(file) if row.get("ended")}

    async with Stack(tmp_path, binary, simulated, settings={"policies": policies}) as own, successors(own):
        async with asyncio.TaskGroup() as group:
            for number in range(SHORT + LONG):
                group.create_task(client(number))
            for _ in range(2):
                before = len(went)
                await until(partial(_has, went, before + 20), 60, "requests")
                assert (await restart(session, own))[0] == 200
            enough.set()
        await until(all_written, 30, "the rows of all requests")
        written = rows(file)
    assert SECRET not in json.dumps(written)
    ends = {row["id"]: row["ended"] for row in written if row.get("ended")}
    named = {end["request_id"]: row_id for row_id, end in ends.items()}
    decided = Counter(row["id"] for row in written if "action" in row)
    assert Counter(row["id"] for row in written if row.get("ended")).most_common(1)[0][1] == 1
    where = {row["id"]: row["instance"] for row in written if "action" in row}
    for name, instance in went.items():
        request_id = named[name]
        assert (decided[request_id], where[request_id], ends[request_id]["server"]) == (1, instance, instance)
    # What was held went on, and what ran ended with another agent: of that there are two lines.
    assert any(row.get("held_s") for row in written)
    assert any(row.get("ended") and "action" not in row for row in written)
    assert len(list(chain(file))) > 1


async def _has(went: dict[str, str], count: int) -> bool:
    return len(went) >= count
