"""What GPUs tell, in the decision, in the limits and in the status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.gpus.watch import SETTLE_S
from spoe_agent.rig.process import free_port
from spoe_agent.rig.stack import Simulated, Stack
from spoe_agent.simulator.admin import gpu_uuid
from tests.e2e.conftest import MODELS, until
from tests.e2e.eyes import see
from tests.e2e.gpus import TOTAL_BYTES, Host
from tests.e2e.operator import QUICK, ask, fault, one

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

NAMED_WITHIN_S = 10.0


@pytest_asyncio.fixture(loop_scope="module")
async def host() -> Host:
    return Host()


@pytest_asyncio.fixture(loop_scope="module")
async def own(binary: str, host: Host, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two instances with a GPU each, read from another host's service."""
    port = free_port()
    instances = [
        {"name": f"gpu{number}", "url": f"http://127.0.0.1:{free_port()}", "gpus": [number]} for number in range(2)
    ]
    source = {"url": f"http://127.0.0.1:{port}", "instances": ["gpu0", "gpu1"]}
    telemetry = {"interval": "200ms", "timeout": "1s", "sources": [source]}
    settings = {"instances": instances, "policies": QUICK, "telemetry": telemetry}
    simulated = Simulated(instances=2, models=MODELS, num_parallel=4, time_scale=50.0)
    stack = Stack(tmp_path_factory.mktemp("gpus"), binary, simulated, settings=settings)
    async with host.serving(port), stack as running:
        yield running


async def says(
    session: aiohttp.ClientSession, stack: Stack, name: str, what: Callable[[dict[str, object]], bool]
) -> None:
    """Wait until the status of an instance says something."""

    async def said() -> bool:
        found = await one(session, stack, name)
        return found["gpus"] is not None and what(found)

    took_s = await until(said, NAMED_WITHIN_S, f"{name} in the status")
    print(f"named after {took_s:.2f} s: {(await one(session, stack, name))['gpus']}")


async def test_memory_in_other_hands_is_named_and_shrinks_the_room(
    own: Stack, session: aiohttp.ClientSession, host: Host
) -> None:
    await says(session, own, "gpu0", lambda it: it["gpus"]["total_bytes"] == TOTAL_BYTES)
    host.uses(0, 40 << 30)
    what, within_s = "other programs hold 40.0 GiB of GPU memory", SETTLE_S + own.fleet.telemetry.interval
    await see(session, own, "gpu0", what, "pointsman_gpu_foreign_bytes", within_s=within_s, instance="gpu0")
    # Half of gamma would be on the CPU there.
    assert await ask(session, own, "gamma") == (200, "gpu1")


async def test_a_gpu_that_is_held_down_lowers_the_limit_and_costs_more(
    own: Stack, session: aiohttp.ClientSession, host: Host
) -> None:
    await says(session, own, "gpu0", lambda it: it["connections"]["limit"] == 4)
    host.set(0, throttle=frozenset({"hw_thermal"}))
    what, metric, within_s = "GPU held down: hw_thermal", "pointsman_gpu_throttled", own.fleet.telemetry.interval
    await see(session, own, "gpu0", what, metric, within_s=within_s, gpu="GPU-00000000", reason="hw_thermal")
    await says(session, own, "gpu0", lambda it: it["connections"]["limit"] == 3)
    assert await ask(session, own, "beta:7b") == (200, "gpu1")
    host.set(0, throttle=frozenset())
    await says(session, own, "gpu0", lambda it: it["connections"]["limit"] == 4)


async def test_a_gpu_that_fails_takes_its_instance_out(own: Stack, session: aiohttp.ClientSession, host: Host) -> None:
    _, where = await ask(session, own, "alpha")
    host.set(int(where.removeprefix("gpu")), fault="has fallen off the bus")
    uuid, within_s = f"GPU-0000000{where.removeprefix('gpu')}", own.fleet.telemetry.interval
    await see(session, own, where, "fallen off the bus", "pointsman_gpu_faulty", within_s=within_s, gpu=uuid)
    status, other = await ask(session, own, "alpha")
    assert (status, other != where) == (200, True)
    for fields, what in (
        ({"fault": None, "xid": 79}, "Xid 79"),
        ({"xid": None, "ecc_uncorrected": 1}, "uncorrected"),
    ):
        host.set(int(where.removeprefix("gpu")), **fields)
        await see(session, own, where, what, "pointsman_gpu_faulty", within_s=within_s, gpu=uuid)


async def test_without_any_telemetry_routing_goes_on(own: Stack, session: aiohttp.ClientSession, host: Host) -> None:
    await says(session, own, "gpu0", lambda it: it["gpus"]["total_bytes"] == TOTAL_BYTES)
    host.gpus.clear()
    within_s = own.fleet.telemetry.memory.max_age
    await see(session, own, "gpu0", "no reading of GPU", "pointsman_gpus_unread", within_s=within_s, instance="gpu0")
    assert (await ask(session, own, "alpha"))[0] == 200


async def test_memory_stolen_from_a_simulated_instance_is_named_and_given_back(
    binary: str, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    """The instance tells of its own GPU, and the fault is its own: nothing here stands between."""
    ports = [free_port() for _ in range(2)]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    instances = [
        {"name": f"gpu{number}", "url": url, "gpus": [gpu_uuid(port)]}
        for number, (url, port) in enumerate(zip(urls, ports, strict=True))
    ]
    sources = [{"url": f"{url}/sim", "instances": [f"gpu{number}"]} for number, url in enumerate(urls)]
    telemetry = {"interval": "200ms", "timeout": "1s", "sources": sources}
    settings = {"instances": instances, "policies": QUICK, "telemetry": telemetry}
    simulated = Simulated(instances=2, models=MODELS, num_parallel=4, time_scale=50.0)
    async with Stack(tmp_path, binary, simulated, settings=settings) as stack:
        await says(session, stack, "gpu0", lambda it: (it["gpus"] or {}).get("free_bytes") == TOTAL_BYTES)
        await fault(session, stack, "gpu0", "steal_vram", bytes=40 << 30)
        await says(
            session, stack, "gpu0", lambda it: "other programs hold 40.0 GiB of GPU memory" in it["gpus"]["notes"]
        )
        # Half of gamma would be on the CPU there.
        assert await ask(session, stack, "gamma") == (200, "gpu1")
        await fault(session, stack, "gpu0", "none")
        await says(session, stack, "gpu0", lambda it: not it["gpus"]["notes"])
