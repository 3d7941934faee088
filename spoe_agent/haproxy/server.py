"""SPOP over asyncio: sockets and time on one side, `spop.Connection` and the Agent on the other.

Lives here: connections, one write per batch of answers, backpressure, drain.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import cast

import structlog

from spoe_agent.agent.agent import Agent
from spoe_agent.haproxy import bridge
from spoe_agent.haproxy.contact import Contact
from spoe_agent.haproxy.contract import QUESTIONS, Question
from spoe_agent.haproxy.draining import Draining
from spoe_agent.haproxy.entrance import Entrance
from spoe_agent.haproxy.inspector import Inspector, Undecided
from spoe_agent.haproxy.passing import Passable, Passed
from spoe_agent.haproxy.questions import Questions, unanswered
from spoe_agent.routing import Choice, RequestFacts
from spoe_agent.spop import Connection, Hello, Notify, PeerFault, Status, VarAction

log = structlog.get_logger()

QUIET_S = 0.1
"""A connection without traffic for so long is not waiting for an answer."""

STOPS = "agent stops"


class SpopProtocol(Passable):
    """One connection from HAProxy."""

    def __init__(
        self,
        agent: Agent,
        connections: set[SpopProtocol],
        draining: Draining,
        clock: Callable[[], float],
        contact: Contact,
        news: Callable[[], None],
        questions: Questions,
        passed: Passed | None = None,
    ) -> None:
        self._agent = agent
        self._questions = questions
        self._contact = contact
        self._tally = contact.tally
        self._news = news
        self._passed = passed
        self._process = ""
        self._asked: dict[str, tuple[int, int]] = {}
        self._draining = draining
        self._connections = connections
        self._clock = clock
        self._conn = Connection()
        self._later: set[asyncio.Task[None]] = set()
        self._undecided: list[Notify] = []
        self._transport: asyncio.Transport
        self._heard_at_s = clock()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; asyncio calls this first."""
        # uvloop's transport is one in all but inheritance.
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        if self._passed is not None:
            self._resume(self._passed)

    def _resume(self, passed: Passed) -> None:
        """Go on where the process before this one was, before anything more is read."""
        self._note_process(passed.process)
        if passed.max_frame_size is not None:
            self._conn = Connection.resumed(passed.max_frame_size)
        for request_id, stream_id, frame_id in passed.held:
            notify = Notify(stream_id, frame_id, ())
            actions = self._hold(notify, request_id)
            if actions is not None:
                self._send(notify, actions)
        self.data_received(passed.buffered)

    def data_received(self, data: bytes) -> None:
        """Answer what the bytes complete. Whole frames only are written, and those of one batch together."""
        self._heard_at_s = self._clock()
        self._news()
        answers: list[bytes] = []
        for event in self._conn.receive_data(data):
            self._tally.frames += 1
            if isinstance(event, Notify):
                answers += self._answer(event)
            elif isinstance(event, PeerFault):
                self._tally.errors["haproxy"] += 1
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

    def thaw(self) -> None:
        """Go on, also with what was left undecided for another process."""
        undecided, self._undecided = self._undecided, []
        for notify in undecided:
            actions = self._decide(notify)
            if actions is not None:
                self._send(notify, actions)
        super().thaw()

    def eof_received(self) -> None:
        """HAProxy ends idle connections so."""
        for event in self._conn.receive_eof():
            log.debug("connection ended early", why=str(event))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection. A reset is one of the ways in which HAProxy 3.1 and later hang up."""
        self._connections.discard(self)
        self._contact.processes.disconnected(self._process)
        self._conn.receive_eof()
        if self._draining.is_frozen:
            return
        # A place that is given up may bring the next one its turn, which is no longer asked for then.
        for request_id in tuple(self._asked):
            self._agent.give_up(request_id)

    def pause_writing(self) -> None:
        """HAProxy does not read its answers: take no more questions until it does."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The answers went out."""
        if not self._draining.is_frozen:
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
        begun_s = self._clock()
        actions = self._decide(notify)
        if actions is None:
            return []
        self._tally.answer_s.add(self._clock() - begun_s)
        return [self._conn.ack(notify.stream_id, notify.frame_id, actions)]

    def _decide(self, notify: Notify) -> Sequence[VarAction] | None:
        """Return the answer's actions, or None when a task gives the answer later."""
        message = next((m for m in notify.messages if m.name in QUESTIONS), None)
        if message is None:
            return unanswered("no message known to the agent")
        process = bridge.process(message)
        self._note_process(process)
        self._contact.asked(process, bridge.has_key(message))
        if message.name == Question.HOLD:
            return self._hold(notify, bridge.request_id(message))
        decided = self._questions.on(message)
        if not isinstance(decided, Coroutine):
            return decided
        self._answer_later(notify, decided)
        return None

    def _note_process(self, process: str) -> None:
        """A connection is one process's for as long as it lasts."""
        if process and not self._process:
            self._process = process
            self._contact.processes.connected(process)

    def _hold(self, notify: Notify, request_id: str) -> Sequence[VarAction] | None:
        """Answer a held request when it is granted, which may be at once."""

        def answer(choice: Choice, request: RequestFacts) -> None:
            self._asked.pop(request_id, None)
            if self._agent.unloading.is_needed(choice):
                self._answer_later(notify, self._questions.with_room(choice, request))
            else:
                self._send(notify, self._questions.actions(choice, request))

        self._asked[request_id] = notify.stream_id, notify.frame_id
        if self._agent.ask(request_id, answer):
            return None
        del self._asked[request_id]
        return unanswered("not held here")

    def _send(self, notify: Notify, actions: Sequence[VarAction]) -> None:
        if not self._conn.closed:
            self._transport.write(self._conn.ack(notify.stream_id, notify.frame_id, actions))

    def _answer_later(self, notify: Notify, answer: Coroutine[None, None, Sequence[VarAction]]) -> None:
        """Send an answer when it is there; meanwhile others are given."""
        task = asyncio.get_running_loop().create_task(self._deliver(notify, answer))
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _deliver(self, notify: Notify, answer: Coroutine[None, None, Sequence[VarAction]]) -> None:
        begun_s = self._clock()
        try:
            actions = await answer
        except Undecided:
            self._undecided.append(notify)
            return
        except Exception:
            log.exception("decision failed")
            self._tally.errors["agent"] += 1
            actions = unanswered("agent error")
        self._tally.answer_s.add(self._clock() - begun_s)
        self._send(notify, actions)


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
        self.draining = Draining(checked_at_s=clock())
        self._questions = Questions(agent, news, Inspector(self.draining), self._contact.tally)
        self._clock = clock
        self.connections: set[SpopProtocol] = set()
        self._entrance = Entrance(self.draining, self._contact.tally, clock, self._protocol)

    def listen(self, sock: socket.socket) -> None:
        """Answer on a bound socket from now on, in the running loop."""
        self._entrance.open(sock)

    def _hear(self) -> None:
        """Take what has come, before questions are decided."""
        self._entrance.look()
        self._news()

    def _protocol(self, passed: Passed | None = None) -> SpopProtocol:
        others = self._contact, self._hear, self._questions
        return SpopProtocol(self._agent, self.connections, self.draining, self._clock, *others, passed)

    async def adopt(self, sock: socket.socket, passed: Passed) -> None:
        """Go on with a connection that another process has had."""
        await asyncio.get_running_loop().connect_accepted_socket(lambda: self._protocol(passed), sock)

    async def drain(self, deadline_s: float) -> None:
        """Stop without losing a decision.

        HAProxy's checks are refused from now on, so that it takes the agent out; questions, on new connections too,
        are answered until then, and nothing is held any more. Each connection goes when nobody waits for an answer
        on it; the end comes when all have gone and HAProxy knows, or at the deadline.
        """
        self.draining.active = True
        self._agent.flush()
        until_s = self._clock() + deadline_s
        while (self.connections or not self.draining.is_over(self._clock())) and self._clock() < until_s:
            for connection in list(self.connections):
                if self.draining.is_known and connection.is_quiet:
                    connection.disconnect()
            await asyncio.sleep(QUIET_S / 2)
        self.close_listeners()
        await self.emptied()
        for connection in list(self.connections):
            connection.disconnect()

    def close_listeners(self) -> None:
        """Accept nobody any more."""
        self._entrance.close()

    async def emptied(self) -> None:
        """Wait until all who were accepted are among the connections."""
        await self._entrance.emptied()
