"""Reads every source, each in its own task with its own deadline, and publishes what it says.

A source that is slow, dead or hanging delays no other. Changes of state are logged once. Clock, sleep and jitter are
passed in, so that tests own time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from spoe_agent.gpus.board import GpuBoard, SourceState, State
from spoe_agent.gpus.reading import GpuReading, SourceError, SourceHangs
from spoe_agent.instances import beat

log = structlog.get_logger()

JITTER = 0.1
"""Each pause is up to this part longer or shorter, so that reads of many hosts do not march in step."""


class Source(Protocol):
    """Something that reads the GPUs of one host."""

    @property
    def name(self) -> str:
        """What it is called in logs and states; no two sources share one."""

    async def read(self, now_s: float) -> tuple[GpuReading, ...]:
        """Read every GPU, as of `now_s`. Raises SourceError; may take for ever, the poller does not wait."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to read, how long to wait, and by which clock."""

    interval_s: float = 1.0
    deadline_s: float = 2.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = beat.sleep
    jitter: Callable[[], float] = random.random


class GpuPoller:
    """Keeps the readings of one source current: `poll` once, or `run` until cancelled."""

    def __init__(self, source: Source, board: GpuBoard, pace: Pace) -> None:
        self._source = source
        self._board = board
        self._pace = pace
        self._state = State.UNKNOWN

    async def run(self) -> None:
        """Read for ever; after the first time at any moment of the interval, as many hosts at once would be a jam."""
        pace = self._pace
        await self.poll()
        await pace.sleep(pace.interval_s * pace.jitter())
        while True:
            await self.poll()
            await pace.sleep(pace.interval_s * (1 + JITTER * (2 * pace.jitter() - 1)))

    async def poll(self) -> None:
        """Read once and publish the outcome; never raises for what the source does."""
        try:
            async with asyncio.timeout(self._pace.deadline_s):
                readings = await self._source.read(self._pace.clock())
        except TimeoutError:
            self._lose(State.LATE, f"no answer within {self._pace.deadline_s:g} s")
        except SourceHangs as error:
            self._lose(State.LATE, str(error))
        except SourceError as error:
            self._lose(State.DOWN, str(error))
        except Exception as error:  # our own fault: it must cost this source, not the others, and be seen
            self._lose(State.DOWN, f"{type(error).__name__}: {error}", exc_info=True)
        else:
            self._board.publish(self._source.name, readings)
            if self._state is not State.UP:
                log.info("GPU source answers", source=self._source.name, gpus=[reading.uuid for reading in readings])
            self._state = State.UP

    def _lose(self, state: State, why: str, exc_info: bool = False) -> None:
        self._board.report(self._source.name, SourceState(state, why))
        if state is not self._state:
            told = {"exc_info": True} if exc_info else {}
            log.warning("GPU source does not answer", source=self._source.name, state=str(state), why=why, **told)
        self._state = state
