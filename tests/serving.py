"""A real agent behind its server on real sockets, for a scripted HAProxy (peer) to talk to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.second_look import INTERVAL_S
from spoe_agent.fleet import Listen
from spoe_agent.haproxy.contact import Contact
from spoe_agent.haproxy.contract import AGENT_CHECK
from spoe_agent.haproxy.server import Server
from spoe_agent.process.listening import bind
from spoe_agent.routing import FleetSpec, Health, InstanceSpec, InstanceState, LoadedModel
from spoe_agent.routing.names import canonical
from tests.peer import DEADLINE_S, HEALTH_CHECK, Peer

A, B, NEW = (canonical(name) for name in ("a", "b", "new"))
FLEET = FleetSpec((InstanceSpec("g0", 100), InstanceSpec("g1", 100)))
ROUTED_A = {"action": "route", "model": "a", "reason": "loaded", "server": "g0"}
ROUTED_B = {**ROUTED_A, "model": "b", "server": "g1"}


class Clock:
    """Monotonic seconds that only a test moves."""

    def __init__(self):
        self.now_s = 1000.0
        self.looks = 0

    def __call__(self):
        self.looks += 1
        return self.now_s


def publish(board, *installed, now_s=0.0):
    """A is loaded on g0, B on g1, and both list the same."""
    for name, loaded in (("g0", A), ("g1", B)):
        lists = dict.fromkeys((A, B, *installed), 1)
        board.publish(name, InstanceState(Health.UP, {loaded: LoadedModel(1, 1)}, now_s, lists, now_s))


class Rig:
    """A real agent whose instances list `pulled` models only when they are asked anew, and its server."""

    def __init__(self, pulled=(), agent=Agent, fleet=FLEET, news=lambda: None):
        self.board, self.pulled, self.refreshed, self.clock = Board(), pulled, 0, Clock()
        publish(self.board, now_s=self.clock())
        self.agent = agent(fleet, self.board, self.refresh, self.clock)
        self.contact = Contact(self.clock, self.clock, lambda _: None)
        self.server = Server(self.agent, self.clock, self.contact, news)

    async def refresh(self):
        self.refreshed += 1
        publish(self.board, *self.pulled, now_s=self.clock())

    @asynccontextmanager
    async def listening(self, *addresses):
        for address in addresses:
            self.server.listen(bind(address))
        try:
            yield self
        finally:
            await self.server.drain(0)

    @asynccontextmanager
    async def draining(self):
        """The server drains meanwhile; leaving waits for its end. Only the test's clock brings the deadline."""
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            task = group.create_task(self.server.drain(60.0))
            yield task

    async def still_drains(self, task):
        """Tell whether it goes on once it has seen how things are now, and what it did about that.

        It looks at the clock once or twice each time round.
        """
        seen = self.clock.looks
        await until(lambda: task.done() or self.clock.looks >= seen + 4)
        return not task.done()


class Slow(Agent):
    """Whoever is looked for once more waits until the test lets go."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.looked_for, self.gate = 0, asyncio.Event()

    async def decide_again(self, facts):
        self.looked_for += 1
        await self.gate.wait()
        return self.decide(facts)


def slow_rig():
    """An agent that looks once more for every unknown model, and takes until the test lets it."""
    rig = Rig(agent=Slow)
    rig.clock.now_s += INTERVAL_S
    return rig


def unix(folder):
    """The address of a socket in a folder that is not there yet."""
    return Listen(path=str(folder / "run" / "spop.sock"))


async def until(condition):
    """Wait for a condition; fail when the deadline passes."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def refused(address):
    """Tell whether nobody listens there any more."""
    try:
        async with Peer(address):
            return False
    except (ConnectionRefusedError, FileNotFoundError):
        return True


async def checks_fail(address, number=AGENT_CHECK.fall):
    """HAProxy's checks, that many: each connection is closed without an answer."""
    for _ in range(number):
        async with Peer(address) as peer:
            peer.send(HEALTH_CHECK)
            assert await peer.ended()
