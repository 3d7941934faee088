"""What many models cost: the lists of the whole fleet, and a decision, with 5,000 models on each of 64 instances.

The agent is put together as `pointsman serve` does it, and polls the instances meanwhile; these are another process,
which answers from memory. A list is timed from the question to the whole text: again at once; a second later, when
stores are looked at anew; after a change; and of what is loaded, after requests on every instance. Decisions are timed
as in `bench.choose_cost`.
Run it: python -m bench.catalogue. It exits with 1 when a goal is missed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from statistics import median

import aiohttp
import click
import structlog
import uvloop
from rich.console import Console
from rich.table import Table

from bench.big_fleet import CHANGED, ReadBy, Size, assembled, model, other_side
from bench.choose_cost import measure
from bench.choose_stage import SCENES
from spoe_agent.agent.second_look import INTERVAL_S
from spoe_agent.door.answers import Answers
from spoe_agent.door.catalogue import ANSWERS, Listing
from spoe_agent.doorway import looks

GOAL_MS = 20.0
"""Of a list, in the middle of its rounds."""
GOAL_GROWTH = 0.2
"""A decision may take so much longer than with few models."""
FEW_MODELS = 8


@dataclass(frozen=True, slots=True)
class Listed:
    """One list in one situation."""

    path: str
    when: str
    median_ms: float
    most_ms: float
    kilobytes: int


@dataclass(frozen=True, slots=True)
class Decided:
    """One scene of bench.choose_cost."""

    scene: str
    few_us: float
    many_us: float

    @property
    def growth(self) -> float:
        """How much longer it takes with many models, as a part."""
        return self.many_us / self.few_us - 1


async def lists(size: Size, rounds: int) -> list[Listed]:
    """Time the lists of a fleet."""
    found = []
    async with (
        other_side(size) as ports,
        assembled(size, ports, ReadBy.POINTSMAN) as (_, parts),
        aiohttp.ClientSession() as session,
        asyncio.TaskGroup() as tasks,
    ):
        running = tasks.create_task(parts.run())

        async def change() -> None:
            async with session.post(f"http://127.0.0.1:{ports[0]}{CHANGED}") as answer:
                await answer.read()
            await asyncio.sleep(INTERVAL_S)

        async def use() -> None:
            await asyncio.sleep(INTERVAL_S)
            for number in range(size.instances):
                parts.watch.touched(f"i{number}", model(0))

        answers = Answers(parts.lists, looks(parts))
        for path in ANSWERS:
            found.append(await _timed(answers, path, "again", _nothing, rounds))
            found.append(await _timed(answers, path, "a second later", _a_second, rounds))
            if ANSWERS[path].source is Listing.STORES:
                found.append(await _timed(answers, path, "after a change", change, rounds))
            if ANSWERS[path].source is Listing.LOADED:
                found.append(await _timed(answers, path, "after requests everywhere", use, rounds))
        running.cancel()
    return found


async def _nothing() -> None:
    return None


async def _a_second() -> None:
    await asyncio.sleep(INTERVAL_S)


async def _timed(answers: Answers, path: str, when: str, before: Callable[[], Awaitable[None]], rounds: int) -> Listed:
    await answers.to(path)
    took_ms, text = [], b""
    for _ in range(rounds):
        await before()
        begun_s = time.perf_counter()
        text = await answers.to(path)
        took_ms.append(1000 * (time.perf_counter() - begun_s))
    return Listed(path, when, median(took_ms), max(took_ms), len(text) // 1000)


def decisions(size: Size, rounds: int) -> list[Decided]:
    """Time decisions with few models and with many."""
    found = []
    for scene in SCENES:
        few, many = (measure(scene, size.instances, rounds, models) for models in (FEW_MODELS, size.models))
        found.append(Decided(scene.name, few.decide_anew, many.decide_anew))
    return found


def missed(listed: list[Listed], decided: list[Decided]) -> list[str]:
    """Return the goals that were not met, in words."""
    slow = [
        f"{row.path} {row.when}: {row.median_ms:.1f} ms, goal {GOAL_MS:g}" for row in listed if row.median_ms > GOAL_MS
    ]
    grown = [f"{row.scene}: {row.growth:+.0%}, goal {GOAL_GROWTH:+.0%}" for row in decided if row.growth > GOAL_GROWTH]
    return slow + grown


@click.command()
@click.option("--models", default=5_000, show_default=True)
@click.option("--instances", default=64, show_default=True)
@click.option("--rounds", default=9, show_default=True, help="Of each list.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def main(models: int, instances: int, rounds: int, as_json: bool) -> None:
    """Print what many models cost."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    size = Size(instances=instances, hosts=max(1, instances // 2), models=models)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        listed = runner.run(lists(size, rounds))
    decided = decisions(size, 20 * rounds)
    found = missed(listed, decided)
    if as_json:
        rows = {"lists": [asdict(row) for row in listed], "decisions": [asdict(row) for row in decided]}
        click.echo(json.dumps({**rows, "missed": found}))
        sys.exit(bool(found))
    table = Table("list", "when", "median ms", "most ms", "kB", title=f"{models:,} models, {instances} instances")
    for one in listed:
        table.add_row(one.path, one.when, f"{one.median_ms:.2f}", f"{one.most_ms:.2f}", f"{one.kilobytes:,}")
    costs = Table("decision", f"us with {FEW_MODELS} models", f"us with {models:,}", "growth")
    for row in decided:
        costs.add_row(row.scene, f"{row.few_us:.0f}", f"{row.many_us:.0f}", f"{row.growth:+.1%}")
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(table)
    console.print(costs)
    for line in found:
        click.echo(f"missed: {line}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
