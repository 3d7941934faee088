"""One arm of a live run: a fresh fleet, its front, the whole schedule, and what is left when all have answered."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.live import instance
from bench.live.client import Client, Sent
from bench.live.fronts import Behind, LiveArm
from bench.live.own import Own, watched
from bench.policies.workloads import Workload
from spoe_agent.simulator.virtual.fleet import FleetPlan


@dataclass(frozen=True, slots=True)
class Trial:
    """What one arm left."""

    arm: str
    sent: tuple[Sent, ...]
    """In the order of the schedule."""
    loads: int
    """Of models, over all instances."""


async def run(arm: LiveArm, plan: FleetPlan, work: Workload, time_scale: float, done: Callable[[], None]) -> Trial:
    """Start everything, replay the schedule, end everything. `done` is called after each request.

    Raises:
        RigError: a part does not start.
    """
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as name:
        async with AsyncExitStack() as stack:
            folder = Path(name)
            addresses = await instance.start(plan, time_scale, folder, stack)
            behind = Behind(plan, plan.names(), addresses, time_scale, folder)
            sent = await _replay(arm, behind, work, done)
            return Trial(arm.name, tuple(sent), await _loads(addresses))


async def run_own(arm: LiveArm, own: Own, work: Workload, done: Callable[[], None]) -> Trial:
    """Empty the user's own instances, start the front, replay the schedule.

    Raises:
        RigError: an instance cannot be emptied, or the front does not start.
    """
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as name:
        async with watched(own) as loads:
            behind = Behind(own.plan, own.names, own.addresses, 1.0, Path(name), own.file)
            sent = await _replay(arm, behind, work, done)
            return Trial(arm.name, tuple(sent), loads.count)


async def _replay(arm: LiveArm, behind: Behind, work: Workload, done: Callable[[], None]) -> list[Sent]:
    async with arm.start(behind) as url:
        positions = {name: position for position, name in enumerate(behind.names)}
        return await Client(url, positions, behind.time_scale, done).replay(work.requests)


async def _loads(addresses: Sequence[str]) -> int:
    async with aiohttp.ClientSession() as session:
        return sum([sum((await _stats(session, address))["loads"].values()) for address in addresses])


async def _stats(session: aiohttp.ClientSession, address: str) -> Mapping[str, Any]:
    async with session.get(f"http://{address}/sim/stats") as response:
        stats: Mapping[str, Any] = await response.json()
        return stats
