"""Polls every Ollama, each in its own task with its own deadline, and publishes what it says.

A slow or dead instance delays nobody. Clock, sleep and jitter are passed in, so that tests own time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import aiohttp

from spoe_agent.instances import beat
from spoe_agent.instances.http import said
from spoe_agent.instances.ollama import FAILURES
from spoe_agent.routing.snapshot import Health, InstanceState, LoadedModel

JITTER = 0.1
"""Each pause is up to this part longer or shorter, so that polls of many instances do not march in step."""


REFUSALS_UNTIL_DOWN = 2
"""So many refused connections in a row, and the instance gets nothing until it answers again."""


STARTING_S = 10.0
"""An empty list of models so soon after a server came up proves nothing: a store that is on another host may not be
there yet. Until then lists are read with every poll."""


class Source(Protocol):
    """What is asked: `telemetry.ollama.OllamaClient`, or a stand-in of a test."""

    async def loaded(self) -> Mapping[str, LoadedModel]:
        """See OllamaClient."""

    async def installed(self) -> Mapping[str, int]:
        """See OllamaClient."""

    async def version(self) -> str:
        """See OllamaClient."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How often to ask, and by which clock."""

    interval_s: float = 1.0
    """Between polls of `/api/ps`."""
    lists_interval_s: float = 10.0
    """Between polls of `/api/tags`."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = beat.sleep
    jitter: Callable[[], float] = random.random


class Poller:
    """Keeps the readings of one instance current: `poll` once, then `run` until cancelled."""

    def __init__(
        self, name: str, source: Source, publish: Callable[[str, InstanceState], None], timing: Timing
    ) -> None:
        self._name = name
        self._source = source
        self._publish = publish
        self._timing = timing
        self._state = InstanceState()
        self._lists_due_s = timing.clock()
        self._refusals = 0
        self._proves_at_s = timing.clock()
        # An older reading must not overwrite a newer one.
        self._polling = asyncio.Lock()

    async def run(self) -> None:
        """Poll until cancelled.

        After an answer it begins at any moment of the interval: polls of many at once would keep requests waiting.
        """
        timing = self._timing
        if self._state.health is Health.UP:
            await timing.sleep(timing.interval_s * timing.jitter())
        while True:
            await self.poll()
            await timing.sleep(timing.interval_s * (1 + JITTER * (2 * timing.jitter() - 1)))

    async def poll(self) -> None:
        """Ask once and publish the outcome; never raises for what the instance does."""
        async with self._polling:
            await self._poll()

    async def _poll(self) -> None:
        silences = self._state.silences
        if silences:
            self._state = replace(self._state, silences=0)
        try:
            await self._read()
        except TimeoutError:
            # Ollama's lists block for seconds while it unloads (server/sched.go loadedModels): busy, not dead.
            self._turn(Health.SLOW, "no answer in time")
            self._state = replace(self._state, silences=0 if await self._lives() else silences + 1)
        except (ConnectionRefusedError, aiohttp.ClientConnectorError) as error:
            self._refused(said(error))
        except FAILURES as error:
            self._turn(Health.SLOW, said(error))
            self._state = replace(self._state, silences=silences + 1)
        else:
            self._refusals = 0
        self._publish(self._name, self._state)

    async def _lives(self) -> bool:
        """Tell whether it answers what takes no lock in Ollama: then its lists are only in transition."""
        try:
            await self._source.version()
        except FAILURES:
            return False
        return True

    def _refused(self, why: str) -> None:
        """Nobody listens there. Once may be a restart; twice is down, and then nothing is loaded any more."""
        self._refusals += 1
        self._lists_due_s = self._timing.clock()
        if self._refusals < REFUSALS_UNTIL_DOWN:
            self._turn(Health.SLOW, why)
            return
        self._state = replace(self._state, loaded={}, loaded_at_s=self._timing.clock())
        self._turn(Health.DOWN, why)

    async def refresh_lists(self) -> None:
        """Ask now, lists too: somebody wants a model that was not there a moment ago."""
        async with self._polling:
            # Not before the lock is ours: a poll under way may have asked for the lists too early.
            self._lists_due_s = self._timing.clock()
            await self._poll()

    async def _read(self) -> None:
        asked_at_s = self._timing.clock()
        loaded = await self._source.loaded()
        self._state = replace(self._state, loaded=loaded, loaded_at_s=asked_at_s)
        if self._refusals or self._state.health is Health.UNKNOWN:
            self._proves_at_s = asked_at_s + STARTING_S
        if asked_at_s >= self._lists_due_s:
            self._list(await self._source.installed(), asked_at_s)
        if self._state.health is not Health.UP:
            # It may have been another program until now; while it runs its version stays.
            self._state = replace(self._state, version=await self._source.version())
        self._turn(Health.UP, "")

    def _list(self, installed: Mapping[str, int], asked_at_s: float) -> None:
        """Take a list of models."""
        is_starting = not installed and asked_at_s < self._proves_at_s
        self._lists_due_s = asked_at_s + (0.0 if is_starting else self._timing.lists_interval_s)
        # What is loaded was asked before: what is not listed now was deleted since it was loaded.
        deleted = frozenset() if is_starting else frozenset(self._state.loaded) - installed.keys()
        self._state = replace(
            self._state, installed=installed, installed_at_s=asked_at_s, deleted=deleted, is_starting=is_starting
        )

    def _turn(self, health: Health, why: str) -> None:
        """Enter a state."""
        if (health, why) != (self._state.health, self._state.why):
            self._state = replace(self._state, health=health, why=why)
