"""When lists are read again for a model that nobody has, and who waits."""

import asyncio

from spoe_agent.agent.second_look import CHANGED_S, INTERVAL_S, SecondLook
from tests.serving import until


class Rig:
    def __init__(self, **more):
        self.now_s, self.asked, self.answers = 100.0, 0, asyncio.Event()
        self.answers.set()
        self.look = SecondLook(self.refresh, lambda: self.now_s, **more)

    async def refresh(self):
        self.asked += 1
        await self.answers.wait()

    def after(self, passed_s):
        self.now_s += passed_s
        return self.look.is_worth_it


async def test_once_in_a_while():
    rig = Rig()
    assert not rig.look.is_worth_it
    assert rig.after(INTERVAL_S)
    assert await rig.look.take()
    assert not rig.look.is_worth_it
    assert await rig.look.take()
    assert rig.asked == 1


async def test_all_who_come_meanwhile_wait_for_the_same_answer():
    rig = Rig()
    rig.answers.clear()
    rig.after(INTERVAL_S)
    looks = [asyncio.ensure_future(rig.look.take()) for _ in range(3)]
    await asyncio.sleep(0)
    assert rig.look.is_worth_it
    rig.answers.set()
    assert await asyncio.gather(*looks) == [True] * 3
    assert rig.asked == 1


async def test_nobody_waits_for_ever():
    rig = Rig()
    rig.answers.clear()
    rig.after(INTERVAL_S)
    assert not await rig.look.take()


async def test_always_while_a_store_is_changed_and_shortly_after():
    rig = Rig()
    rig.look.changing("r1")
    for expected in (1, 2):
        assert rig.look.is_worth_it
        assert await rig.look.take()
        assert rig.asked == expected
    rig.look.ended("r2")
    rig.look.ended("r1")
    assert rig.look.is_changing
    assert await rig.look.take()
    rig.now_s += CHANGED_S
    assert not rig.look.is_changing


def test_a_change_goes_on_for_the_next_agent_until_it_sees_its_end():
    before, after = Rig(), Rig()
    before.look.changing("r1")
    after.look.go_on(before.look.changes)
    after.now_s += 60.0
    assert after.look.is_changing
    after.look.ended("r1")
    after.now_s += CHANGED_S
    assert not after.look.is_changing
    assert after.look.changes == {}


async def test_what_is_read_began_after_the_change():
    """A reading that is under way may be of before; all who come during it wait for the next one, and that is one."""
    rig = Rig()
    rig.answers.clear()
    rig.look.changing("r1")
    first = asyncio.ensure_future(rig.look.take())
    await until(lambda: rig.asked == 1)
    later = [asyncio.ensure_future(rig.look.take()) for _ in range(3)]
    rig.look.ended("r1")
    rig.answers.set()
    assert await first
    assert await asyncio.gather(*later) == [True] * 3
    assert rig.asked == 2


async def test_always_where_somebody_else_says_that_it_may_be_changing():
    rig = Rig(is_changing=lambda: True)
    rig.answers.clear()
    first = asyncio.ensure_future(rig.look.take())
    await until(lambda: rig.asked == 1)
    second = asyncio.ensure_future(rig.look.take())
    rig.now_s += INTERVAL_S
    rig.answers.set()
    assert await asyncio.gather(first, second) == [True, True]
    assert rig.asked == 2
