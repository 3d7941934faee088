"""SPOP over asyncio: sockets and time on one side, `spop.Connection` and the Agent on the other.

Lives here: connections, one write per batch of answers, backpressure, drain. Must not live here: the protocol (spop),
names of arguments and variables (bridge), decisions (agent).
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import cast

import structlog

from spoe_agent import bridge
from spoe_agent.agent import Agent
from spoe_agent.haproxy.contact import Contact
from spoe_agent.held import HeldAnswers
from spoe_agent.routing import Choice, RequestFacts
from spoe_agent.spop import Action, Connection, Hello, Notify, PeerFault, Scope, SetVar, Status

log = structlog.get_logger()

BACKLOG = 4096
"""HAProxy opens its connections in bursts, and after a reload all at once; with asyncio's 100 it gets refused."""

QUIET_S = 0.1
"""A connection without traffic for so long is not waiting for an answer."""

STOPS = "agent stops"

CHECKS_UNTIL_DOWN = 2
"""`fall` of the agent's server in haproxy.cfg: so many checks must fail until HAProxy asks no more."""


CHECK_INTERVAL_S = 2.0
"""Longer than `inter` of that check: no check for so long means no HAProxy."""


@dataclass(slots=True)
class _Draining:
    """Shared by a server's connections: whether checks are refused, and how many were."""

    checked_at_s: float
    active: bool = False
    refused_checks: int = 0

    def refuses(self, now_s: float) -> bool:
        """Note a health check, and tell whether it is to fail."""
        self.checked_at_s = now_s
        self.refused_checks += self.active
        return self.active

    def is_over(self, now_s: float) -> bool:
        """With nobody connected: no HAProxy is there that might still ask."""
        return self.is_known or now_s - self.checked_at_s > CHECK_INTERVAL_S

    @property
    def is_known(self) -> bool:
        """HAProxy had its failed checks: it opens no more connections."""
        return self.refused_checks >= CHECKS_UNTIL_DOWN


class SpopProtocol(asyncio.Protocol):
    """One connection from HAProxy."""

    def __init__(
        self,
        agent: Agent,
        held: HeldAnswers,
        connections: set[SpopProtocol],
        draining: _Draining,
        clock: Callable[[], float],
        contact: Contact,
        news: Callable[[], None],
    ) -> None:
        self._agent = agent
        self._held = held
        self._contact = contact
        self._news = news
        self._process = ""
        self._asked: set[str] = set()
        self._draining = draining
        self._connections = connections
        self._clock = clock
        self._conn = Connection()
        self._later: set[asyncio.Task[None]] = set()
        self._transport: asyncio.Transport
        self._heard_at_s = clock()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; asyncio calls this first."""
        # uvloop's transport is one in all but inheritance.
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Answer what the bytes complete. Whole frames only are written, and those of one batch together."""
        self._heard_at_s = self._clock()
        self._news()
        answers: list[bytes] = []
        for event in self._conn.receive_data(data):
            if isinstance(event, Notify):
                answers += self._answer(event)
            elif isinstance(event, PeerFault):
                log.warning("peer broke SPOP", status=int(event.status), why=event.message)
            elif isinstance(event, Hello) and event.healthcheck and self._draining.refuses(self._heard_at_s):
                self._transport.abort()
                return
        if answers and self._draining.is_known and self._owes_nothing and not self._conn.closed:
            # HAProxy 2.6 to 3.0 go on using what is connected; the moment after an answer is the one to part.
            answers.append(self._conn.disconnect(Status.NORMAL, STOPS))
        # What the protocol owes comes first: AGENT-HELLO precedes any ACK (SPOE.txt 3.2.4).
        answers = [*self._conn.data_to_send(), *answers]
        if answers:
            self._transport.write(b"".join(answers))
        if self._conn.closed:
            self._transport.close()

    def eof_received(self) -> None:
        """HAProxy ends idle connections so."""
        for event in self._conn.receive_eof():
            log.debug("connection ended early", why=str(event))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection. A reset is one of the ways in which HAProxy 3.1 and later hang up."""
        self._connections.discard(self)
        self._contact.processes.disconnected(self._process)
        self._conn.receive_eof()
        # A place that is given up may bring the next one its turn, which is no longer asked for then.
        for request_id in tuple(self._asked):
            self._held.forget(request_id)

    def pause_writing(self) -> None:
        """HAProxy does not read its answers: take no more questions until it does."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The answers went out."""
        self._transport.resume_reading()

    @property
    def _owes_nothing(self) -> bool:
        return not self._later and not self._asked

    @property
    def is_quiet(self) -> bool:
        """Nobody waits for an answer on this connection."""
        return self._owes_nothing and self._clock() - self._heard_at_s >= QUIET_S

    def disconnect(self) -> None:
        """Say goodbye and close: the agent stops."""
        if not self._conn.closed:
            self._transport.write(self._conn.disconnect(Status.NORMAL, STOPS))
        self._transport.close()

    def _answer(self, notify: Notify) -> list[bytes]:
        """Return the ACK, if it can be given now and somebody still wants it."""
        if self._conn.closed:
            return []
        actions = self._decide(notify)
        return [] if actions is None else [self._conn.ack(notify.stream_id, notify.frame_id, actions)]

    def _decide(self, notify: Notify) -> Sequence[Action] | None:
        """Return the answer's actions, or None when a task gives the answer later."""
        message = next((m for m in notify.messages if m.name in bridge.MESSAGES), None)
        if message is None:
            return _unanswered("no message known to the agent")
        self._note_asker(bridge.process(message))
        if message.name == bridge.HOLD:
            return self._hold(notify, bridge.request_id(message))
        try:
            facts = bridge.facts(message, self._agent.fleet.policy)
            choice = self._agent.decide(facts)
            if self._agent.is_worth_a_second_look(choice):
                self._answer_later(notify, self._decided_again(facts))
            elif self._agent.must_make_room(choice):
                self._answer_later(notify, self._with_room(choice, facts))
            else:
                return bridge.actions(choice, facts)
        except bridge.Unasked as error:
            return _unanswered(str(error))
        except Exception:
            # A bug of ours must not hold up the request: HAProxy goes on as if the agent were dead.
            log.exception("decision failed")
            return _unanswered("agent error")
        return None

    def _note_asker(self, process: str) -> None:
        """A connection is one process's for as long as it lasts."""
        if process and not self._process:
            self._process = process
            self._contact.processes.connected(process)
        self._contact.asked(process)

    def _hold(self, notify: Notify, request_id: str) -> Sequence[Action] | None:
        """Answer a held request when it is granted, which may be at once."""

        def answer(choice: Choice, request: RequestFacts) -> None:
            self._asked.discard(request_id)
            if self._agent.must_make_room(choice):
                self._answer_later(notify, self._with_room(choice, request))
            else:
                self._send(notify, bridge.actions(choice, request))

        self._asked.add(request_id)
        if self._held.ask(request_id, answer):
            return None
        self._asked.discard(request_id)
        return _unanswered("not held here")

    def _send(self, notify: Notify, actions: Sequence[Action]) -> None:
        if not self._conn.closed:
            self._transport.write(self._conn.ack(notify.stream_id, notify.frame_id, actions))

    def _answer_later(self, notify: Notify, answer: Coroutine[None, None, Sequence[Action]]) -> None:
        """Send an answer when it is there; meanwhile others are given."""
        task = asyncio.get_running_loop().create_task(self._deliver(notify, answer))
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _deliver(self, notify: Notify, answer: Coroutine[None, None, Sequence[Action]]) -> None:
        try:
            actions = await answer
        except Exception:
            log.exception("decision failed")
            actions = _unanswered("agent error")
        self._send(notify, actions)

    async def _decided_again(self, facts: RequestFacts) -> Sequence[Action]:
        return await self._with_room(await self._agent.decide_again(facts), facts)

    async def _with_room(self, choice: Choice, facts: RequestFacts) -> Sequence[Action]:
        await self._agent.make_room(choice)
        return bridge.actions(choice, facts)


def _unanswered(reason: str) -> Sequence[Action]:
    """Without `action` HAProxy falls back to static pins and leastconn; a reason alone wakes the request."""
    return (SetVar(Scope.TXN, "reason", reason),)


class Server:
    """Answers HAProxy on unix sockets and TCP addresses.

    Args:
        contact: is told of each question.
        news: called before questions are decided, so that what has happened until then counts.
    """

    def __init__(
        self,
        agent: Agent,
        clock: Callable[[], float] = time.monotonic,
        contact: Contact | None = None,
        news: Callable[[], None] = lambda: None,
    ) -> None:
        self._agent = agent
        self._contact = contact or Contact(clock)
        self._news = news
        self._held = HeldAnswers(agent)
        self._clock = clock
        self._connections: set[SpopProtocol] = set()
        self._draining = _Draining(checked_at_s=clock())
        # A server that nobody refers to is collected, and its socket with it (uvloop).
        self._listeners: list[asyncio.Server] = []

    async def listen(self, sock: socket.socket) -> None:
        """Answer on a bound socket from now on."""
        loop = asyncio.get_running_loop()
        create = loop.create_unix_server if sock.family is socket.AF_UNIX else loop.create_server
        self._listeners.append(await create(self._protocol, sock=sock, backlog=BACKLOG))

    def _protocol(self) -> SpopProtocol:
        told = self._contact, self._news
        return SpopProtocol(self._agent, self._held, self._connections, self._draining, self._clock, *told)

    async def drain(self, deadline_s: float) -> None:
        """Stop without losing a decision.

        HAProxy's checks are refused from now on, so that it takes the agent out; questions, on new connections too,
        are answered until then, and nothing is held any more. Each connection goes when nobody waits for an answer
        on it; the end comes when all have gone and HAProxy knows, or at the deadline.
        """
        self._draining.active = True
        self._agent.flush()
        until_s = self._clock() + deadline_s
        while (self._connections or not self._draining.is_over(self._clock())) and self._clock() < until_s:
            for connection in list(self._connections):
                if self._draining.is_known and connection.is_quiet:
                    connection.disconnect()
            await asyncio.sleep(QUIET_S / 2)
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.disconnect()
