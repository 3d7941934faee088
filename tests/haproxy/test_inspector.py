import asyncio

import pytest

from spoe_agent.haproxy.draining import Draining
from spoe_agent.haproxy.inspector import Inspector, Undecided
from spoe_agent.routing import Dialect, Kind, RequestFacts


def reading(name, number, order):
    for step in range(number):
        order.append(f"{name}{step}")
        yield
    return RequestFacts(name, Kind.INFERENCE, Dialect.OLLAMA)


async def test_others_have_their_turn_between_two_steps():
    order = []
    read = asyncio.get_running_loop().create_task(Inspector(Draining(0.0)).read(reading("a", 3, order), 9))
    while not read.done():
        order.append("-")
        await asyncio.sleep(0)
    assert (await read).request_id == "a"
    assert [one for one in "".join(order).split("-") if one] == ["a0", "a1", "a2"]


async def test_one_body_is_read_after_the_other():
    order, inspector = [], Inspector(Draining(0.0))
    found = await asyncio.gather(*(inspector.read(reading(name, 2, order), 9) for name in "ab"))
    assert [facts.request_id for facts in found] == ["a", "b"]
    assert order == ["a0", "a1", "b0", "b1"]


async def test_a_body_that_takes_too_long_is_given_up_and_the_next_one_is_read():
    def endless():
        while True:
            yield

    inspector = Inspector(Draining(0.0), limit_s=0.01)
    with pytest.raises(TimeoutError, match=r"longer than 0\.01 s to read"):
        await inspector.read(endless(), 9)
    assert (await inspector.read(reading("b", 0, []), 9)).request_id == "b"


async def test_no_more_waits_than_there_is_room_for():
    """A single body is read however large it is."""
    inspector = Inspector(Draining(0.0), waiting_bytes=100)
    names = [("a", 200), ("b", 1), ("c", 100), ("d", 1)]
    tasks = [asyncio.ensure_future(inspector.read(reading(name, 2, []), size)) for name, size in names]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one).__name__ for one in found] == ["RequestFacts", "Crowded", "Crowded", "Crowded"]
    found = await asyncio.gather(*(inspector.read(reading(name, 2, []), 50) for name in "ab"))
    assert [facts.request_id for facts in found] == ["a", "b"]


async def test_what_is_read_or_waits_for_that_is_given_up_when_another_process_takes_over():
    order, draining = [], Draining(0.0)
    inspector = Inspector(draining)
    reads = [asyncio.ensure_future(inspector.read(reading(name, 1000, order), 9)) for name in "ab"]
    await asyncio.sleep(0)
    draining.is_frozen = True
    assert [type(found) for found in await asyncio.gather(*reads, return_exceptions=True)] == [Undecided] * 2
    assert "b0" not in order
