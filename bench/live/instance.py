"""One instance of a named fleet as a process of its own: `python -m bench.live.instance F4 0 PORT 5`.

`pointsman simulate` knows a model by name and size; here instances have the very profile and catalogue that the
discrete-event benchmark gives them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import uvloop

from bench.policies.fleets import FLEETS
from spoe_agent.rig.process import Process, accepts, free_port
from spoe_agent.simulator import Catalog, SimulatedOllama
from spoe_agent.simulator.virtual.fleet import FleetPlan

HOST = "127.0.0.1"


def main(fleet: str, position: str, port: str, time_scale: str) -> None:
    """Serve until SIGTERM."""
    plan = FLEETS[fleet]
    server = SimulatedOllama(plan.instances[int(position)], Catalog(plan.models), float(time_scale))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.run(HOST, int(port)))


async def start(plan: FleetPlan, time_scale: float, folder: Path, stack: AsyncExitStack) -> list[str]:
    """Start every instance of a fleet, empty, and return their addresses (host:port); leaving the stack ends them.

    Raises:
        RigError: one does not start.
    """
    ports = [free_port() for _ in plan.instances]
    processes = []
    for position, (name, port) in enumerate(zip(plan.names(), ports, strict=True)):
        process = Process(name, _command(plan, position, port, time_scale), folder)
        processes.append(await stack.enter_async_context(process))
    for process, port in zip(processes, ports, strict=True):
        await process.ready(partial(accepts, HOST, port))
    return [f"{HOST}:{port}" for port in ports]


def _command(plan: FleetPlan, position: int, port: int, time_scale: float) -> Sequence[str]:
    return [sys.executable, "-m", __spec__.name, plan.name, str(position), str(port), str(time_scale)]


if __name__ == "__main__":
    main(*sys.argv[1:])
