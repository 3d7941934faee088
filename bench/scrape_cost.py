"""What a scrape of `/metrics` costs the agent: milliseconds of CPU time, and the longest of them at once.

A fleet of 64 instances, 200 models and 256 GPUs that has been busy: every model was asked for, every histogram has
values, every GPU is read. Goals: under 50 ms for the page, and no more series than such a fleet has room for.
Run it: python -m bench.scrape_cost. It exits with 1 when a goal is missed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from types import SimpleNamespace

import click
import structlog

from bench.big_fleet import Size, reading, uuid
from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.counts import MAX_MODELS
from spoe_agent.agent.ending import Ending
from spoe_agent.agent.grant import Grant, Loading
from spoe_agent.fleet import Fleet, HealthPolicy, loads, specs
from spoe_agent.gpus.board import GpuBoard
from spoe_agent.haproxy.contact import Contact
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.instances.lists import InstalledModel
from spoe_agent.instances.reading import Reading
from spoe_agent.instances.watch import Watch
from spoe_agent.metrics.exposition import METRICS, Exposition, written
from spoe_agent.metrics.moment import Moment
from spoe_agent.routing import Action, Choice, LoadedModel, Reason, Tier
from spoe_agent.routing.choice import Cost
from spoe_agent.routing.names import canonical
from spoe_agent.routing.snapshot import GpuGroup

GOAL_MS = 50.0
GOAL_SERIES = 9_000
MODELS = 200
LOADED = 4
"""On each instance."""

READ = Loading("store", 10**9, is_cached=True, begins_s=0.0)


@dataclass(frozen=True, slots=True)
class Measured:
    """The best of some scrapes."""

    page_ms: float
    longest_ms: float
    """Of one metric: between two, requests are decided."""
    series: int
    page_bytes: int


class Scraped:
    """A fleet that has been busy. GPUs: those of `size`, shared out evenly."""

    def __init__(self, size: Size) -> None:
        found = _fleet(size)
        self.agent = Agent(specs(found), Board(), _nothing, time.monotonic)
        self.watch = Watch(self.agent, HealthPolicy(), _healthy)
        self.names = [one.name for one in found.instances]
        self.models = [canonical(f"model-{number}") for number in range(MODELS)]
        for number, name in enumerate(self.names):
            loaded = [self.models[(number * LOADED + one) % MODELS] for one in range(LOADED)]
            installed = dict.fromkeys(self.models, InstalledModel(10))
            models = dict.fromkeys(loaded, LoadedModel(10, 10))
            self.watch.published(name, Reading(time.monotonic(), loaded=models, installed=installed))
        self.contact = Contact()
        self.limiter = Limiter(found, self.agent, self.watch)
        seats = _seats(size, self.names)
        self.gpus = SimpleNamespace(board=_gpus(size), seats=lambda: seats, orphans=dict)
        self._work()

    def _work(self) -> None:
        """Count what a day brings: each model asked for, each instance with warm and cold starts, held requests."""
        record = self.agent.record
        for model in self.models:
            for action in (Action.ROUTE, Action.HOLD):
                record.counts.decided(Choice(action, Reason.LOADED, self.names[0]), model)
        for name in self.names:
            for tier in Tier:
                choice = Choice(Action.ROUTE, Reason(tier.name.lower()), name, tier)
                record.counts.decided(choice, self.models[0])
                record.counts.granted(choice)
                record.counts.evictions[name] += 1
                record.finished(
                    Grant("r", name, self.models[0], 0.0, tier, loading=READ, cost=Cost(load_s=5.0)),
                    Ending(5.5, 9.0, is_whole=True),
                    self.agent.learner,
                    9.0,
                )
        groups = {name: GpuGroup(1 << 30, 1 << 37, 1 << 30, 1.0) for name in self.names}
        self.agent.board.publish_gpus(groups)
        for priority in (0, 10, 100):
            for outcome in ("granted", "timeout", "left", "refused"):
                record.counts.left_queue(priority, outcome, 3.0)


def _fleet(size: Size) -> Fleet:
    ports = range(20_000, 20_000 + size.instances)
    instances = [{"name": f"i{port - ports[0]}", "url": f"http://127.0.0.1:{port}"} for port in ports]
    return loads(json.dumps({"defaults": {"num_parallel": 4}, "instances": instances}))


def _gpus(size: Size) -> GpuBoard:
    board = GpuBoard([f"host{host}" for host in range(size.hosts)])
    for host in range(size.hosts):
        board.publish(f"host{host}", [reading(host, number) for number in range(size.gpus_per_host)])
    return board


def _seats(size: Size, names: list[str]) -> dict[str, tuple[str, ...]]:
    every = [uuid(host, number) for host in range(size.hosts) for number in range(size.gpus_per_host)]
    share = len(every) // len(names)
    return {name: tuple(every[number * share : (number + 1) * share]) for number, name in enumerate(names)}


async def _nothing() -> None:
    """Lists are always current here."""


async def _healthy(_instance: str, _what: object, _deadline_s: float) -> str:
    return ""


async def measure(scraped: Scraped, rounds: int) -> Measured:
    """Time some scrapes, and each metric of one."""
    exposition, page, best_s = Exposition(scraped, scraped.limiter, scraped.contact), b"", float("inf")
    for _ in range(rounds):
        begun_s = time.process_time()
        page = await exposition.page()
        best_s = min(best_s, time.process_time() - begun_s)
    series = sum(not line.startswith(b"#") for line in page.splitlines())
    return Measured(best_s * 1e3, _longest_ms(scraped, rounds), series, len(page))


def _longest_ms(scraped: Scraped, rounds: int) -> float:
    moment = Moment.of(scraped, scraped.limiter, scraped.contact, time.monotonic())
    best_s = dict.fromkeys(METRICS, float("inf"))
    for metric in METRICS:
        for _ in range(rounds):
            begun_s = time.process_time()
            written(metric.family(moment))
            best_s[metric] = min(best_s[metric], time.process_time() - begun_s)
    return max(best_s.values()) * 1e3


@click.command()
@click.option("--rounds", default=20, show_default=True, help="Scrapes; the best one counts.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a sentence.")
def main(rounds: int, as_json: bool) -> None:
    """Print what a scrape costs."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    size = Size()
    measured = asyncio.run(measure(Scraped(size), rounds))
    is_met = measured.page_ms < GOAL_MS and measured.series <= GOAL_SERIES
    if as_json:
        click.echo(json.dumps({**asdict(measured), "is_met": is_met}))
    else:
        fleet = f"{size.instances} instances, {MODELS} of {MAX_MODELS} models, {size.gpus} GPUs"
        page = f"{measured.series} series, {measured.page_bytes / 1e6:.1f} MB"
        click.echo(f"{fleet}: {page} in {measured.page_ms:.1f} ms, at most {measured.longest_ms:.1f} ms at once")
    sys.exit(not is_met)


if __name__ == "__main__":
    main()
