"""What one decision worked out and the next can use as it is: values of pure functions, kept with what they were worked
out from, and used only while that is the same. So a choice is the same with a memo and without, only sooner.
"""

from __future__ import annotations

from spoe_agent.routing.demand import Demand, Models, Regrets, Site
from spoe_agent.routing.facts import RequestFacts
from spoe_agent.routing.judged import Judgements
from spoe_agent.routing.snapshot import NO_ACTIVITY, NO_GPUS, UNKNOWN_STATE, Snapshot
from spoe_agent.routing.specs import FleetSpec

MAX_FRONTS = 4
"""HAProxy processes whose counts are remembered; one that asks, the one before a reload, and held requests of both,
which have no counts."""

MAX_SORTS = 64
"""Sorts of requests whose judgements are kept: models, contexts, and options that make Ollama reload. Each takes 1 KB
for each instance, so all together 4 MB in a fleet of 64."""

_Front = tuple[str, bool]
_Sort = tuple[str, bool, str | None, str, int | None, str, bool]


class Memo:
    """Of one fleet's decisions, one after another."""

    def __init__(self) -> None:
        self._models: Models | None = None
        self._regrets: Regrets | None = None
        self._sites: dict[_Front, dict[str, Site]] = {}
        self._judgements: dict[_Sort, Judgements] = {}

    def demand(self, facts: RequestFacts, fleet: FleetSpec, snapshot: Snapshot) -> Demand:
        """Return what a request needs. What was kept of another fleet, or of models of other sizes, is dropped."""
        models, regrets = self._models, self._regrets
        if models is None or not models.has_same_lists(fleet, snapshot):
            self._sites.clear()
            self._judgements.clear()
            models = Models(fleet, snapshot)
        elif models.has_same_times(snapshot):
            models.follow(snapshot)
        else:
            models = Models(fleet, snapshot)
        if regrets is None or not regrets.are_like(snapshot):
            regrets = Regrets(snapshot)
        self._models, self._regrets = models, regrets
        return Demand.of(facts, fleet, snapshot, models, regrets)

    def sites(self, facts: RequestFacts, fleet: FleetSpec, snapshot: Snapshot) -> list[Site]:
        """Return every instance as it is now, in file order: the same objects as long as they are the same."""
        front = facts.process, bool(facts.loads)
        if front not in self._sites and len(self._sites) >= MAX_FRONTS:
            self._sites.clear()
        kept = self._sites.setdefault(front, {})
        loads, states, active, gpus = facts.loads, snapshot.instances, snapshot.activity, snapshot.gpus
        found = []
        for spec in fleet.instances:
            name = spec.name
            state, activity = states.get(name, UNKNOWN_STATE), active.get(name, NO_ACTIVITY)
            load, group = loads.get(name), gpus.get(name, NO_GPUS)
            site = kept.get(name)
            if (
                site is None
                or site.state is not state
                or site.activity is not activity
                or site.load != load
                or (site.gpus is not group and site.gpus != group)
            ):
                site = kept[name] = Site(spec, state, activity, group, load)
            found.append(site)
        return found

    def judgements(self, demand: Demand) -> Judgements:
        """Return what is kept for requests of this sort; it is the last to be dropped."""
        facts = demand.facts
        model = facts.model, facts.namesake, demand.context, facts.runner_options, facts.embeds
        sort = facts.process, bool(facts.loads), *model
        found = self._judgements.pop(sort, None) or Judgements()
        self._judgements[sort] = found
        if len(self._judgements) > MAX_SORTS:
            del self._judgements[next(iter(self._judgements))]
        return found
