"""The agent's heart: decides requests against the live board, and keeps account of what it decided.
One per process, for every front end.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

from spoe_agent.agent.answers import HeldAnswers, Waiter
from spoe_agent.agent.board import Board
from spoe_agent.agent.chooser import Chooser
from spoe_agent.agent.crowding import is_crowding
from spoe_agent.agent.ending import Ending
from spoe_agent.agent.grant import Grant
from spoe_agent.agent.keeper import Keeper
from spoe_agent.agent.learner import Learner
from spoe_agent.agent.preload import Preload
from spoe_agent.agent.recent import Recent
from spoe_agent.agent.record import Record
from spoe_agent.agent.second_look import MAX_CHANGES, SecondLook
from spoe_agent.agent.settings import Settings
from spoe_agent.agent.unloading import Unload, Unloading
from spoe_agent.agent.waiting import Granted, WaitingRoom
from spoe_agent.routing import Action, Choice, FleetSpec, InstanceLoad, InstanceState, Kind, Reason, RequestFacts
from spoe_agent.routing.choice import Tier, Writing
from spoe_agent.routing.hold import HoldQueue, Ticket, lane
from spoe_agent.routing.keep import Touch
from spoe_agent.routing.rejections import LATE, crowding, unsure

MAX_GONE = 10_000
"""Requests remembered that ended before anything was granted to them."""


class Agent:
    """Decides requests against the live board.

    Args:
        fleet: what the fleet file says.
        board: readings and grants.
        refresh: asks every instance for its lists now; awaited, bounded, when a model is unknown.
        clock: monotonic seconds.
        learner: what was learned before.
        unload: makes room; None: Ollama chooses what goes.
        refused: told the name of an instance that did not take a request, and what was granted there.
    """

    def __init__(
        self,
        fleet: FleetSpec,
        board: Board,
        refresh: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
        learner: Learner | None = None,
        unload: Unload | None = None,
        refused: Callable[[str, Grant | None], None] = lambda _instance, _grant: None,
    ) -> None:
        self.board = board
        self.learner = learner or Learner()
        self.answers = HeldAnswers()
        self.record = Record()
        self.settings = Settings(fleet)
        self._limits: dict[str, int] = {}
        self._chooser = Chooser(fleet, board, self.learner)
        self._room = WaitingRoom(self._chooser)
        self._kept = Keeper(self._chooser)
        self.preload = Preload(self._chooser)
        self.second_look = SecondLook(refresh, clock)
        self.unloading = Unloading(unload)
        self._refused = refused
        self._clock = clock
        self._servers: Mapping[str, InstanceLoad] = {}
        self._gone: Recent[str, None] = Recent(MAX_GONE)
        self.writings: Recent[str, tuple[Writing, ...]] = Recent(MAX_CHANGES)
        """What the door is to do for a request that changes several stores, until it asks."""

    @property
    def fleet(self) -> FleetSpec:
        """The fleet as it is now: where the fleet file is wrong as it really is, with limits of connections that follow
        what the instances can do.
        """
        return self._chooser.fleet

    @fleet.setter
    def fleet(self, fleet: FleetSpec) -> None:
        self.settings.adopt(fleet)
        self._chooser.fleet, self._limits = fleet, {}

    @property
    def hold(self) -> HoldQueue:
        """The held requests."""
        return self._room.queue

    def priority(self, facts: RequestFacts) -> int:
        """Return the class of a request in the held queue."""
        return self._room.priority(facts)

    def decide(self, facts: RequestFacts) -> Choice:
        """Return the Choice for one request: enter it on the board when it is routed, queue it when it is held."""
        facts = self.board.namesakes.identify(facts)
        choice = self._decide(facts)
        if not self.is_worth_a_second_look(choice):
            self.record.decided(facts, choice, self._clock())
        return choice

    def _decide(self, facts: RequestFacts) -> Choice:
        now_s = self._clock()
        if facts.request_id in self._gone:
            return LATE
        if facts.servers:
            self._servers = facts.servers
        if facts.loads:
            self._room.note_down(facts, now_s)
        if facts.tried:
            self._withdraw(facts)
        if is_crowding(facts, self.board, self.hold):
            return crowding(facts)
        choice = self._room.join(facts, now_s) if self.hold and not facts.tried else None
        if choice is None:
            self.board.reconcile(facts.loads, facts.process, now_s)
            choice = self._chooser.look(facts, now_s, self.hold.waiting(lane(facts)))
            if choice.action is Action.HOLD:
                self._room.keep(facts, choice, now_s)
            else:
                self._chooser.enter(facts, choice, now_s)
        if facts.change is not None and choice.action is Action.ROUTE:
            self.second_look.changing(facts.request_id)
            if choice.writings:
                self.writings.put(facts.request_id, choice.writings)
        # Not for refused ones: callers must not fill the memory with names of models that do not exist. Nor twice.
        counts = facts.kind is Kind.INFERENCE and not facts.tried and choice.action is not Action.REJECT
        if counts and facts.runner is not None:
            self.learner.arrived(facts.runner, now_s)
        return choice

    def would(self, facts: RequestFacts) -> Choice:
        """Return where a request would go now, without deciding anything."""
        facts = replace(self.board.namesakes.identify(facts), servers=self._servers)
        return self._chooser.look(facts, self._clock(), self.hold.waiting(lane(facts)))

    def _withdraw(self, facts: RequestFacts) -> None:
        """Undo what was decided for a request that comes around again: its place there is free for others."""
        grant = self.board.end(facts.request_id)
        last = facts.tried[-1]
        if grant is not None and grant.is_repeated and grant.instance == last:
            self.record.counts.repeated(grant)
        load = facts.loads.get(last)
        # Where HAProxy's check found it down meanwhile, it was not even asked.
        if last and (load is None or load.is_up):
            self._refused(last, grant)
        self._leave(facts.request_id)
        self.answers.left(facts)
        self.release()

    def is_repeated(self, choice: Choice, facts: RequestFacts) -> bool:
        """Tell whether HAProxy is to send a request that was just decided elsewhere if it fails (`Grant`)."""
        grant = None if choice.tier is None else self.board.find(facts.request_id)
        return grant is not None and grant.is_repeated

    def ask(self, request_id: str, waiter: Waiter) -> bool:
        """Tell `waiter` a held request's Choice, now or when there is one. False: no such request is held (we were
        restarted).
        """
        if self.answers.fetch(request_id, waiter):
            return True
        if request_id not in self.hold:
            return False
        self.answers.expect(request_id, waiter)
        return True

    def give_up(self, request_id: str) -> None:
        """Nobody can be told any more: HAProxy closed the connection. The place in the queue is free."""
        if self.answers.forget(request_id):
            self.ended(request_id)

    def ended(self, request_id: str, server: str = "", ending: Ending | None = None) -> None:
        """Take the end of a request: its slot, or its place in the queue, is free for the next.

        Its times count for the instance it was granted to, unless the front end sent it to another `server`.
        """
        self.second_look.ended(request_id)
        grant = self.board.end(request_id)
        if grant is not None and ending is not None and server == grant.instance:
            self.record.finished(grant, ending, self.learner, self._clock())
            if ending.is_whole:
                self._served(grant, ending)
        self._leave(request_id, ending)
        if grant is None:
            # A question may come later: after a pause of the process, or of a pass around for a client that has left.
            self._gone.put(request_id, None)
        self.release()

    def _leave(self, request_id: str, ending: Ending | None = None) -> None:
        """Give up a place in the queue. `ending`: how the request ended, if it did."""
        ticket = self._room.leave(request_id)
        if ticket is not None:
            facts, now_s = ticket.facts, self._clock()
            has_left = ending is not None and ending.left is not None
            self.record.left(facts, self.priority(facts), now_s - ticket.since_s, now_s, has_left)
            self.answers.left(facts)

    def _served(self, grant: Grant, ending: Ending) -> None:
        """Take what a good answer tells of its instance."""
        now_s, name = self._clock(), grant.instance
        self.board.served(grant, now_s)
        is_usual = grant.model not in self.board.state(name).one_by_one
        if is_usual and grant.tier is Tier.LOADED and self.fleet.rule(grant.model).num_parallel is None:
            self.settings.ended(grant, ending, self.board.granted(name), now_s)

    def forget(self, processes: Iterable[str]) -> None:
        """HAProxy processes have ended: their slots are free, whether or not a line came for each of their requests."""
        for process in processes:
            self.board.forget(process)
        self.release()

    def published(self, instance: str, state: InstanceState) -> None:
        """Take new readings of an instance."""
        self.board.publish(instance, state)
        self.release()

    def tick(self) -> None:
        """Do what time alone brings: turn away who has waited too long, and see to those who have waited long."""
        now_s = self._clock()
        self._follow()
        self._tell(self._room.expire(now_s))
        self.release()
        self._tell(self._room.load_more(now_s))
        self._room.reserve(now_s)

    def touches(self, wall_s: float) -> list[Touch]:
        """Return the models to be kept loaded now, by requests without a prompt; none twice. `wall_s`: since 1970."""
        return self._kept.due(self._clock(), wall_s)

    def release(self) -> None:
        """Give free slots to held requests, in the queue's order."""
        if self.hold:
            self._tell(self._room.release(self._clock()))

    def limit(self, connections: Mapping[str, int]) -> None:
        """Take new connection limits, by instance."""
        self._limits.update(connections)
        if self._follow():
            self.release()

    def _follow(self) -> bool:
        """Have routing know the instances as they really are; tell whether it did not."""
        before, instances = self.fleet, self.settings.instances(self._limits, self._clock())
        if instances != before.instances:
            self._chooser.fleet = replace(before, instances=instances)
        return self.fleet is not before

    def missing_in_haproxy(self) -> list[str]:
        """Return the instances that the HAProxy which asked last does not have, or has at another address."""
        there, specs = self._servers, self.fleet.instances
        return [one.name for one in specs if there and (one.name not in there or not there[one.name].is_of(one.tag))]

    def adopt(self, fleet: FleetSpec) -> None:
        """Take another fleet, with everything that is known, granted and held. `release` is to follow."""
        self.fleet = fleet
        self._room.queue.weigh(fleet.policy.caller_weights)

    @property
    def homes(self) -> list[tuple[str, str]]:
        """Conversations and the instances that served them last, used longest ago first."""
        return list(self._chooser.homes.items())

    def take(self, tickets: Iterable[Ticket], homes: Iterable[tuple[str, str]]) -> None:
        """Hold and remember what an agent before this one did."""
        for conversation, instance in homes:
            self._chooser.homes.put(conversation, instance)
        for ticket in tickets:
            self.hold.add(ticket)

    def flush(self) -> None:
        """Hold nobody any more, and give every held request its best place as things are: the agent stops."""
        self._tell(self._room.close(self._clock()))

    def is_worth_a_second_look(self, choice: Choice) -> bool:
        """Tell whether a refusal may only be due to lists that are a few seconds old (a model just pulled)."""
        return choice.reason is Reason.NOT_FOUND and bool(choice.candidates) and self.second_look.is_worth_it

    async def decide_again(self, facts: RequestFacts) -> Choice:
        """Ask the instances for their lists, briefly, and decide anew.

        Of many requests that came at once only the first asks, and all wait for the answer.
        """
        in_time = await self.second_look.take()
        facts = self.board.namesakes.identify(facts)
        choice = self._decide(facts)
        if not in_time and choice.reason is Reason.NOT_FOUND and self.second_look.is_changing:
            choice = unsure(choice, facts, self.fleet)
        self.record.decided(facts, choice, self._clock())
        return choice

    def _tell(self, granted: list[Granted]) -> None:
        for ticket, choice in granted:
            facts, now_s = ticket.facts, self._clock()
            self.record.granted(facts, choice, self.priority(facts), now_s - ticket.since_s, now_s)
            self.answers.give(choice, facts)
