import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.mitmproxy.slots import Slots


def of(limit):
    slots = Slots()
    slots.set_limits({"a": limit})
    return slots


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_up_to_the_limit_nobody_waits():
    slots = of(2)
    await slots.take("a", 60)
    await slots.take("a", 60)
    assert (slots.taken("a"), slots.queued("a")) == (2, 0)
    slots.free("a")
    assert slots.taken("a") == 1


def test_an_instance_that_nobody_named_has_nothing():
    assert (Slots().taken("a"), Slots().queued("a")) == (0, 0)


async def test_first_come_first_served_and_nobody_overtakes():
    slots, served = of(1), []

    async def one(number):
        await slots.take("a", 60)
        served.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(one(number))
        await settle()
        assert (served, slots.queued("a")) == ([0], 3)
        slots.free("a")
        # Comes while the slot is on its way to number 1.
        group.create_task(one(4))
        await settle()
        assert served == [0, 1]
        for _ in range(3):
            slots.free("a")
            await settle()
    assert served == [0, 1, 2, 3, 4]


async def test_a_wait_ends():
    slots = of(1)
    await slots.take("a", 60)
    with pytest.raises(TimeoutError):
        await slots.take("a", 0.01)
    assert (slots.taken("a"), slots.queued("a")) == (1, 0)


async def test_who_leaves_with_the_slot_in_hand_gives_it_to_the_next():
    slots = of(1)
    await slots.take("a", 60)
    first, second = (asyncio.ensure_future(slots.take("a", 60)) for _ in range(2))
    await settle()
    slots.free("a")
    first.cancel()
    await settle()
    assert first.cancelled()
    assert second.done()
    assert (slots.taken("a"), slots.queued("a")) == (1, 0)


async def test_limits_can_change():
    slots = of(1)
    tasks = [asyncio.ensure_future(slots.take("a", 60)) for _ in range(4)]
    await settle()
    slots.set_limits({"a": 3, "b": 1})
    await settle()
    assert [task.done() for task in tasks] == [True, True, True, False]
    slots.set_limits({"a": 1})
    slots.free("a")
    slots.free("a")
    await settle()
    assert (slots.taken("a"), slots.queued("a")) == (1, 1)
    slots.free("a")
    await settle()
    assert (slots.taken("a"), slots.queued("a")) == (1, 0)


@given(st.integers(1, 3), st.lists(st.tuples(st.sampled_from(["come", "go", "leave"]), st.integers(0, 9)), max_size=40))
def test_counts_always_add_up(limit, steps):
    """Whoever comes, goes or gives up, in any order: never above the limit, no slot is lost, no one waits for a free
    one."""

    async def run():
        slots, present = of(limit), []
        for step, choice in steps:
            if step == "come":
                present.append(asyncio.ensure_future(slots.take("a", 60)))
            elif present and step == "leave":
                present[choice % len(present)].cancel()
            elif served := [task for task in present if task.done() and not task.cancelled()]:
                present.remove(served[choice % len(served)])
                slots.free("a")
            if choice % 2:
                await settle()
        await settle()
        present = [task for task in present if not task.cancelled()]
        served = [task for task in present if task.done()]
        assert slots.taken("a") == len(served) == min(limit, len(present))
        assert slots.queued("a") == len(present) - len(served)
        for task in present:
            task.cancel()
        await settle()

    asyncio.run(run())
