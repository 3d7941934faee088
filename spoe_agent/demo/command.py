"""The command: options, the run, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import click
import uvloop
from rich.console import Console
from rich.live import Live

from spoe_agent.demo.summary import RunSummary
from spoe_agent.demo.traffic import Answered, DemoModel, client, schedule, send, zipf
from spoe_agent.fleet import FleetError, load
from spoe_agent.instances.ollama import FAILURES, OllamaClient
from spoe_agent.instances.reach import reach
from spoe_agent.rig import haproxy, mitmproxy
from spoe_agent.rig.process import RigError
from spoe_agent.rig.stack import Simulated, Stack
from spoe_agent.routing.names import display, is_cloud

SEED = 1
REDRAW_S = 0.25
MODELS = (
    ("llama3.1:8b", "4.7GB"),
    ("qwen2.5:7b", "4.7GB"),
    ("gemma2:9b", "5.5GB"),
    ("mistral:7b", "4.1GB"),
    ("phi4:14b", "9.1GB"),
    ("qwen2.5:32b", "20GB"),
    ("gemma2:27b", "16GB"),
    ("nomic-embed-text", "274MB"),
)
EMBEDS = ("embed", "bge", "minilm")
"""Parts of the names of embedding models, which chat requests must not be sent to."""

FRONTS = {
    "haproxy": (haproxy.find_haproxy, haproxy.version, Stack),
    "mitmproxy": (mitmproxy.find_mitmdump, mitmproxy.version, mitmproxy.MitmproxyStack),
}
"""By name: finds the program, tells its version, and the stack with it in front."""


@click.command()
@click.option("--requests", type=click.IntRange(min=1), help="Stop after so many; without it, at Ctrl-C.")
@click.option("--rate", type=click.FloatRange(min=0.1), default=20.0, show_default=True, help="Requests per second.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end instead of a live table.")
@click.option(
    "--fleet",
    "own",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Fleet file of your own running Ollama instances, used instead of simulated ones.",
)
@click.option(
    "--front",
    type=click.Choice(list(FRONTS)),
    default="haproxy",
    show_default=True,
    help="What the traffic goes through.",
)
def demo(requests: int | None, rate: float, as_json: bool, own: Path | None, front: str) -> None:
    """Show the whole product: 4 instances, 8 models, mixed traffic through real HAProxy."""
    try:
        if own is not None:
            load(own)  # what runs is a copy with other addresses: mistakes are told as they stand in the user's file
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            failed = runner.run(_run(requests, rate, as_json, own, front))
    except (RigError, FleetError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        return
    except asyncio.CancelledError:
        raise SystemExit(128 + signal.SIGTERM) from None
    raise SystemExit(1 if failed else 0)


async def _run(requests: int | None, rate: float, as_json: bool, own: Path | None, front: str) -> int:
    this = asyncio.current_task()
    assert this is not None
    # Whoever ends the demo ends what it started: cancelled, it cleans up as at Ctrl-C.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    find, version, stack_with = FRONTS[front]
    binary = find()
    with tempfile.TemporaryDirectory(prefix="pointsman-demo-") as folder:
        async with stack_with(Path(folder), binary, Simulated(models=MODELS), own=own) as stack, client() as session:
            models = [DemoModel(name, _embeds(name)) for name, _ in MODELS] if own is None else await _own_models(stack)
            pick = zipf(models, SEED)
            summary = RunSummary(
                f"{front} {version(binary)}", tuple(instance.name for instance in stack.fleet.instances)
            )
            answers = schedule(lambda number: send(session, stack.url, number, pick()), requests, rate)
            await _watch(summary, answers, stack, session, Console(stderr=as_json, quiet=as_json))
            if as_json:
                click.echo(json.dumps(summary.as_data(await _loads(session, stack))))
            return summary.failed


async def _watch(
    summary: RunSummary,
    answers: AsyncIterator[Answered],
    stack: Stack,
    session: aiohttp.ClientSession,
    console: Console,
) -> None:
    """Count the answers, and redraw the table now and then."""
    drawn_at_s = 0.0
    with Live(summary.table(None), console=console, auto_refresh=False) as live:
        async for seen in answers:
            summary.add(seen)
            if time.monotonic() - drawn_at_s > REDRAW_S:
                live.update(summary.table(await _loads(session, stack)), refresh=True)
                drawn_at_s = time.monotonic()
        live.update(summary.table(await _loads(session, stack)), refresh=True)


async def _loads(session: aiohttp.ClientSession, stack: Stack) -> int | None:
    """Return how many loads the simulated instances did; real ones do not tell."""
    if stack.own is not None:
        return None
    total = 0
    for instance in stack.fleet.instances:
        async with session.get(f"{instance.url}/sim/stats") as response:
            total += sum((await response.json())["loads"].values())
    return total


async def _own_models(stack: Stack) -> list[DemoModel]:
    """Return what the user's instances have installed."""
    found: dict[str, DemoModel] = {}
    async with aiohttp.ClientSession() as session:
        for instance in stack.fleet.instances:
            timeout_s = stack.fleet.policies.poll.timeout
            source = OllamaClient(session, reach(instance), timeout_s)
            try:
                names = await source.installed()
            except FAILURES as error:
                raise RigError(f"{instance.name} at {instance.url} does not answer: {error}") from error
            found.update({key: DemoModel(display(key), _embeds(key)) for key in names if not is_cloud(key)})
    if not found:
        raise RigError(f"no instance of {stack.own} has a model installed; try: ollama pull llama3.2:1b")
    return list(found.values())


def _embeds(name: str) -> bool:
    return any(part in name for part in EMBEDS)
