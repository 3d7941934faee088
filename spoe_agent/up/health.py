"""How the instances are, by the agent: a line for each that changes; and what they are to load before anybody asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import aiohttp

from spoe_agent.fleet import Listen
from spoe_agent.instances.http import Remote, TooLong, get
from spoe_agent.keys.operators import headers

INTERVAL_S = 1.0
TIMEOUT = aiohttp.ClientTimeout(total=5 * INTERVAL_S)

PRELOADED_S = 60.0
"""The front does not wait longer for models: what loads then is large, and requests for others would be served."""


async def preloaded(admin: Listen, say: Callable[[str], None], within_s: float = PRELOADED_S) -> None:
    """Wait, not for long, until instances have loaded what they had before, and what is pinned to them: so that those
    who come first wait for no load. Say what is waited for.
    """
    is_said = False
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s), aiohttp.ClientSession(timeout=TIMEOUT) as session:
            while (loads := loading(await _status(session, admin))) != "":
                if loads and not is_said:
                    is_said = True
                    say(f"loads first: {loads}; the front opens then, in {within_s:.0f} s at most")
                await asyncio.sleep(INTERVAL_S)


async def follow(admin: Listen, say: Callable[[str], None]) -> None:
    """Ask the agent again and again, until cancelled. While it does not answer nothing is said: its end is."""
    last: dict[str, str] = {}
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        while True:
            for name, line in lines(await _status(session, admin) or {"instances": ()}):
                if last.get(name) != line:
                    say(line)
                last[name] = line
            await asyncio.sleep(INTERVAL_S)


async def _status(session: aiohttp.ClientSession, admin: Listen) -> Mapping[str, Any] | None:
    """Return what the agent says; None: it does not answer, or not to this key."""
    with suppress(OSError, ValueError, TooLong, aiohttp.ClientError, TimeoutError):
        answer = await get(session, Remote(f"http://{admin}", headers()), "/status")
        found: Mapping[str, Any] | None = json.loads(answer.body) if answer.status == 200 else None
        return found
    return None


def loading(status: Mapping[str, Any] | None) -> str | None:
    """Return what is to be loaded before anybody asks, and where; "": nothing; None: nobody says."""
    if status is None:
        return None
    return "; ".join(
        f"{', '.join(one['preloading'])} on {one['name']}" for one in status["instances"] if one["preloading"]
    )


def lines(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield for each instance its name and its state as a line."""
    for one in status["instances"]:
        loaded = ", ".join(model["model"] for model in one["loaded"])
        why = f" ({one['evidence']})" if one["health"] != "up" and one["evidence"] else ""
        yield one["name"], f"{one['name']} is {one['health']}{why}, loaded: {loaded or 'nothing'}"
