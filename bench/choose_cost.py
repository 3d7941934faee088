"""What one decision costs: microseconds of `choose`, and of the agent's whole `decide`, by the size of the fleet and by
what happened since the decision before it.

Each figure is the least of many rounds, so that what else the machine does counts little. The collector is off, and
nothing is logged. Run it: python -m bench.choose_cost.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass

import click
import structlog
from rich.console import Console
from rich.table import Table

from bench.choose_stage import OTHERS, SCENES, Scene, Stage

SIZES = (8, 16, 32, 64)
GOALS_US = {8: 60.0, 64: 300.0}
"""Of one `choose`, whatever happened before."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One scene at one size: microseconds, by what happened since the decision before."""

    scene: str
    instances: int
    anew: float
    """`choose`, when there was none: nothing is kept."""
    learned: float
    """`choose`, when times were learned anew, as twice a second."""
    load: float
    """`choose`, when a load began, for which another model goes, or ended."""
    grant: float
    """`choose`, when one request was granted and another ended."""
    nothing: float
    """`choose`, when nothing happened."""
    decide: float
    """`decide`, when the request before it has ended, and its instance was read anew."""
    decide_anew: float
    """`decide`, when all was learned and read anew."""


@contextmanager
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _least_us(rounds: int, before: Callable[[], None], once: Callable[[], object]) -> float:
    """Return the microseconds that `once` takes, in the best round; each has `before` before it."""
    best_s = float("inf")
    with _without_collector():
        for _ in range(rounds):
            before()
            start_s = time.perf_counter()
            once()
            best_s = min(best_s, time.perf_counter() - start_s)
    return best_s * 1e6


def measure(scene: Scene, size: int, rounds: int, models: int = len(OTHERS) + 1) -> Measured:
    """Time one scene at one size. `models`: installed on every instance."""
    stage = Stage(scene, size, models)
    expected = stage.choose()
    if expected.tier is not scene.tier:
        raise AssertionError(f"{scene.name} is not what it says, but {expected.reason}")
    return Measured(
        scene.name,
        size,
        _least_us(rounds, stage.look, stage.choose_anew),
        _least_us(rounds, stage.learn, stage.choose),
        _least_us(rounds, stage.load, stage.choose),
        _least_us(rounds, stage.grant, stage.choose),
        _least_us(rounds, stage.look, stage.choose),
        _least_us(rounds, stage.end, lambda: stage.agent.decide(stage.facts)),
        _least_us(rounds, stage.settle, lambda: stage.agent.decide(stage.facts)),
    )


CHOOSE = ("anew", "learned", "load", "grant", "nothing")
"""What is measured of `choose`."""


def missed(measured: list[Measured]) -> list[str]:
    """Return the goals that were not met, in words."""
    found = []
    for row in measured:
        goal_us = GOALS_US.get(row.instances, float("inf"))
        for since in CHOOSE:
            took_us = getattr(row, since)
            if took_us > goal_us:
                found.append(f"{row.scene}, {since}: {took_us:.0f} us at {row.instances} instances, goal {goal_us:.0f}")
    return found


@click.command()
@click.option("--rounds", default=500, show_default=True, help="Rounds of each figure; the best one counts.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(rounds: int, as_json: bool) -> None:
    """Print what a decision costs, by what happened since the one before it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(20))
    measured = [measure(scene, size, rounds) for scene in SCENES for size in SIZES]
    if as_json:
        click.echo(json.dumps({"rows": [asdict(row) for row in measured], "missed": missed(measured)}))
        return
    columns = *(f"choose: {since}" for since in CHOOSE), "decide: grant", "decide: anew"
    table = Table("scene", "instances", *columns, title="microseconds of one decision, by what happened before it")
    for row in measured:
        scene, size, *figures = astuple(row)
        table.add_row(scene, str(size), *(f"{figure:.0f}" for figure in figures))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    for line in missed(measured):
        click.echo(f"missed: {line}")


if __name__ == "__main__":
    main()
