"""Answers that take their time: a second look, a slot, room. And bugs of ours, which fail no request."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from structlog.testing import capture_logs

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.second_look import INTERVAL_S
from spoe_agent.agent.unloading import Unloading
from spoe_agent.haproxy.contract import Question
from spoe_agent.haproxy.server import QUIET_S, STOPS
from spoe_agent.routing import Action, FleetSpec, InstanceSpec, ModelRule, Policy
from spoe_agent.spop import (
    Message,
    encode_notify,
)
from tests.loops import on_each_loop
from tests.peer import Peer, question
from tests.serving import (
    NEW,
    ROUTED_A,
    B,
    Rig,
    checks_fail,
    slow_rig,
    until,
)


class Faulty(Agent):
    """Has a bug that only one model meets, at first or second sight."""

    def decide(self, facts):
        if facts.model == B:
            raise ZeroDivisionError
        return super().decide(facts)

    async def decide_again(self, facts):
        raise ZeroDivisionError


@on_each_loop
async def test_a_bug_of_ours_fails_no_request(address):
    rig = Rig(agent=Faulty)
    async with rig.listening(address), Peer(address) as peer:
        await peer.opened()
        with capture_logs() as logs:
            peer.send(question("b", 1), question("a", 2))
            assert await peer.answers(2) == [(1, 1, {"reason": "agent error"}), (2, 2, ROUTED_A)]
        (line,) = [line for line in logs if line["log_level"] == "error"]
        assert (line["event"], line["exc_info"]) == ("decision failed", True)
        assert rig.contact.tally.errors == {"agent": 1}


@on_each_loop
async def test_a_bug_at_second_sight_fails_no_request_either(address):
    rig = Rig(agent=Faulty)
    rig.clock.now_s += INTERVAL_S
    async with rig.listening(address), Peer(address) as peer:
        await peer.opened()
        with capture_logs() as logs:
            peer.send(question("new", 1))
            assert await peer.answer() == (1, 1, {"reason": "agent error"})
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["decision failed"]
        assert rig.contact.tally.errors == {"agent": 1}


@on_each_loop
async def test_an_unknown_model_is_looked_for_once_more(address):
    rig = Rig(pulled=[NEW])
    rig.clock.now_s += INTERVAL_S
    async with rig.listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(question("new", 1), question("never", 2))
        (_, _, found), (_, _, never) = sorted(await peer.answers(2), key=lambda answer: answer[0])
        assert (found["action"], never["action"], never["status"]) == ("route", "reject", 404)
        assert rig.refreshed == 1


@on_each_loop
async def test_nobody_waits_for_a_second_look_but_who_asked(address):
    slow = slow_rig()
    async with slow.listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(question("new", 1), question("a", 2))
        assert (await peer.answer())[0] == 2
        peer.send(question("b", 3))
        assert (await peer.answer())[0] == 3
        slow.agent.gate.set()
        assert (await peer.answer())[0] == 1


@on_each_loop
async def test_a_peer_that_left_gets_no_late_answer(address):
    slow = slow_rig()
    async with slow.listening(address), Peer(address) as other:
        await other.opened()
        async with Peer(address) as peer:
            await peer.opened()
            peer.send(question("new", 1))
            await until(lambda: slow.agent.looked_for)
        other.send(question("a"))
        await other.answer()
        slow.agent.gate.set()
        other.send(question("b", 2))
        assert (await other.answer())[0] == 2


# Held requests: one slot, for A on g0 alone.

HOLDING = FleetSpec(
    (InstanceSpec("g0", 1), InstanceSpec("g1", 1)),
    (ModelRule("a", instances=("g0",)),),
    Policy(hold_s=60.0),
)


def hold(number):
    """HAProxy waits for the answer to a request that is held."""
    return encode_notify(100 + number, 1, [Message(Question.HOLD, {"id": f"r{number}"})])


@asynccontextmanager
async def holding(address, number=2, agent=Agent):
    """An agent whose slot the first request has, so that all others are held; and who asked."""
    rig = Rig(fleet=HOLDING, agent=agent)
    async with rig.listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(*(question("a", n) for n in range(1, number + 1)))
        found = {stream_id: values["action"] for stream_id, _, values in await peer.answers(number)}
        assert found == {1: "route", **dict.fromkeys(range(2, number + 1), "hold")}
        yield rig, peer


@on_each_loop
async def test_a_held_request_is_answered_when_its_turn_comes(address):
    async with holding(address, 3) as (rig, peer):
        peer.send(hold(2), hold(3), question("b", 9))
        assert (await peer.answer())[0] == 9
        rig.agent.ended("r1")
        assert await peer.answer() == (102, 1, ROUTED_A)
        rig.agent.ended("r2")
        assert await peer.answer() == (103, 1, ROUTED_A)
        assert (len(rig.agent.hold), rig.board.grants) == (0, 2)


@on_each_loop
async def test_a_turn_that_came_before_haproxy_asked_is_kept_for_it(address):
    async with holding(address) as (rig, _):
        rig.agent.ended("r1")
        async with Peer(address) as other:
            await other.opened()
            other.send(hold(2))
            assert await other.answer() == (102, 1, ROUTED_A)


@on_each_loop
async def test_who_waits_too_long_is_turned_away(address):
    async with holding(address) as (rig, peer):
        peer.send(hold(2), question("b", 9))
        assert (await peer.answer())[0] == 9
        rig.clock.now_s += 61.0
        rig.agent.tick()
        number, _, found = await peer.answer()
        assert (number, found["action"], found["status"]) == (102, "reject", 503)
        assert found["retry_after"] == HOLDING.policy.retry_after_s


@on_each_loop
async def test_a_request_that_is_not_held_here_is_answered_at_once(address):
    """The agent was restarted meanwhile: HAProxy goes on as it does without one."""
    async with Rig(fleet=HOLDING).listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(hold(7))
        assert await peer.answer() == (107, 1, {"reason": "not held here"})


@on_each_loop
async def test_a_connection_that_is_lost_frees_the_places_of_those_who_waited_on_it(address):
    async with holding(address, 4) as (rig, peer):
        async with Peer(address) as other:
            await other.opened()
            other.send(hold(2), hold(3), question("b", 9))
            assert (await other.answer())[0] == 9
        await until(lambda: len(rig.agent.hold) == 1)
        peer.send(hold(4))
        rig.agent.ended("r1")
        assert await peer.answer() == (104, 1, ROUTED_A)


@on_each_loop
async def test_a_turn_that_comes_while_a_connection_is_lost_harms_nobody(address):
    """A slot is free that nobody was told of; the first place that is given up passes it on to the second."""
    async with holding(address, 3) as (rig, peer):
        async with Peer(address) as other:
            await other.opened()
            other.send(hold(2), hold(3), question("b", 9))
            assert (await other.answer())[0] == 9
            rig.board.end("r1")
        await until(lambda: not rig.agent.hold)
        peer.send(question("b", 10))
        assert (await peer.answer())[0] == 10


@on_each_loop
async def test_nobody_is_held_any_more_when_the_agent_stops(address):
    async with holding(address, 3) as (rig, peer):
        peer.send(hold(2), question("b", 9))
        assert (await peer.answer())[0] == 9
        async with rig.draining():
            assert await peer.answer() == (102, 1, ROUTED_A)
            peer.send(hold(3))
            assert (await peer.answer())[2]["server"] == "g0"
            peer.send(question("a", 4))
            assert (await peer.answer())[2]["action"] == "route"
            await checks_fail(address)
            rig.clock.now_s += QUIET_S
            assert (await peer.goodbye()).message == STOPS


class Slow(Unloading):
    """Something must go for every request that is routed; that takes until the test lets it."""

    def __init__(self, gate):
        super().__init__(None)
        self._gate = gate

    def is_needed(self, choice):
        return choice.action is Action.ROUTE

    async def make_room(self, choice):
        await self._gate.wait()


class Clearing(Agent):
    """Whose unloading is slow."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.gate = asyncio.Event()
        self.gate.set()
        self.unloading = Slow(self.gate)


@on_each_loop
async def test_who_needs_room_waits_for_it_and_nobody_else_does(address):
    rig = Rig(agent=Clearing)
    rig.agent.gate.clear()
    async with rig.listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(question("a", 1), question("a b", 2))
        assert (await peer.answer())[0] == 2
        rig.agent.gate.set()
        assert await peer.answer() == (1, 1, ROUTED_A)


@on_each_loop
async def test_a_model_that_was_just_pulled_waits_for_its_room_too(address):
    rig = Rig(agent=Clearing, pulled=[NEW])
    rig.clock.now_s += INTERVAL_S
    rig.agent.gate.clear()
    async with rig.listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(question("new", 1), question("a b", 2))
        assert (await peer.answer())[0] == 2
        await until(lambda: rig.board.grants == 1)
        peer.send(question("a b", 3))
        assert (await peer.answer())[0] == 3
        rig.agent.gate.set()
        assert (await peer.answer())[2]["action"] == "route"


@on_each_loop
async def test_a_held_request_waits_for_its_room_too(address):
    async with holding(address, agent=Clearing) as (rig, peer):
        peer.send(hold(2), question("a b", 9))
        assert (await peer.answer())[0] == 9
        rig.agent.gate.clear()
        rig.agent.ended("r1")
        peer.send(question("a b", 10))
        assert (await peer.answer())[0] == 10
        rig.agent.gate.set()
        assert await peer.answer() == (102, 1, ROUTED_A)
