"""Whether a HAProxy that was reloaded serves clients: what its reload says proves nothing.

A master process that cannot start a new one goes on with the old one, without a word, and whoever else has the address
answers there. So HAProxy is asked for something about which it asks the agent, and the agent says which process did.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from spoe_agent.fleet import Listen
from spoe_agent.fleet.resolved import LOCAL_HOST
from spoe_agent.haproxy.contract import APPLY_ID, APPLY_PATH

Ask = Callable[[str, str], Awaitable[Mapping[str, Any]]]
"""Method and path of the agent's admin port; raises Refused when it is not there or says no."""

ANSWER_S = 2.0

RETRY_S = 0.1

HEADERS = {"Host": LOCAL_HOST, "X-Request-Id": APPLY_ID}
"""HAProxy's log names the request so. Where a key is needed it asks the agent about this one all the same, if it comes
from this machine, and then turns it away."""


@dataclass(frozen=True, slots=True)
class Before:
    """How it was before the reload."""

    processes: frozenset[str]
    """HAProxy's, by name."""
    answered: bool
    """Somebody answered where clients connect: it can be reached from here."""


async def before(fronts: Iterable[Listen], ask: Ask, patience_s: float, prefix: str = "") -> Before:
    """Return how it is. `fronts`: where clients connect now, as far as is known; `prefix`: of Ollama's paths there,
    as it is to be.

    A HAProxy that answers is waited for until it asks: it may have taken the agent for dead until now, and would be
    taken for a new one later.
    """
    until_s, fronts = time.monotonic() + patience_s, tuple(fronts)
    while True:
        answered = [await _answers(front, below) for front in fronts for below in {"", prefix}]
        processes = _processes((await ask("GET", "/status"))["haproxy"])
        if processes or not any(answered) or time.monotonic() >= until_s:
            return Before(processes, any(answered))
        await asyncio.sleep(RETRY_S)


async def why_not(front: Listen, was: Before, ask: Ask, patience_s: float, prefix: str = "") -> str | None:
    """Wait until a HAProxy process that was not there before serves at an address, with all instances.

    `prefix`: of Ollama's paths there.

    Return "" when one does; None when that cannot be seen from here, as in another container; else what is the case.
    """
    until_s = time.monotonic() + patience_s
    while True:
        answers, haproxy = await _answers(front, prefix), (await ask("GET", "/status"))["haproxy"]
        is_new = bool(_processes(haproxy) - was.processes)
        if is_new and not haproxy["missing"]:
            return ""
        if time.monotonic() >= until_s:
            break
        await asyncio.sleep(RETRY_S)
    if is_new:
        missing = ", ".join(haproxy["missing"])
        return (
            f"it does not have {missing} at the address of the fleet file: does it run with the files in haproxy.files?"
        )
    if answers:
        return (
            f"no new process of it asks the agent for what clients ask at {front}: it goes on with the configuration "
            "before, does not reach the agent, or somebody else answers there"
        )
    return f"nobody answers at {front}" if was.answered else None


def _processes(haproxy: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(one["name"] for one in haproxy["processes"])


async def _answers(front: Listen, prefix: str = "") -> bool:
    """Have HAProxy ask the agent; tell whether anybody is there at all."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(timeout=timeout, headers=HEADERS) as session:
        for scheme in ("http", "https"):
            try:
                # Nothing is told to whoever answers, so it need not prove who it is.
                async with session.get(f"{scheme}://{front.local}{prefix}{APPLY_PATH}", ssl=False) as answer:
                    await answer.read()
                    return True
            except aiohttp.ClientConnectorSSLError:
                return True
            except aiohttp.ClientConnectorError:
                return False
            except (OSError, aiohttp.ClientError):
                continue
    return True
