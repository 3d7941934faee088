"""One body for several takers."""

import asyncio

import pytest

from spoe_agent.door.tee import Tee

CHUNKS = [bytes([n]) * 1000 for n in range(50)]


class Body:
    """Counts what was taken of it; breaks at the end, if it is to."""

    def __init__(self, error=None):
        self.read, self.error = 0, error

    async def __aiter__(self):
        for chunk in CHUNKS:
            self.read += 1
            yield chunk
        if self.error:
            raise self.error


async def take(feed, count=None):
    found = []
    async with feed.taken():
        async for chunk in feed.chunks():
            found.append(chunk)
            if len(found) == count:
                break
    return found


async def test_all_get_all():
    tee = Tee(Body(), 3)
    *found, _ = await asyncio.gather(*map(take, tee.feeds), tee.run())
    assert found == [CHUNKS] * 3


async def test_who_leaves_does_not_stop_the_others():
    tee = Tee(Body(), 2)
    short, whole, _ = await asyncio.gather(take(tee.feeds[0], 3), take(tee.feeds[1]), tee.run())
    assert (short, whole) == (CHUNKS[:3], CHUNKS)


async def test_the_slowest_sets_the_pace():
    body = Body()
    tee = Tee(body, 2)
    running = asyncio.ensure_future(tee.run())
    fast = asyncio.ensure_future(take(tee.feeds[0]))
    while not running.done() and body.read < 2:
        await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert body.read == 2, "one chunk waits to be taken, one is in the hand"
    assert await take(tee.feeds[1]) == CHUNKS
    assert await fast == CHUNKS
    await running


async def test_nobody_wants_more():
    body = Body()
    tee = Tee(body, 2)
    await asyncio.gather(take(tee.feeds[0], 2), take(tee.feeds[1], 4), tee.run())
    assert body.read < len(CHUNKS)


async def test_a_body_that_breaks_is_told_to_all():
    tee = Tee(Body(ConnectionResetError("the client left")), 2)
    *found, _ = await asyncio.gather(*map(take, tee.feeds), tee.run(), return_exceptions=True)
    assert [type(one) for one in found] == [ConnectionResetError] * 2


async def test_who_takes_nothing_is_left_behind():
    tee = Tee(Body(), 2, stall_s=0.05)
    stalled = asyncio.Event()

    async def hang():
        async with tee.feeds[0].taken():
            await stalled.wait()

    with pytest.raises(TimeoutError, match="took nothing of the body"):
        await asyncio.gather(hang(), take(tee.feeds[1]), tee.run())


async def test_its_own_deadlines_are_its_own():
    tee = Tee(Body(), 1)
    with pytest.raises(TimeoutError, match="no luck"):
        async with tee.feeds[0].taken():
            raise TimeoutError("no luck")
