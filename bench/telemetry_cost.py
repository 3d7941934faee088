"""What telemetry of 64 instances and 256 GPUs costs the agent's process, in percent of one core.

The agent is put together as `pointsman serve` does it, from a fleet file that leaves everything at its default, with
256 requests in flight. Each part is measured alone, then all of them at a time, and that is held against the goal: the
polls of the Ollamas, the GPUs of 32 hosts (through `pointsman telemetry` or dcgm-exporters), the watch over health
and the limits. HAProxy's requests and agent-checks are not in it.
Run it: python -m bench.telemetry_cost. It exits with 1 when the goal is missed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice

import click
import structlog
import uvloop
from rich.console import Console
from rich.table import Table

from bench.big_fleet import ReadBy, Size, assembled, other_side
from spoe_agent.agent.board import Board
from spoe_agent.agent.grant import Grant
from spoe_agent.assemble import Parts, Runs
from spoe_agent.fleet import Fleet
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.routing import Tier

GOAL_PERCENT = 5.0
WARM_UP_S = 3.0

IN_FLIGHT = 4
"""Per instance."""

RENEW_S = 8.0
"""Requests last so long: less than what the watch would take for a stall."""


@dataclass(frozen=True, slots=True)
class CpuCost:
    """One arm. CPU time of this process, over wall time."""

    arm: str
    percent_of_core: float
    instances_read: int
    gpus_read: int
    is_whole: bool
    """All parts at a time: what the goal is about."""


class Traffic:
    """Requests in flight, for models that are loaded, so that the watch has something to look at."""

    def __init__(self, board: Board, size: Size) -> None:
        self._board = board
        self._grants: list[tuple[str, str, str]] = []
        for instance in (f"i{number}" for number in range(size.instances)):
            models = islice(cycle(board.state(instance).loaded), IN_FLIGHT)
            self._grants += [(f"{instance}-{number}", instance, model) for number, model in enumerate(models)]

    async def run(self) -> None:
        """Keep them in flight until cancelled; entering one anew ends the one before."""
        while True:
            for request_id, instance, model in self._grants:
                self._board.grant(Grant(request_id, instance, model, time.monotonic(), Tier.LOADED))
            await asyncio.sleep(RENEW_S)


def arms(fleet: Fleet, parts: Parts, kind: ReadBy) -> dict[str, list[Runs]]:
    """Return what runs in each arm, by its name; the last has everything."""
    polls: list[Runs] = [*parts.ollamas.pollers]
    gpus: list[Runs] = [parts.gpus]
    watch: list[Runs] = [parts.watch, Limiter(fleet, parts.agent, parts.watch)]
    found = {"the Ollamas": polls, "health and limits": watch} if kind is ReadBy.POINTSMAN else {}
    return {**found, f"GPUs through {kind}": gpus, f"all, GPUs through {kind}": polls + gpus + watch}


async def measure(arm: str, runs: Sequence[Runs], parts: Parts, size: Size, seconds: float) -> CpuCost:
    """Run some parts for a while; return what they cost after a warm-up."""
    begun_s = time.monotonic()
    parts.board.publish_gpus({})
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one.run()) for one in (Traffic(parts.board, size), *runs)]
        await asyncio.sleep(min(WARM_UP_S, seconds))
        gc.collect()
        gc.freeze()
        cpu_s, wall_s = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        percent = 100 * (time.process_time() - cpu_s) / (time.monotonic() - wall_s)
        for task in running:
            task.cancel()
    snapshot = parts.board.snapshot({}, time.monotonic())
    read = sum((state.loaded_at_s or 0.0) >= begun_s for state in snapshot.instances.values())
    gpus = sum(group.total_bytes is not None for group in snapshot.gpus.values()) * size.gpus // size.instances
    return CpuCost(arm, percent, read, gpus, arm.startswith("all"))


async def run(seconds: float, size: Size) -> list[CpuCost]:
    """Measure the arms, one after another."""
    costs = []
    async with other_side(size) as ports:
        for kind in ReadBy:
            async with assembled(size, ports, kind) as (fleet, parts):
                for arm, runs in arms(fleet, parts, kind).items():
                    costs.append(await measure(arm, runs, parts, size, seconds))
    return costs


def table(costs: Sequence[CpuCost]) -> Table:
    """Return the arms as a table."""
    found = Table("", "CPU of one core", "Ollamas read", "GPUs read", title=f"goal: below {GOAL_PERCENT:g} % in all")
    for cost in costs:
        said = (
            ("", "") if not cost.is_whole else ("[bold]", " met" if cost.percent_of_core < GOAL_PERCENT else " MISSED")
        )
        percent = f"{said[0]}{cost.percent_of_core:.2f} %{said[1]}"
        found.add_row(cost.arm, percent, str(cost.instances_read), str(cost.gpus_read), end_section=cost.is_whole)
    return found


@click.command()
@click.option("--seconds", type=click.FloatRange(min=1), default=10.0, show_default=True, help="Per arm.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def main(seconds: float, as_json: bool) -> None:
    """Measure what telemetry costs at 64 instances and 256 GPUs."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        costs = runner.run(run(seconds, Size()))
    if as_json:
        click.echo(json.dumps([asdict(cost) for cost in costs], indent=1))
    else:
        Console().print(table(costs))
    sys.exit(any(cost.is_whole and cost.percent_of_core >= GOAL_PERCENT for cost in costs))


if __name__ == "__main__":
    main()
