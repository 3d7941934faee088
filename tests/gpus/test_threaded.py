"""Blocking readers off the event loop."""

import asyncio
import threading
from contextlib import contextmanager

import pytest

from spoe_agent.gpus.reading import GpuReading, SourceError, SourceHangs
from spoe_agent.gpus.threaded import Threaded

DEADLINE_S = 10.0


class Reader:
    """Waits until it is let go, then answers or fails."""

    name = "reader"
    doing = "nvmlSlowCall"

    def __init__(self, fails=None):
        self.go = threading.Event()
        self.fails = fails
        self.threads = []

    def read(self, now_s):
        self.threads.append(threading.current_thread())
        assert self.go.wait(DEADLINE_S)
        if self.fails is not None:
            raise self.fails
        return (GpuReading("GPU-1", read_at_s=now_s),)


@contextmanager
def reader(**settings):
    made = Reader(**settings)
    try:
        yield made
    finally:
        made.go.set()
        for thread in made.threads:
            thread.join(DEADLINE_S)


async def test_it_reads_in_a_thread_that_nobody_has_to_wait_for():
    with reader() as slow:
        task = asyncio.ensure_future(Threaded(slow).read(3.0))
        slow.go.set()
        assert await task == (GpuReading("GPU-1", read_at_s=3.0),)
        assert slow.threads[0] is not threading.main_thread()
        assert slow.threads[0].daemon


async def test_what_a_reader_raises_arrives():
    with reader(fails=SourceError("no driver")) as broken:
        broken.go.set()
        with pytest.raises(SourceError, match="no driver"):
            await Threaded(broken).read(0.0)


async def test_one_that_hangs_is_left_alone_until_it_comes_back():
    with reader() as slow:
        source = Threaded(slow)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await source.read(100.0)
        for now_s, age in ((101.0, 1), (160.0, 60)):
            with pytest.raises(SourceHangs, match=f"nvmlSlowCall has not come back for {age} s"):
                await source.read(now_s)
        assert len(slow.threads) == 1
        slow.go.set()
        slow.threads[0].join(DEADLINE_S)
        assert (await source.read(170.0))[0].read_at_s == 170.0


async def test_an_answer_after_the_deadline_is_thrown_away():
    with reader() as slow:
        source = Threaded(slow)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await source.read(1.0)
        slow.go.set()
        slow.threads[0].join(DEADLINE_S)
        await asyncio.sleep(0)  # the late answer is delivered to nobody


def test_a_thread_that_outlives_the_loop_harms_nobody():
    with reader() as slow:

        async def give_up():
            async with asyncio.timeout(0.02):
                await Threaded(slow).read(1.0)

        with pytest.raises(TimeoutError):
            asyncio.run(give_up())
        slow.go.set()
        slow.threads[0].join(DEADLINE_S)
        assert not slow.threads[0].is_alive()
