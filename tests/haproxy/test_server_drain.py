"""Draining: what HAProxy sees of an agent that stops.

The clock stands still unless a test moves it, so neither a deadline nor a pause comes by itself.
"""

from __future__ import annotations

from spoe_agent.haproxy.contract import AGENT_CHECK, GONE_S
from spoe_agent.haproxy.server import QUIET_S, STOPS
from spoe_agent.spop import (
    Disconnected,
    Status,
)
from tests.loops import on_each_loop
from tests.peer import HEALTH_CHECK, Peer, question
from tests.serving import (
    Rig,
    checks_fail,
    refused,
    slow_rig,
    until,
)


@on_each_loop
async def test_without_haproxy_nothing_is_waited_for_long(address):
    rig = Rig()
    async with rig.listening(address):
        async with rig.draining() as task:
            rig.clock.now_s += GONE_S
            assert await rig.still_drains(task)
            rig.clock.now_s += 0.001
        assert await refused(address)


@on_each_loop
async def test_checks_fail_while_draining_and_then_all_is_over(address):
    rig = Rig()
    async with rig.listening(address):
        async with Peer(address) as peer:
            peer.send(HEALTH_CHECK)
            await peer.hello()
        async with rig.draining() as task:
            await checks_fail(address, AGENT_CHECK.fall - 1)
            async with Peer(address) as peer:
                await peer.opened()
                assert await rig.still_drains(task)
            assert await rig.still_drains(task)
            await checks_fail(address, 1)
        assert await refused(address)


@on_each_loop
async def test_every_question_is_answered_until_haproxy_knows(address):
    """Before, while and after the checks fail, on old and on new connections; then each is told goodbye."""
    rig = Rig()
    async with rig.listening(address), Peer(address) as old, Peer(address) as new:
        await old.opened()
        old.send(question("a", 1))
        async with rig.draining():
            assert (await old.answer())[0] == 1
            await new.opened()
            for number in range(2, 9):
                for peer in (old, new):
                    peer.send(question("a", number), question("b", 100 + number))
                    assert [one[0] for one in await peer.answers(2)] == [number, 100 + number]
            await checks_fail(address)
            for peer in (old, new):
                peer.send(question("a", 9), question("b", 10), question("a", 11))
                assert [one[0] for one in await peer.answers(3)] == [9, 10, 11]
                assert await peer.goodbye() == Disconnected(Status.NORMAL, STOPS)


@on_each_loop
async def test_quiet_connections_are_told_goodbye_once_haproxy_knows(address):
    rig = Rig()
    async with rig.listening(address), Peer(address) as peer:
        await peer.opened()
        async with rig.draining() as task:
            await checks_fail(address, AGENT_CHECK.fall - 1)
            rig.clock.now_s += QUIET_S
            assert await rig.still_drains(task)
            peer.send(question("a"))
            await peer.answer()
            await checks_fail(address, 1)
            rig.clock.now_s += QUIET_S / 2
            assert await rig.still_drains(task)
            rig.clock.now_s += QUIET_S
            assert await peer.goodbye() == Disconnected(Status.NORMAL, STOPS)


@on_each_loop
async def test_an_answer_that_is_still_to_come_is_waited_for(address):
    slow = slow_rig()
    async with slow.listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(question("new", 1))
        await until(lambda: slow.agent.looked_for)
        async with slow.draining() as task:
            await checks_fail(address)
            slow.clock.now_s += QUIET_S
            peer.send(question("a", 2))
            assert (await peer.answer())[0] == 2
            slow.clock.now_s += QUIET_S
            assert await slow.still_drains(task)
            slow.agent.gate.set()
            assert (await peer.answer())[0] == 1
            assert (await peer.goodbye()).message == STOPS


@on_each_loop
async def test_at_the_deadline_it_is_over_whoever_is_there(address):
    """A HAProxy without checks never knows."""
    rig = Rig()
    async with rig.listening(address), Peer(address) as peer:
        await peer.opened()
        async with rig.draining() as task:
            peer.send(question("a"))
            await peer.answer()
            rig.clock.now_s += 59.0
            peer.send(question("a"))
            await peer.answer()
            assert await rig.still_drains(task)
            rig.clock.now_s += 2.0
            assert await peer.goodbye() == Disconnected(Status.NORMAL, STOPS)
        assert await refused(address)


@on_each_loop
async def test_goodbye_is_said_once(address):
    rig = Rig()
    async with rig.listening(address), Peer(address) as peer:
        await peer.opened()
        await rig.server.drain(0)
        await rig.server.drain(0)
        assert await peer.goodbye() == Disconnected(Status.NORMAL, STOPS)
