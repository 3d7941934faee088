"""The way of one request where no HAProxy is: ask the agent, wait while it holds the request, take a connection of the
chosen instance, try another when it refuses connections.

Lives here: the order of these steps, and the agent's life beside them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import structlog

from spoe_agent.agent.ending import Ending, Line
from spoe_agent.agent.learner import Learner
from spoe_agent.assemble import Parts, assemble
from spoe_agent.door.app import Door
from spoe_agent.doorway import door
from spoe_agent.fleet import Fleet, Instance
from spoe_agent.fleet.file import EditedFile
from spoe_agent.mitmproxy.answers import WAITED
from spoe_agent.mitmproxy.follow import adopt, another
from spoe_agent.mitmproxy.slots import Slots
from spoe_agent.routing import Action, Choice, InstanceLoad, Kind, Reason, RequestFacts
from spoe_agent.routing.eligibility import SERVING
from spoe_agent.routing.rights import Rights

log = structlog.get_logger()

LOOPBACK = "127.0.0.1"

CONNECT_TIMEOUT_S = 5.0
"""`timeout connect` of haproxy.cfg."""


def _queued_too_long(retry_after_s: int) -> Choice:
    return Choice(Action.REJECT, Reason.QUEUE_TIMEOUT, message=WAITED, retry_after_s=retry_after_s)


_NO_ANSWER = Ending(0.0, 0.0, is_whole=False)


class NotStarted(RuntimeError):
    """The agent of the fleet could not be made."""

    def __str__(self) -> str:
        return "the router did not start; the log says why"


@dataclass(frozen=True, slots=True)
class End:
    """How a request ended: what HAProxy's log line would say (configuration.txt 8.5)."""

    termination: str
    status: int = 0
    ending: Ending = _NO_ANSWER


LEFT = End("CD")
"""The client left, or was turned away: nothing is to be learned from that."""
LEFT_WAITING = End("CH")
"""It left before the first byte; the instance had the request."""
REFUSED = End("SC", 503)


@dataclass(frozen=True, slots=True)
class Passage:
    """Where a request goes."""

    choice: Choice
    instance: Instance | None
    """None when the choice is to reject, or sends it to the door."""


async def connects(host: str, port: int) -> bool:
    """Tell whether the instance accepts connections now."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


class Router:
    """Takes requests from `route` to `leave`. `run` must be running: it reads the instances and the fleet file.

    Args:
        assemble: makes the agent of a fleet.
        connects: tells whether host and port accept connections.
        slots: counts of each instance.
    """

    def __init__(
        self,
        assemble: Callable[[Fleet, aiohttp.ClientSession, Learner], Awaitable[Parts]] = assemble,
        connects: Callable[[str, int], Awaitable[bool]] = connects,
        slots: Slots | None = None,
    ) -> None:
        self._assemble = assemble
        self._connects = connects
        self._slots = slots or Slots()
        self._taken: dict[str, str] = {}
        self._known: dict[str, Kind] = {}
        self._went: dict[str, str] = {}
        self._started = asyncio.Event()
        self._running: Parts | None = None
        self._door: Door | None = None
        self._door_port = 0

    @property
    def _parts(self) -> Parts:
        if self._running is None:
            raise NotStarted
        return self._running

    async def run(self, path: Path, fleet: Fleet, use: Callable[[Fleet], None]) -> None:
        """Keep an agent for the fleet informed, and take up what is written to the file, until cancelled.

        `use` is called with each fleet when requests for it can be answered.
        """
        try:
            async with aiohttp.ClientSession() as session:
                parts = self._running = await self._assemble(fleet, session, Learner())
                self._door = door(parts)
                async with asyncio.TaskGroup() as group:
                    group.create_task(parts.run())
                    file = EditedFile(path)
                    while True:
                        self._slots.set_limits({one.name: one.max_connections for one in parts.fleet.instances})
                        self._started.set()
                        use(parts.fleet)
                        fleet = await another(file, fleet)
                        await adopt(parts, fleet)
        finally:
            # Whoever waits for a start that failed shall not wait for ever.
            self._started.set()
            if self._door is not None:
                await self._door.close()

    async def door_at(self) -> tuple[str, int]:
        """Return host and port of the door, which is opened now if it is not. It is on this machine alone, and makes
        the changes that were decided here, and no others.
        """
        if self._door is None:
            raise NotStarted
        if self._door_port == 0:
            sock = socket.create_server((LOOPBACK, 0))
            self._door_port = sock.getsockname()[1]
            await self._door.listen(sock)
        return LOOPBACK, self._door_port

    async def route(self, request: RequestFacts) -> Passage:
        """Return where the request goes, once there is a connection for it; it has that until `leave`."""
        await self._started.wait()
        try:
            return await self._find(request)
        except TimeoutError:
            self.leave(request.request_id)
            return Passage(_queued_too_long(self._parts.agent.fleet.policy.retry_after_s), None)
        except BaseException:
            self.leave(request.request_id)
            raise

    async def can_serve(self) -> bool:
        """Tell whether an instance may be sent requests."""
        await self._started.wait()
        agent = self._parts.agent
        return any(agent.board.state(spec.name).health in SERVING for spec in agent.fleet.instances)

    @property
    def retry_after_s(self) -> int:
        """How long those are to wait who cannot be served."""
        return self._parts.agent.fleet.policy.retry_after_s

    async def list(self, path: str, rights: Rights) -> bytes:
        """Return a list of the whole fleet, or what of it may be seen: the answer to GET of one of ANSWERS."""
        await self._started.wait()
        if self._door is None:
            raise NotStarted
        return await self._door.answers.to(path, rights)

    async def _find(self, request: RequestFacts) -> Passage:
        refused: set[str] = set()
        while True:
            choice = await self._decide(request, refused)
            if choice.writings:
                return Passage(choice, None)
            if choice.instance is None:
                self.leave(request.request_id)
                return Passage(choice, None)
            instance = await self._enter(request, choice.instance)
            if instance is not None:
                if await self._connects(instance.host, instance.port):
                    await self._make_room(choice)
                    return Passage(choice, instance)
                log.warning("instance refuses connections, trying another", instance=choice.instance)
            if request.kind is Kind.INFERENCE:
                self.leave(request.request_id, LEFT if instance is None else REFUSED)
            refused.add(choice.instance)

    async def _decide(self, request: RequestFacts, refused: set[str]) -> Choice:
        agent = self._parts.agent
        facts = replace(request, loads=self._loads(refused))
        choice = agent.decide(facts)
        if agent.is_worth_a_second_look(choice):
            choice = await agent.decide_again(facts)
        if request.kind is not Kind.LIST and choice.action is not Action.REJECT:
            self._known[request.request_id] = request.kind
        return await self._hold(request.request_id) if choice.action is Action.HOLD else choice

    async def _hold(self, request_id: str) -> Choice:
        """Wait for the agent's word."""
        held: asyncio.Future[Choice] = asyncio.get_running_loop().create_future()

        def answer(choice: Choice, _: RequestFacts) -> None:
            if not held.done():
                held.set_result(choice)

        self._parts.agent.ask(request_id, answer)
        return await held

    async def _make_room(self, choice: Choice) -> None:
        if self._parts.agent.unloading.is_needed(choice):
            await self._parts.agent.unloading.make_room(choice)

    def _loads(self, refused: set[str]) -> dict[str, InstanceLoad]:
        """Count as HAProxy does. What telemetry holds against an instance, the agent knows itself."""
        names = [instance.name for instance in self._parts.fleet.instances]
        return {
            name: InstanceLoad(self._slots.taken(name), self._slots.queued(name), name not in refused) for name in names
        }

    async def _enter(self, request: RequestFacts, name: str) -> Instance | None:
        """Take a connection, of which only what runs a model needs one; return the instance, None when the
        fleet file lost it meanwhile.
        """
        if request.kind is Kind.INFERENCE:
            await self._slots.take(name, self._parts.fleet.policies.queue_timeout)
            self._taken[request.request_id] = name
        self._went[request.request_id] = name
        return next((instance for instance in self._parts.fleet.instances if instance.name == name), None)

    def leave(self, request_id: str, end: End = LEFT) -> None:
        """End a request: its connection and its slot are free. Ending it again does nothing."""
        name = self._taken.pop(request_id, None)
        if name is not None:
            self._slots.free(name)
        went = self._went.pop(request_id, "")
        kind = self._known.pop(request_id, None)
        if kind is not None:
            self._parts.watch.ended(Line(request_id, went, end.ending, end.status, end.termination, kind=kind))
