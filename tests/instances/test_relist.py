"""Lists that are read when there is news."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from spoe_agent.instances.relist import MAX_PAUSE_S, PAUSES, Relister


class Instance:
    """Its lists can be held back."""

    def __init__(self):
        self.asked = 0
        self.free = asyncio.Event()
        self.free.set()

    async def read(self):
        self.asked += 1
        await self.free.wait()


async def no_time(_):
    await asyncio.sleep(0)


async def turns():
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def running(ask):
    relist = Relister(ask, no_time)
    task = asyncio.get_running_loop().create_task(relist.run())
    yield relist
    task.cancel()
    await asyncio.wait([task])


async def test_whoever_is_named_is_read_once():
    one, other = Instance(), Instance()
    async with running(lambda name: {"g0": one, "g1": other}[name].read()) as relist:
        relist(["g0"])
        await turns()
        assert (one.asked, other.asked) == (1, 0)
        relist(["g0", "g1"])
        await turns()
        assert (one.asked, other.asked) == (2, 1)


async def test_what_is_wanted_before_it_runs_is_read_then():
    one = Instance()
    relist = Relister(lambda _: one.read(), no_time)
    relist(["g0"])
    task = asyncio.get_running_loop().create_task(relist.run())
    await turns()
    assert one.asked == 1
    task.cancel()


async def test_a_reading_ends_with_it():
    one = Instance()
    one.free.clear()
    async with running(lambda _: one.read()) as relist:
        relist(["g0"])
        await turns()
    one.free.set()
    assert one.asked == 1


async def test_news_that_come_while_it_is_read_are_read_once_more():
    """The answer under way may be older than they."""
    one = Instance()
    one.free.clear()
    async with running(lambda _: one.read()) as relist:
        for _ in range(5):
            relist(["g0"])
            await turns()
        assert one.asked == 1
        one.free.set()
        await turns()
        assert one.asked == 2


@pytest.mark.parametrize(("took_s", "pause_s"), [(0.002, PAUSES * 0.002), (0.1, MAX_PAUSE_S)])
async def test_it_rests_the_longer_the_longer_it_took(took_s, pause_s):
    now_s, pauses = 0.0, []

    async def read(_):
        nonlocal now_s
        now_s += took_s

    async def rest(pause_s):
        pauses.append(pause_s)

    relist = Relister(read, rest, lambda: now_s)
    relist(["g0"])
    task = asyncio.get_running_loop().create_task(relist.run())
    await turns()
    task.cancel()
    assert pauses == [pytest.approx(pause_s)]
