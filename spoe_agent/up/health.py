"""How the instances are, by the agent: a line for each that changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import aiohttp

from spoe_agent.fleet import Listen
from spoe_agent.instances.http import Remote, TooLong, get

INTERVAL_S = 1.0


async def follow(admin: Listen, say: Callable[[str], None]) -> None:
    """Ask the agent again and again, until cancelled. While it does not answer nothing is said: its end is."""
    last: dict[str, str] = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5 * INTERVAL_S)) as session:
        while True:
            with suppress(OSError, ValueError, TooLong, aiohttp.ClientError, TimeoutError):
                answer = await get(session, Remote(f"http://{admin}"), "/status")
                for name, line in lines(json.loads(answer.body)):
                    if last.get(name) != line:
                        say(line)
                    last[name] = line
            await asyncio.sleep(INTERVAL_S)


def lines(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield for each instance its name and its state as a line."""
    for one in status["instances"]:
        loaded = ", ".join(model["model"] for model in one["loaded"])
        why = f" ({one['evidence']})" if one["health"] != "up" and one["evidence"] else ""
        yield one["name"], f"{one['name']} is {one['health']}{why}, loaded: {loaded or 'nothing'}"
