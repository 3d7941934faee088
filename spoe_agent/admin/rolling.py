"""One Ollama is started anew, and no request is lost.

    1. It is drained: nothing new is sent there. What runs there ends by itself.
    2. systemd restarts its unit; else its process is ended, and whoever started it (`up`, compose) starts it again.
    3. When it answers, the agent has it load what it had.
    4. It serves again.

Whoever interrupts 1 has it serve again. What goes wrong later leaves it drained, and is said.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import psutil

from spoe_agent.fleet import Instance, Listen
from spoe_agent.fleet.hosts import canonical_host
from spoe_agent.instances.ollama import FAILURES, OllamaClient
from spoe_agent.instances.reach import reach
from spoe_agent.process.owners import process_at

POLL_S = 0.25
SAY_S = 10.0
"""Between two lines on what is waited for."""

SETTLE_S = 1.0
"""What was granted just before the drain may still be on its way."""

END_DEADLINE_S = 60.0
START_DEADLINE_S = 120.0
LOAD_DEADLINE_S = 900.0

Ask = Callable[..., Awaitable[dict[str, Any]]]
"""Method, path and body of the agent's admin port."""


class NotRestarted(Exception):
    """An instance was not started anew; the text says how things stand."""


class Rolling:
    """Starts instances anew, by the agent's admin port. `say` is told each step."""

    def __init__(self, ask: Ask, session: aiohttp.ClientSession, say: Callable[[str], None]) -> None:
        self._ask = ask
        self._session = session
        self._say = say

    async def restart(self, instance: Instance) -> None:
        """Start one anew. Raises NotRestarted."""
        name, before = instance.name, await self._status(instance.name)
        unit = await _unit(name)
        process = None if unit else _process(instance)
        await self._ask("POST", f"/instances/{name}/drain")
        try:
            await self._idle(name)
        except BaseException:
            if not before["drained"]:
                await self._ask("POST", f"/instances/{name}/ready")
            raise
        had = [model["model"] for model in before["loaded"]]
        await (_by_systemd(unit) if process is None else self._by_its_end(process, name))
        await self._answers(instance)
        await self._ask("POST", f"/instances/{name}/preload", {"models": had})
        await self._loaded(name)
        if not before["drained"]:
            await self._ask("POST", f"/instances/{name}/ready")
        self._say(f"{name} was started anew and {'stays drained' if before['drained'] else 'serves again'}")

    async def _idle(self, name: str) -> None:
        """Wait until nothing runs there, for as long as that takes: a stream may go on for long."""
        begun_s = said_s = time.monotonic()
        while True:
            await asyncio.sleep(POLL_S)
            now_s, running = time.monotonic(), (await self._status(name))["in_flight"]
            if not running and now_s - begun_s >= SETTLE_S:
                return
            if running and now_s - said_s >= SAY_S:
                said_s = now_s
                what = ", ".join(f"{count} of {model}" for model, count in running.items())
                self._say(f"{name} is drained; requests that still run there: {what}. Ctrl-C has it serve again")

    async def _by_its_end(self, process: psutil.Process, name: str) -> None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
        if not await _within(END_DEADLINE_S, lambda: _is_gone(process)):
            raise NotRestarted(f"{name}, process {process.pid}, does not end at SIGTERM; it is drained")

    async def _answers(self, instance: Instance) -> None:
        client = OllamaClient(self._session, reach(instance), timeout_s=5.0)

        async def answers() -> bool:
            with suppress(*FAILURES):
                return bool(await client.version())
            return False

        if not await _within(START_DEADLINE_S, answers):
            hint = f"start it, then: pointsman ready {instance.name}"
            raise NotRestarted(f"{instance.name} ended, and nobody has started it again; {hint}")

    async def _loaded(self, name: str) -> None:
        async def done() -> bool:
            return not (await self._status(name))["preloading"]

        if not await _within(LOAD_DEADLINE_S, done):
            self._say(f"{name} has not loaded all that it had within {LOAD_DEADLINE_S:.0f} s")

    async def _status(self, name: str) -> dict[str, Any]:
        found = [one for one in (await self._ask("GET", "/status"))["instances"] if one["name"] == name]
        if not found:
            raise NotRestarted(f"the running agent knows no instance {name}: pointsman reload")
        one: dict[str, Any] = found[0]
        return one


def _process(instance: Instance) -> psutil.Process:
    found: psutil.Process | None = process_at(Listen(canonical_host(instance.host), instance.port))
    if found is None or instance.onward is not None:
        hint = "restart it over there, as its user or root"
        raise NotRestarted(f"{instance.name}: no process of yours on this host listens at {instance.url}; {hint}")
    return found


async def _unit(name: str) -> str:
    """Return the unit that systemd runs an instance as; "" when it does not."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return ""
    unit = f"ollama-{name}.service"
    child = await asyncio.create_subprocess_exec(
        # Where systemd does not run, it says so at length.
        systemctl,
        "is-active",
        "--quiet",
        unit,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return unit if await child.wait() == 0 else ""


async def _by_systemd(unit: str) -> None:
    child = await asyncio.create_subprocess_exec("systemctl", "restart", unit)
    if await child.wait():
        raise NotRestarted(f"systemctl restart {unit} failed; the instance is drained")


async def _is_gone(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


async def _within(deadline_s: float, check: Callable[[], Awaitable[bool]]) -> bool:
    until_s = time.monotonic() + deadline_s
    while not await check():
        if time.monotonic() > until_s:
            return False
        await asyncio.sleep(POLL_S)
    return True
