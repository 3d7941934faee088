"""Loads before anybody asks: what an instance that was started anew had before, and what is pinned to it, by requests
of the agent's own. Does no I/O: says what is to be loaded, and when a load is to give way.

1. Only where there is room: nothing goes for it. So the largest comes first where it finds none beside the others. One
   at a time for each instance, and each second one begins at most: loads at the same time slow each other down, most of
   all the first ones (they look for GPUs anew).
2. It counts as a request in flight: others see the load coming, join it, and learn from how long it took.
3. A load gives way when a request has to load something else there: Ollama loads one model at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count

from spoe_agent.agent.chooser import Chooser
from spoe_agent.agent.grant import OWN_PROCESS, Ledger
from spoe_agent.routing import Action, Choice, Dialect, Health, InstanceSpec, Kind, Reason, RequestFacts, choose
from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.names import canonical, is_pattern
from spoe_agent.routing.warmth import load_order

WITHIN_S = 600.0
"""What could not be loaded by then, since the instance came up, is not."""

_WELL = (Health.UP, Health.UNKNOWN, Health.RECOVERING)
"""Whoever was down and answers again is not trusted yet, but nobody is hurt by a load that fails."""


@dataclass(slots=True)
class Wanted:
    """What an instance is to load, the most wanted first, and since when (monotonic second)."""

    models: list[str]
    since_s: float
    even_drained: bool = False
    """It was drained to be started anew, and comes back for this."""


@dataclass(frozen=True, slots=True)
class Load:
    """One load that is to begin."""

    request_id: str
    instance: str
    model: str
    """Canonical key."""


class Preload:
    """Keeps what instances are to load. Times are monotonic seconds."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser
        self._wanted: dict[str, Wanted] = {}
        self._under_way: dict[str, Load] = {}
        self._numbers = count(1)

    def came_up(self, instance: str, had: Iterable[str], now_s: float, even_drained: bool = False) -> None:
        """An instance was started, with nothing loaded; it had these models before. `even_drained`: load them though it
        is drained by hand.
        """
        rates = self._chooser.learner.learned(now_s).rate_per_s or {}
        models = sorted(dict.fromkeys(had), key=lambda model: -rates.get(model, 0.0))
        wanted = self._in_order(instance, list(dict.fromkeys([*self._pinned(instance), *models])), now_s)
        before = self._wanted.get(instance)
        if wanted:
            self._wanted[instance] = Wanted(wanted, now_s, even_drained or (before is not None and before.even_drained))

    def due(self, now_s: float) -> Load | None:
        """Return a load that is to begin now, which is entered as a request that was granted."""
        for spec in self._chooser.fleet.instances:
            wanted = self._wanted.get(spec.name)
            if wanted is None or spec.name in self._under_way:
                continue
            if not wanted.models or now_s - wanted.since_s > WITHIN_S:
                del self._wanted[spec.name]
                continue
            load = self._next(spec, wanted, now_s) if self._may_begin(spec.name, wanted) else None
            if load is not None:
                self._under_way[spec.name] = load
                return load
        return None

    def gives_way(self, load: Load) -> bool:
        """Tell whether a load is to be given up: a request has to load another model there, nobody waits for this."""
        there = self._chooser.board.activity(load.instance)
        others = there.reserved or there.unfinished.keys() - {load.model}
        return bool(others) and there.in_flight.get(load.model, 0) <= 1

    def ended(self, load: Load, is_cut_off: bool = False) -> None:
        """A load has ended, well or not. `is_cut_off`: the agent rests, and it is to be loaded yet."""
        self._under_way.pop(load.instance, None)
        wanted = self._wanted.get(load.instance)
        if is_cut_off and wanted is not None:
            wanted.models.insert(0, load.model)

    def waiting(self, instance: str) -> list[str]:
        """Return what an instance is to load yet, or loads just now."""
        wanted, load = self._wanted.get(instance), self._under_way.get(instance)
        return [*([load.model] if load else ()), *(wanted.models if wanted else ())]

    def to_load(self) -> dict[str, Wanted]:
        """Return what instances are to load yet, or load just now, for the next agent."""
        return {name: replace(it, models=self.waiting(name)) for name, it in self._wanted.items() if self.waiting(name)}

    def take(self, to_load: Mapping[str, Wanted]) -> None:
        """Go on where an agent before this one was. What came up meanwhile has its time anew."""
        for name in to_load.keys() & {spec.name for spec in self._chooser.fleet.instances}:
            before, now = to_load[name], self._wanted.get(name, to_load[name])
            models = list(dict.fromkeys([*before.models, *now.models]))
            self._wanted[name] = Wanted(models, now.since_s, before.even_drained or now.even_drained)

    def _may_begin(self, instance: str, wanted: Wanted) -> bool:
        state, activity = self._chooser.board.state(instance), self._chooser.board.activity(instance)
        may_load = state.health in _WELL or (wanted.even_drained and state.health is Health.DRAINED)
        is_well = may_load and not state.loads_in_doubt and not state.is_starting
        return is_well and state.installed_at_s is not None and not activity.unfinished and not activity.reserved

    def _next(self, spec: InstanceSpec, wanted: Wanted, now_s: float) -> Load | None:
        """Return the first that has room and no copy there; what has none is left out for good."""
        while wanted.models:
            facts = self._facts(wanted.models[0])
            choice = self._look(facts, spec, now_s)
            if choice.action is Action.HOLD and choice.reason is Reason.ROOM:
                return None
            model = wanted.models.pop(0)
            if choice.reason is Reason.ROOM:
                self._chooser.enter(facts, choice, now_s)
                return Load(facts.request_id, spec.name, facts.runner or model)
        return None

    def _in_order(self, instance: str, wanted: list[str], now_s: float) -> list[str]:
        """Return the models in the order in which most of them find room."""
        fleet = self._chooser.fleet
        spec = next((one for one in fleet.instances if one.name == instance), None)
        if spec is None or not wanted:
            return wanted
        facts = self._facts(wanted[0])
        snapshot = self._chooser.board.snapshot({}, now_s, self._chooser.learner.learned(now_s))
        return load_order(Demand.of(facts, fleet, snapshot), Site.of(spec, facts, snapshot), wanted)

    def _facts(self, model: str) -> RequestFacts:
        about = Kind.INFERENCE, Dialect.OLLAMA, model
        facts = RequestFacts(f"own-{next(self._numbers)}", *about, only_loads=True, process=OWN_PROCESS)
        return self._chooser.board.namesakes.identify(facts)

    def _look(self, facts: RequestFacts, spec: InstanceSpec, now_s: float) -> Choice:
        """Choose as if there were this instance only."""
        snapshot = self._chooser.board.snapshot({}, now_s, self._chooser.learner.learned(now_s))
        as_well = replace(snapshot.state(spec.name), health=Health.UP)
        snapshot = replace(snapshot, instances={**snapshot.instances, spec.name: as_well})
        return choose(facts, replace(self._chooser.fleet, instances=(spec,)), snapshot)

    def _pinned(self, instance: str) -> list[str]:
        """Return the models that are pinned to an instance and have a copy nowhere yet."""
        found = []
        for rule in self._chooser.fleet.rules:
            if rule.instances is not None and instance in rule.instances and not is_pattern(rule.match):
                model = canonical(rule.match)
                if not self._has_copy(model):
                    found.append(model)
        return found

    def _has_copy(self, model: str) -> bool:
        board = self._chooser.board
        return any(
            model in board.state(spec.name).loaded or model in self.waiting(spec.name)
            for spec in self._chooser.fleet.instances
        )


def without_own(ledgers: Mapping[str, Ledger]) -> dict[str, Ledger]:
    """Return ledgers without the agent's own loads, which end with it."""
    return {
        name: replace(ledger, grants=tuple(grant for grant in ledger.grants if not grant.is_own))
        for name, ledger in ledgers.items()
    }


def by_demand(loaded: Mapping[str, Iterable[str]], rates: Mapping[str, float]) -> dict[str, list[str]]:
    """Return what is loaded where, the most wanted first: for the next agent, which knows no rates."""
    return {name: sorted(models, key=lambda model: -rates.get(model, 0.0)) for name, models in loaded.items() if models}
