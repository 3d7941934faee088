"""Where operators look when something is wrong: that each place shows it.

`see` looks at all of them, and waits as long as docs/telemetry.md says that a fault takes to be found. Which fault is
seen in which test:

    test_health    an instance killed, that hangs (also with every slot taken), cannot load, answers errors, whose lists
                   fail, that cuts streams (up again within a probe, and named for minutes); drained; a model on the CPU
                   in part; lost GPUs
    test_failures  clients that leave before the first token again and again; a model that fails wherever it is asked;
                   who refuses at once (503, 404, 429); who fails where another serves, with one model or whatever it
                   is asked; who fails again when it is tried again
    test_gpus      a GPU lost, failing or held down, its memory taken; no reading at all
    test_orphans   a runner that outlived its Ollama
    test_unserved  no GPU memory, no slot in time, no such model, too large a body; clients that leave held or loading
    test_store     no instance that has the model up; one that has just started
    test_settings  more slots, or fewer models, than the fleet file says: by the process, by answers, by what it evicts
    test_apply     a fleet file that cannot be used
    test_contact   HAProxy that does not ask
    test_faults    the agent itself hangs, or is gone (the page: tests/browser)
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from spoe_agent.admin.table import tables
from spoe_agent.rig.stack import Stack
from spoe_agent.top.screen import screen
from tests.e2e.conftest import until
from tests.e2e.operator import status

ALLOWANCE_S = 5.0
"""Beside the time that is stated: for a scene to come, and for a machine that has other work."""


async def scrape(session: aiohttp.ClientSession, stack: Stack) -> Mapping[str, Metric]:
    """Return the metrics by their names in the text."""
    async with session.get(f"http://{stack.fleet.listeners.admin}/metrics") as answer:
        assert answer.status == 200
        page = await answer.text()
    return {f"{one.name}{'_total' * (one.type == 'counter')}": one for one in text_string_to_metric_families(page)}


def total(found: Mapping[str, Metric], name: str, sample: str = "", **labels: str) -> float:
    """Return the sum of a metric's samples with these labels."""
    wanted = labels.items()
    return sum(
        one.value for one in found[name].samples if one.name == (sample or name) and wanted <= one.labels.items()
    )


async def scene(session: aiohttp.ClientSession, stack: Stack) -> dict[str, Any]:
    """Return what the dashboard is sent now."""
    async with session.get(f"http://{stack.fleet.listeners.admin}/dashboard/events", read_bufsize=1 << 22) as answer:
        event = await answer.content.readuntil(b"\n\n")
    found: dict[str, Any] = json.loads(event.removeprefix(b"data: "))
    return found


async def see(
    session: aiohttp.ClientSession,
    stack: Stack,
    where: str,
    what: str,
    metric: str,
    *,
    within_s: float = 0.0,
    **labels: str,
) -> None:
    """Wait until the dashboard, `top`, `status` and a metric show what is wrong at an instance ("": nowhere special).

    What is a fault is in the dashboard's list of these; a drain by hand, which is none, at the instance alone.
    `within_s`: what is stated from now until it is found, with the stack's policies; 0: it is found at once.
    """
    missing: list[str] = []

    async def seen() -> bool:
        missing.clear()
        found = await scene(session, stack)
        signs = [(one["where"], one["what"]) for one in found["faults"]]
        signs += [(one["name"], sign["what"]) for one in found["instances"] for sign in one["signs"]]
        if not any(at == where and what in said for at, said in signs):
            missing.append(f"dashboard: {signs}")
        lines = "\n".join(line.plain for line in screen(found, "", 400, 60))
        # `top` shows a drain by the instance's state.
        if (what if any(what in one["what"] for one in found["faults"]) else f"{where} ") not in lines:
            missing.append(f"top: {lines}")
        console = Console(width=400, file=io.StringIO(), record=True)
        console.print(tables(await status(session, stack)))
        if what not in (text := console.export_text()):
            missing.append(f"status: {text}")
        if total(await scrape(session, stack), metric.removesuffix("_count"), metric, **labels) <= 0:
            missing.append(f"metric {metric} {labels}")
        return not missing

    try:
        took_s = await until(seen, within_s + ALLOWANCE_S, f"{where} {what}")
        print(f"seen after {took_s:.2f} s, stated are {within_s:.1f} s: {where} {what}")
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), *missing])) from None
