"""One event for all, only while somebody looks, none kept for whoever is slow."""

import asyncio
from contextlib import aclosing

import pytest

from spoe_agent.dashboard.broadcast import MAX_VIEWERS, Broadcast, Full


class Made:
    """Events with numbers. They come one by one, when the test says so."""

    def __init__(self):
        self.count, self.may = 0, asyncio.Semaphore(0)

    async def __call__(self):
        await self.may.acquire()
        self.count += 1
        return str(self.count).encode()


@pytest.fixture
async def made():
    return Made()


async def test_all_get_the_same_and_a_late_one_what_is_there(made):
    broadcast = Broadcast(made, tick_s=0.0)
    async with aclosing(broadcast.follow()) as first, aclosing(broadcast.follow()) as second:
        made.may.release()
        assert [await anext(first), await anext(second)] == [b"1", b"1"]
        async with aclosing(broadcast.follow()) as third:
            assert await anext(third) == b"1"
        made.may.release()
        assert [await anext(first), await anext(second)] == [b"2", b"2"]


async def test_who_is_slow_gets_the_newest(made):
    broadcast = Broadcast(made, tick_s=0.0)
    async with aclosing(broadcast.follow()) as slow, aclosing(broadcast.follow()) as quick:
        made.may.release()
        assert await anext(slow) == b"1"
        for number in range(1, 50):
            assert await anext(quick) == str(number).encode()
            made.may.release()
        assert await anext(quick) == b"50"
        assert await anext(slow) == b"50"


async def test_nothing_is_made_while_nobody_looks(made):
    broadcast = Broadcast(made, tick_s=0.0)
    for _ in range(100):
        made.may.release()
    await asyncio.sleep(0)
    assert (made.count, broadcast.viewers) == (0, 0)
    async with aclosing(broadcast.follow()) as only:
        await anext(only)
    stood = made.count
    for _ in range(20):
        await asyncio.sleep(0)
    assert (made.count, broadcast.viewers) == (stood, 0)
    async with aclosing(broadcast.follow()) as again:
        assert await anext(again) == str(stood + 1).encode()


async def test_nobody_comes_in_who_would_be_one_too_many(made):
    """However many were let in a moment ago: the first event may be a while away."""
    broadcast = Broadcast(made, tick_s=0.0)
    watching = [asyncio.ensure_future(anext(broadcast.follow())) for _ in range(MAX_VIEWERS + 3)]
    while broadcast.viewers < MAX_VIEWERS:
        await asyncio.sleep(0)
    made.may.release()
    found = await asyncio.gather(*watching, return_exceptions=True)
    assert found.count(b"1") == MAX_VIEWERS
    assert [type(one) for one in found if one != b"1"] == [Full] * 3
    await broadcast.close()


async def test_closed_it_ends_every_stream(made):
    broadcast = Broadcast(made, tick_s=0.0)

    async def watch():
        async with aclosing(broadcast.follow()) as events:
            return [event async for event in events]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(watch()) for _ in range(3)]
        while broadcast.viewers < 3:
            await asyncio.sleep(0)
        await broadcast.close()
    assert [task.result() for task in tasks] == [[], [], []]
