"""Polls every Ollama, each in its own task with its own deadline, and publishes what each poll brought.

A slow or dead instance delays nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import aiohttp

from spoe_agent.instances.beat import Beat
from spoe_agent.instances.http import said
from spoe_agent.instances.lists import InstalledModel
from spoe_agent.instances.ollama import FAILURES
from spoe_agent.instances.reading import PollResult, Reading
from spoe_agent.routing.snapshot import LoadedModel

STARTING_S = 10.0
"""An empty list of models so soon after a server came up proves nothing: a store that is on another host may not be
there yet. Until then lists are read with every poll."""


class Lister(Protocol):
    """What is asked: `OllamaClient`, or a stand-in of a test."""

    async def loaded(self) -> Mapping[str, LoadedModel]:
        """See OllamaClient."""

    async def installed(self) -> Mapping[str, InstalledModel]:
        """See OllamaClient."""

    async def version(self) -> str:
        """See OllamaClient."""


class Poller:
    """Publishes what polls of one instance bring: `poll` once, then `run` until cancelled.

    The lists of what is installed are asked for every `lists_interval_s` only.
    """

    def __init__(
        self, name: str, source: Lister, publish: Callable[[str, Reading], None], beat: Beat, lists_interval_s: float
    ) -> None:
        self._name = name
        self._source = source
        self._publish = publish
        self._beat = beat
        self._lists_interval_s = lists_interval_s
        self._last: PollResult | None = None
        self._was_away = False
        """It refused a connection, and has not answered everything since."""
        self._lists_due_s = beat.clock()
        self._proves_at_s = beat.clock()
        # An older reading must not be published after a newer one.
        self._polling = asyncio.Lock()

    async def run(self) -> None:
        """Poll until cancelled, at once unless it has answered already."""
        await self._beat.keep(self.poll, is_first_done=self._last is PollResult.ANSWERED)

    async def poll(self) -> None:
        """Ask once and publish the outcome; never raises for what the instance does."""
        async with self._polling:
            await self._poll()

    async def refresh_lists(self) -> None:
        """Ask now, lists too: somebody wants a model that was not there a moment ago."""
        async with self._polling:
            # Not before the lock is ours: a poll under way may have asked for the lists too early.
            self.want_lists()
            await self._poll()

    def want_lists(self) -> None:
        """Have the lists asked for with the next poll: there is news in the store."""
        self._lists_due_s = self._beat.clock()

    async def _poll(self) -> None:
        reading = await self._ask()
        self._last = reading.outcome
        if reading.outcome is PollResult.REFUSED:
            # What comes up there may have other models.
            self._was_away, self._lists_due_s = True, reading.asked_at_s
        elif reading.outcome is PollResult.ANSWERED:
            self._was_away = False
        self._publish(self._name, reading)

    async def _ask(self) -> Reading:
        reading = Reading(self._beat.clock())
        try:
            reading = replace(reading, loaded=await self._source.loaded())
            if self._was_away or self._last is None:
                self._proves_at_s = reading.asked_at_s + STARTING_S
            if reading.asked_at_s >= self._lists_due_s:
                reading = self._with_list(reading, await self._source.installed())
            if self._last is not PollResult.ANSWERED:
                # It may have been another program until now; while it runs its version stays.
                reading = replace(reading, version=await self._source.version())
        except TimeoutError:
            # Ollama's lists block for seconds while it unloads (server/sched.go loadedModels): busy, not dead.
            outcome = PollResult.SLOW if await self._lives() else PollResult.SILENT
            return replace(reading, outcome=outcome, why="no answer in time")
        except (ConnectionRefusedError, aiohttp.ClientConnectorError) as error:
            return replace(reading, outcome=PollResult.REFUSED, why=said(error))
        except FAILURES as error:
            return replace(reading, outcome=PollResult.SILENT, why=said(error))
        return reading

    def _with_list(self, reading: Reading, installed: Mapping[str, InstalledModel]) -> Reading:
        is_starting = not installed and reading.asked_at_s < self._proves_at_s
        self._lists_due_s = reading.asked_at_s + (0.0 if is_starting else self._lists_interval_s)
        return replace(reading, installed=installed, is_starting=is_starting)

    async def _lives(self) -> bool:
        """Tell whether it answers what takes no lock in Ollama: then its lists are only in transition."""
        try:
            await self._source.version()
        except FAILURES:
            return False
        return True
