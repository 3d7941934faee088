"""Reads every source, each in its own task with its own deadline, and publishes what it says.

A source that is slow, dead or hanging delays no other. Changes of state are logged once.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from spoe_agent.faults import kind
from spoe_agent.gpus.board import GpuBoard, SourceHealth, SourceState
from spoe_agent.gpus.reading import GpuReading, SourceError, SourceHangs
from spoe_agent.instances.beat import Beat

log = structlog.get_logger()

DEADLINE_S = 2.0
"""How long a source may take to answer."""


class Source(Protocol):
    """Something that reads the GPUs of one host."""

    @property
    def name(self) -> str:
        """What it is called in logs and states; no two sources share one."""

    async def read(self, now_s: float) -> tuple[GpuReading, ...]:
        """Read every GPU, as of `now_s`. Raises SourceError; may take for ever, the poller does not wait."""


class GpuPoller:
    """Keeps the readings of one source current: `poll` once, or `run` until cancelled."""

    def __init__(self, source: Source, board: GpuBoard, beat: Beat, deadline_s: float = DEADLINE_S) -> None:
        self._source = source
        self._board = board
        self._beat = beat
        self._deadline_s = deadline_s
        self._state = SourceHealth.UNKNOWN

    async def run(self) -> None:
        """Read until cancelled, for the first time at once."""
        await self.poll()
        await self._beat.keep(self.poll, is_first_done=True)

    async def poll(self) -> None:
        """Read once and publish the outcome; never raises for what the source does."""
        try:
            async with asyncio.timeout(self._deadline_s):
                readings = await self._source.read(self._beat.clock())
        except TimeoutError:
            self._lose(SourceHealth.LATE, f"no answer within {self._deadline_s:g} s")
        except SourceHangs as error:
            self._lose(SourceHealth.LATE, str(error))
        except SourceError as error:
            self._lose(SourceHealth.DOWN, str(error))
        except Exception as error:  # our own fault: it must cost this source, not the others, and be seen
            self._lose(SourceHealth.DOWN, kind(error), exc_info=True)
        else:
            self._board.publish(self._source.name, readings)
            if self._state is not SourceHealth.UP:
                log.info("GPU source answers", source=self._source.name, gpus=[reading.uuid for reading in readings])
            self._state = SourceHealth.UP

    def _lose(self, state: SourceHealth, why: str, exc_info: bool = False) -> None:
        self._board.report(self._source.name, SourceState(state, why))
        if state is not self._state:
            told = {"exc_info": True} if exc_info else {}
            log.warning("GPU source does not answer", source=self._source.name, state=str(state), why=why, **told)
        self._state = state
