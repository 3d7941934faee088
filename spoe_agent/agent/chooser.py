"""`choose` on the live board: puts the snapshot together, and enters what was chosen."""

from __future__ import annotations

from dataclasses import replace

from spoe_agent.agent.board import Board
from spoe_agent.agent.grant import Grant, Loading
from spoe_agent.agent.learner import Learner
from spoe_agent.agent.recent import Recent
from spoe_agent.agent.suggestions import Suggestions
from spoe_agent.routing import Action, Choice, FleetSpec, Kind, Reason, RequestFacts, choose
from spoe_agent.routing.choice import EVICT, ROOM
from spoe_agent.routing.estimates import EMPTIED_S, EMPTY_S, service_s, weights_bytes
from spoe_agent.routing.memo import Memo
from spoe_agent.routing.snapshot import Snapshot

LOADS = (ROOM, EVICT)
"""Tiers at which a request has its model loaded, and waits for nothing but that."""

CHEAP_BYTES = 512 << 10
"""HAProxy copies a buffer for `max_inspected_body` of so much in 0.05 ms at most."""

MAX_HOMES = 20_000
"""Conversations whose instance is remembered; the ones used longest ago go first."""


class Chooser:
    """Chooses by the fleet, the board and what was learned. Times are monotonic seconds."""

    def __init__(self, fleet: FleetSpec, board: Board, learner: Learner) -> None:
        self.fleet = fleet
        self.board = board
        self.learner = learner
        self.homes: Recent[str, str] = Recent(MAX_HOMES)
        """The instance that served a conversation last, by the hash of its beginning."""
        self._memo = Memo()
        self._suggestions = Suggestions()
        self._may_hold = True

    @property
    def holds(self) -> bool:
        """Requests that have no slot are held; else each goes to its best place at once."""
        return self._may_hold and self.fleet.policy.hold_s > 0

    def hold_none(self) -> None:
        """Hold nobody any more, whatever fleet is to come."""
        self._may_hold = False

    def look(self, facts: RequestFacts, now_s: float, waiting: int = 0, reserved: str = "") -> Choice:
        """Return the Choice for a request as things are.

        Args:
            waiting: held requests that the same slots must serve before it.
            reserved: the instance that is being emptied for this request; "" when none is.
        """
        home = self.homes.get(facts.prefix) if facts.prefix else None
        learned = self.learner.learned(now_s)
        snapshot = self.board.snapshot(facts.loads, now_s, learned, waiting, home, facts.process)
        choice = choose(facts, self.fleet, _as_reserved(snapshot, reserved) if reserved else snapshot, self._memo)
        if choice.reason is Reason.NOT_FOUND and facts.model and not facts.wishes.instance:
            installed = [self.board.state(spec.name).installed for spec in self.fleet.instances]
            if facts.rights.models is not None:
                return choice  # names of others' models are not told
            return self._suggestions.added(choice, facts.model, installed, now_s)
        return replace(choice, action=Action.ROUTE) if choice.action is Action.HOLD and not self.holds else choice

    def enter(self, facts: RequestFacts, choice: Choice, now_s: float) -> None:
        """Enter the grant of a request that is routed to run a model, and what one unloads; others take no slot."""
        if choice.action is not Action.ROUTE or not choice.instance or not facts.runner:
            return
        if facts.kind is Kind.INFERENCE:
            chosen = choice.chosen
            victims, cost = (chosen.victims, chosen.cost) if chosen else ((), None)
            loading = self._loading(facts.runner, choice, now_s) if choice.tier in LOADS else None
            about = choice.tier, facts.num_ctx, facts.process, facts.only_loads, facts.runner_options, loading, cost
            repeats = self._repeats(facts, choice)
            grant = Grant(facts.request_id, choice.instance, facts.runner, now_s, *about, facts.caller, repeats)
            self.board.grant(grant, victims)
            if facts.prefix:
                self.homes.put(facts.prefix, choice.instance)
        elif facts.kind is Kind.UNLOAD:
            for instance in (choice.instance, *[name for _, name in choice.unloads]):
                self.board.unload(instance, facts.runner, now_s)

    def _repeats(self, facts: RequestFacts, choice: Choice) -> bool:
        """Tell whether HAProxy is to send a request elsewhere if it fails where it goes now: once, and if there is
        somebody else. It copies a whole buffer for that, so this is for where it may well fail, or buffers are small.
        """
        if facts.tried or choice.tier is None:
            return False
        is_on_trial = self.board.state(choice.instance or "").on_trial(facts.runner or "") is not None
        if not is_on_trial and self.fleet.policy.max_inspected_bytes > CHEAP_BYTES:
            return False
        return any(one.exclusion is None and one.instance != choice.instance for one in choice.candidates)

    def _loading(self, model: str, choice: Choice, now_s: float) -> Loading:
        """Return what a load that is to begin reads."""
        chosen = next(one for one in choice.candidates if one.instance == choice.instance)
        spec = next(spec for spec in self.fleet.instances if spec.name == choice.instance)
        weights = weights_bytes(model, self.fleet.rule(model), self.board.snapshot({}, now_s))
        is_certain = not self.board.activity(spec.name).loading and len(chosen.victims) <= 1
        loaded, begins_s = self.board.state(spec.name).loaded, 0.0
        if len(loaded) <= len(chosen.victims):
            begins_s = EMPTIED_S if loaded else EMPTY_S
        is_cached = self.learner.has_cached(model, spec.store)
        return Loading(spec.store, weights, is_cached, begins_s if is_certain else None)

    def needs_s(self, facts: RequestFacts, instance: str, now_s: float) -> float:
        """Return the predicted time of a request in a slot of an instance."""
        model = facts.runner or ""
        weights = weights_bytes(model, self.fleet.rule(model), self.board.snapshot({}, now_s))
        return service_s(self.learner.learned(now_s), model, instance, weights)


def _as_reserved(snapshot: Snapshot, instance: str) -> Snapshot:
    """Return the snapshot as it is for those whom the instance is being emptied for: nobody else can load there."""
    mine = replace(snapshot.active(instance), leaving=frozenset(), reserved="")
    return replace(snapshot, activity={**snapshot.activity, instance: mine})
