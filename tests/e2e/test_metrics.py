"""The agent's /metrics through real HAProxy: counters agree with what clients saw."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp
import pytest

from spoe_agent.rig.stack import Simulated
from tests.e2e.conftest import chat, routed, stack_of, until
from tests.e2e.eyes import scene, scrape, total

pytestmark = pytest.mark.asyncio(loop_scope="module")

ONE_SLOT = Simulated(
    instances=2,
    models=(("alpha:latest", "4.7GB"), ("beta:7b", "9GB")),
    num_parallel=1,
    max_loaded_models=1,
    time_scale=20.0,
)
REQUESTS = 24
TOKENS = 400


async def test_counters_agree_with_what_clients_saw(
    binary: str, session: aiohttp.ClientSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with stack_of(binary, tmp_path_factory.mktemp("metrics"), ONE_SLOT) as stack:
        seen: Counter[tuple[int, str]] = Counter()

        async def ask(number: int) -> None:
            model = ("alpha", "beta:7b", "nobody")[number % 3]
            body = chat(model, options={"num_predict": TOKENS})
            async with session.post(f"{stack.url}/api/chat", json=body) as answer:
                await answer.read()
                seen[answer.status, routed(answer)[0] if answer.status == 200 else ""] += 1

        async with asyncio.TaskGroup() as group:
            for number in range(REQUESTS):
                group.create_task(ask(number))

        async def all_lines_came() -> bool:
            now = await scrape(session, stack)
            # Whoever looks whether the front is ready leaves lines too.
            is_told = total(now, "pointsman_log_lines_total") >= REQUESTS
            return is_told and total(now, "pointsman_requests_ended_total") == seen.total() - seen[404, ""]

        await until(all_lines_came, 20, "a line for each request")
        found = await scrape(session, stack)
        assert seen[404, ""] == REQUESTS // 3
        assert total(found, "pointsman_decisions_total") == REQUESTS
        assert total(found, "pointsman_decisions_total", reason="not found", action="reject") == seen[404, ""]
        refused = [one for one in (await scene(session, stack))["decisions"] if one["action"] == "reject"]
        assert {one["why"][:14] for one in refused} == {"404 not found:"}
        for instance in ("gpu0", "gpu1"):
            ended = total(found, "pointsman_requests_ended_total", instance=instance, outcome="whole")
            assert ended == seen[200, instance]
            name = "pointsman_time_to_first_token_seconds"
            assert total(found, name, f"{name}_count", instance=instance) == seen[200, instance]
            assert total(found, "pointsman_instance_health", instance=instance, state="up") == 1
        held = total(found, "pointsman_decisions_total", action="hold")
        assert held > 0
        hold = "pointsman_hold_seconds"
        assert total(found, hold, f"{hold}_count", outcome="granted") == held
        assert total(found, "pointsman_held_requests") == 0
        assert total(found, "pointsman_loads_total") >= 2
        assert total(found, "pointsman_slots", state="used") == 0
        assert total(found, "pointsman_slots", state="free") >= 2
        assert total(found, "pointsman_questions_total") == REQUESTS + held
        assert total(found, "pointsman_fallbacks_total") == 0
        assert total(found, "pointsman_spop_errors_total") == 0
        assert total(found, "pointsman_grants_drift_total") == 0
        assert total(found, "pointsman_prediction_error_seconds", "pointsman_prediction_error_seconds_count") > 0
