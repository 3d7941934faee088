"""A reader that may block, off the event loop: one thread per reading, left behind when it hangs."""

from __future__ import annotations

import asyncio
import threading
from typing import Protocol

from spoe_agent.gpus.reading import GpuReading, SourceError, SourceHangs


class Reader(Protocol):
    """Reads GPUs with calls that may block for ever."""

    @property
    def name(self) -> str:
        """What it is called in logs and states."""

    @property
    def doing(self) -> str:
        """The call that it is in, or was in last."""

    def read(self, now_s: float) -> tuple[GpuReading, ...]:
        """Read every GPU; `now_s` becomes `read_at_s`. Raises SourceError."""


class Threaded:
    """Makes a source of a blocking reader.

    The thread is a daemon: one that hangs in the driver is not waited for, not even when the process ends, and no
    second one is sent after it.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._busy_since_s: float | None = None

    @property
    def name(self) -> str:
        """The reader's name."""
        return self._reader.name

    async def read(self, now_s: float) -> tuple[GpuReading, ...]:
        """Read in a thread. Raises SourceError; SourceHangs when an earlier call has not come back."""
        if self._busy_since_s is not None:
            raise SourceHangs(f"{self._reader.doing} has not come back for {now_s - self._busy_since_s:.0f} s")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[GpuReading, ...]] = loop.create_future()
        self._busy_since_s = now_s
        thread = threading.Thread(target=self._work, args=(loop, answer, now_s), name=f"gpus {self.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._busy_since_s = None
            raise SourceError(f"cannot start a thread: {error}") from error
        return await answer

    def _work(
        self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[tuple[GpuReading, ...]], now_s: float
    ) -> None:
        readings: tuple[GpuReading, ...] = ()
        failed: Exception | None = None
        try:
            readings = self._reader.read(now_s)
        except Exception as error:
            failed = error
        self._busy_since_s = None
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, answer, readings, failed)


def _settle(
    answer: asyncio.Future[tuple[GpuReading, ...]], readings: tuple[GpuReading, ...], failed: Exception | None
) -> None:
    if answer.done():  # given up at the deadline
        return
    if failed is not None:
        answer.set_exception(failed)
    else:
        answer.set_result(readings)
