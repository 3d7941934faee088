"""The agent's heart: holds the board, the held queue and what was learned; asks `choose`, enters what was granted.
One per process, for every front end.

Must not live here: sockets, SPOP, HTTP; the decision itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

import aiohttp
import structlog

from spoe_agent.routing import Action, Choice, FleetSpec, InstanceLoad, InstanceState, Kind, RequestFacts, choose
from spoe_agent.routing.estimates import service_s, weights_bytes
from spoe_agent.routing.hold import HoldQueue, Ticket, lane
from spoe_agent.routing.names import display
from spoe_agent.telemetry.board import Board, Grant
from spoe_agent.telemetry.learner import Ending, Learner
from spoe_agent.telemetry.ollama import UnexpectedAnswer

log = structlog.get_logger()

REFRESH_INTERVAL_S = 1.0
"""Unknown models make the agent ask the instances anew at most this often."""

REFRESH_DEADLINE_S = 0.06
"""How long a request for an unknown model waits for that; well within HAProxy's `timeout processing`."""

MAX_HOMES = 20_000
"""Conversations whose instance is remembered; the ones used longest ago go first."""

MAX_GONE = 10_000
"""Requests remembered that ended before they were decided."""

SILENCE_S = 5.0
"""When everybody is held, no new request brings HAProxy's counts. After this silence a grant older than half of the
hold time no longer keeps others waiting: its log line may be lost. If it runs after all, the next counts say so."""

_LATE = Choice(Action.REJECT, "too late", status=503, message="the request ended before it was decided")
"""HAProxy no longer waits for this answer."""

ROOM_DEADLINE_S = 0.05
"""How long a request waits for its victims' unloading to be asked for: until then Ollama would choose others."""

Unload = Callable[[str, str], Awaitable[None]]
"""Asks an instance to unload a model (display name) as soon as it is idle."""

MAX_LANES = 1_000
"""Lanes whose last request is remembered. Callers choose `num_ctx`, and with it lanes."""

Granted = Callable[[RequestFacts, Choice], None]
"""Told a held request, and its Choice at last."""

REASK_AT = 1.1
"""A queue that has grown so much is looked at anew."""


@dataclass(frozen=True, slots=True)
class _Last:
    """How the last request of a lane came to be held."""

    version: int
    waiting: int
    choice: Choice
    ticket: Ticket


class Agent:
    """Decides requests against the live board.

    Args:
        fleet: what the fleet file says.
        board: readings and grants.
        refresh: asks every instance for its lists now; awaited, bounded, when a model is unknown.
        clock: monotonic seconds.
        learner: what was learned before.
        unload: makes room; None: Ollama chooses what goes.

    `granted` is told when a held request is decided, `left` when it ended before; front ends that hold set them.
    """

    def __init__(
        self,
        fleet: FleetSpec,
        board: Board,
        refresh: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
        learner: Learner | None = None,
        unload: Unload | None = None,
    ) -> None:
        self.fleet = fleet
        self.board = board
        self.hold = HoldQueue(fleet.policy.caller_weights)
        self.learner = learner or Learner()
        self.granted: Granted = lambda _request, _choice: None
        self.left: Callable[[RequestFacts], None] = lambda _request: None
        self._refresh = refresh
        self._unload = unload
        self._clock = clock
        self._refreshed_at_s = clock()
        self._homes: OrderedDict[str, str] = OrderedDict()
        self._down: dict[str, InstanceLoad] = {}
        self._last: dict[str, _Last] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._counted_at_s: float | None = None

    def decide(self, facts: RequestFacts) -> Choice:
        """Return the Choice for one request: enter it on the board when it is routed, queue it when it is held."""
        now_s = self._clock()
        if facts.request_id in self._gone:
            return _LATE
        if facts.loads:
            self._counted_at_s = now_s
            self._down = {name: load for name, load in facts.loads.items() if not load.is_up}
        choice = self._join(facts, now_s) if self.hold else None
        if choice is None:
            choice = self._choose(facts, now_s, self.hold.waiting(lane(facts)))
            if choice.action is Action.HOLD:
                self._keep(facts, choice, now_s)
        # Not for refused ones: callers must not fill the memory with names of models that do not exist.
        if facts.model is not None and facts.kind is Kind.INFERENCE and choice.action is not Action.REJECT:
            self.learner.arrived(facts.model, now_s)
        log.debug("decided", id=facts.request_id, model=facts.model, choice=choice)
        return choice

    def ended(self, request_id: str, server: str = "", ending: Ending | None = None) -> Grant | None:
        """Take the end of a request: its slot, or its place in the queue, is free for the next.

        Its times count for the instance it was granted to, unless the front end sent it to another `server`.
        Return its grant, if it had one.
        """
        grant = self.board.end(request_id)
        if grant is not None and ending is not None and server == grant.instance:
            self.learner.ended(grant.model, grant.instance, grant.tier, ending)
        ticket = self.hold.remove(request_id)
        if ticket is not None:
            self.left(ticket.facts)
        elif grant is None:
            self._note_gone(request_id)
        self.release()
        return grant

    def published(self, instance: str, state: InstanceState) -> None:
        """Take new readings of an instance."""
        self.board.publish(instance, state)
        self.release()

    def tick(self) -> None:
        """Do what time alone brings: turn away who has waited too long, put forward who has waited long."""
        now_s = self._clock()
        hold_s = self.fleet.policy.hold_s
        for ticket in self.hold.expire(now_s - hold_s):
            self.granted(ticket.facts, self._too_late(hold_s))
        self.hold.promote(now_s - hold_s / 2)
        if self.hold and self._counted_at_s is not None and now_s - self._counted_at_s > SILENCE_S:
            self.board.doubt(now_s - hold_s / 2)
        self.release()

    def release(self) -> None:
        """Give free slots to held requests, in the queue's order."""
        if not self.hold:
            return
        now_s = self._clock()
        for ticket, choice in self.hold.take(lambda ticket: self._choose_held(ticket, now_s)):
            log.debug("granted", id=ticket.facts.request_id, choice=choice)
            self.granted(ticket.facts, choice)

    def limit(self, connections: Mapping[str, int]) -> None:
        """Take new connection limits, by instance."""
        instances = tuple(
            replace(spec, max_connections=connections.get(spec.name, spec.max_connections))
            for spec in self.fleet.instances
        )
        if instances != self.fleet.instances:
            self.fleet = replace(self.fleet, instances=instances)
            self.board.version += 1
            self.release()

    def flush(self) -> None:
        """Give every held request its best place as things are, slot or not: the agent stops."""
        self.fleet = replace(self.fleet, policy=replace(self.fleet.policy, hold_s=0.0))
        self.release()

    def must_make_room(self, choice: Choice) -> bool:
        """Tell whether models have to go before the request may: `make_room` sees to it."""
        return self._unload is not None and choice.action is Action.ROUTE and bool(choice.victims)

    async def make_room(self, choice: Choice) -> None:
        """Have the victims of a choice unloaded. If that fails, Ollama makes room itself, as it sees fit."""
        unload, instance = self._unload, choice.instance
        if unload is None or instance is None:
            return
        try:
            async with asyncio.timeout(ROOM_DEADLINE_S):
                await asyncio.gather(*(unload(instance, display(model)) for model in choice.victims))
        except (OSError, TimeoutError, UnexpectedAnswer, aiohttp.ClientError) as error:
            log.debug("unloading failed", instance=instance, models=choice.victims, why=str(error))

    def is_worth_a_second_look(self, choice: Choice) -> bool:
        """Tell whether a refusal may only be due to lists that are a few seconds old (a model just pulled)."""
        is_unknown = choice.action is Action.REJECT and choice.status == 404
        return is_unknown and self._may_refresh()

    async def decide_again(self, facts: RequestFacts) -> Choice:
        """Ask the instances for their lists, briefly, and decide anew.

        Of many requests that came in one batch only the first asks.
        """
        if not self._may_refresh():
            return self.decide(facts)
        self._refreshed_at_s = self._clock()
        try:
            async with asyncio.timeout(REFRESH_DEADLINE_S):
                await self._refresh()
        except TimeoutError:
            log.debug("lists did not come in time", id=facts.request_id)
        return self.decide(facts)

    def _note_gone(self, request_id: str) -> None:
        """Remember an end that came before its question was read, as after a pause of the whole process: what is
        granted to such a request would be in flight for ever.
        """
        self._gone[request_id] = None
        if len(self._gone) > MAX_GONE:
            self._gone.popitem(last=False)

    def _may_refresh(self) -> bool:
        return self._clock() - self._refreshed_at_s >= REFRESH_INTERVAL_S

    def _choose(self, facts: RequestFacts, now_s: float, waiting: int) -> Choice:
        """Choose, and enter the grant when the request is routed to run a model."""
        home = self._homes.get(facts.prefix) if facts.prefix else None
        snapshot = self.board.snapshot(facts.loads, now_s, self.learner.learned(now_s), waiting, home)
        choice = choose(facts, self.fleet, snapshot)
        if choice.action is Action.ROUTE and choice.instance and facts.model and facts.kind is Kind.INFERENCE:
            grant = Grant(facts.request_id, choice.instance, facts.model, now_s, choice.tier)
            self.board.grant(grant, choice.victims)
            self._settle(facts.prefix, choice.instance)
        return choice

    def _choose_held(self, ticket: Ticket, now_s: float) -> Choice | None:
        """Return what a held request gets now, or None. The board's own account stands for HAProxy's counts."""
        choice = self._choose(replace(ticket.facts, loads=self._down), now_s, 0)
        return None if choice.action is Action.HOLD else choice

    def _keep(self, facts: RequestFacts, choice: Choice, now_s: float) -> None:
        rule = self.fleet.rule(facts.model or "")
        weights = weights_bytes(facts.model or "", rule, self.board.snapshot({}, now_s))
        needs_s = service_s(self.learner.learned(now_s), facts.model or "", "", weights)
        ticket = Ticket(facts, now_s, needs_s, rule.priority)
        self.hold.add(ticket)
        if len(self._last) > MAX_LANES:
            self._last.clear()
        self._last[ticket.lane] = _Last(self.board.version, self.hold.waiting(ticket.lane), choice, ticket)

    def _join(self, facts: RequestFacts, now_s: float) -> Choice | None:
        """Hold a request like the one before it, as long as nothing happened since and the queue is not much longer.

        So a burst of thousands is answered within HAProxy's `timeout processing`; every tenth part of the queue asks
        anew, because at some length loading elsewhere is worth its price.
        """
        last = self._last.get(lane(facts))
        if last is None or last.version != self.board.version or facts.kind is not Kind.INFERENCE:
            return None
        waiting = self.hold.waiting(lane(facts))
        if not waiting or waiting > REASK_AT * last.waiting:
            return None
        self.hold.add(replace(last.ticket, facts=facts, since_s=now_s))
        return last.choice

    def _settle(self, prefix: str, instance: str) -> None:
        if prefix:
            self._homes[prefix] = instance
            self._homes.move_to_end(prefix)
            if len(self._homes) > MAX_HOMES:
                self._homes.popitem(last=False)

    def _too_late(self, hold_s: float) -> Choice:
        return Choice(
            Action.REJECT,
            "hold timeout",
            status=503,
            message=f"no slot was free within {hold_s:.0f} s; try again later",
            retry_after_s=self.fleet.policy.retry_after_s,
        )
