"""Instances, judged for requests of one sort: what stays the same from one decision to the next, and what each costs.

A request changes one instance. So a judgement is kept as long as its instance is the same (`Site`), and its cost as
long as all is the same that costs go by: what was learned, who waits, where the model is warm. What time alone changes
is worked out anew each time: what loads under way have left, and lists that have grown too old to prove anything.
"""

from __future__ import annotations

from math import inf

from spoe_agent.routing.choice import LOADED, Candidate, Tier
from spoe_agent.routing.cost import WARM, Pool, predict, reprice
from spoe_agent.routing.demand import Demand, Models, Regrets, Site
from spoe_agent.routing.eligibility import by_model
from spoe_agent.routing.slowness import USUAL, slowness, unslowed_s
from spoe_agent.routing.warmth import Crowd, evict, has_room_for_all, has_slot, outlook

NOT_KEPT = 0


class Judged:
    """One instance, for one sort of request."""

    __slots__ = (
        *("candidate", "outlook", "priced", "rank", "read_at_s", "regrets", "roomy", "roomy_for"),
        *("site", "slots", "slow", "tier", "total_s", "unfit"),
    )

    candidate: Candidate
    """With what it costs; there is none before that is known."""

    def __init__(self, demand: Demand, site: Site) -> None:
        self.site = site
        self.unfit = by_model(demand, site)
        """The instance, excluded for the model; None: it is not."""
        self.tier: Tier | None = None
        self.rank: tuple[int, float] = (0, site.activity.granted_at_s)
        """Of those that cost the same, the least goes first: the warmer, then the one whose last request is oldest,
        because it no longer reads its prompt."""
        self.read_at_s = inf
        """When the list was read that proves that the model is loaded."""
        self.total_s = 0.0
        """What it costs."""
        self.priced = NOT_KEPT
        """The number of the terms (see Judgements) that this cost is of."""
        self.regrets: Regrets | None = None
        """Those that this cost goes by, where others must go."""
        self.roomy_for: Models | None = None
        self.roomy = False
        if demand.runs and self.unfit is None:
            self.outlook = outlook(demand, site)
            self.slots, self.slow = site.slots(demand), slowness(demand, site, self.outlook)
            self.tier = tier = self.outlook.tier
            self.rank = (int(tier), site.activity.granted_at_s)
            if tier is LOADED:
                self.read_at_s = site.state.loaded_at_s or 0.0

    def take(self, candidate: Candidate, priced: int = NOT_KEPT) -> None:
        """Take what it costs."""
        self.candidate, self.total_s, self.priced = candidate, candidate.cost.total_s, priced

    def has_room_for_all(self, demand: Demand) -> bool:
        """See `warmth`."""
        if self.roomy_for is not demand.models:
            self.roomy, self.roomy_for = has_room_for_all(demand, self.site), demand.models
        return self.roomy


class Judgements:
    """Of all instances, for one sort of request."""

    def __init__(self) -> None:
        self._judged: dict[str, Judged] = {}
        self._models: Models | None = None
        self._terms: tuple[int, Pool, float] | None = None
        self._number = NOT_KEPT

    def of(self, demand: Demand, sites: list[Site]) -> list[Judged]:
        """Return each instance's."""
        kept, found = self._judged, []
        for site in sites:
            one = kept.get(site.spec.name)
            if one is None or one.site is not site:
                one = kept[site.spec.name] = Judged(demand, site)
            found.append(one)
        return found

    def price(self, demand: Demand, eligible: list[Judged]) -> None:
        """Have each of those that may run the request know what it costs."""
        warm = [one for one in eligible if one.tier in WARM]
        least_busy = min([one.site.activity.mean_in_flight for one in warm], default=0.0)
        pool = Pool(len(warm), sum([one.slots for one in warm]), least_busy)
        slow = [one for one in eligible if one.slow is not USUAL]
        usual_s = unslowed_s(demand, [(one.site, one.slow) for one in eligible]) if slow else 0.0
        terms = demand.snapshot.waiting, pool, usual_s
        if demand.models is not self._models or terms != self._terms:
            self._models, self._terms = demand.models, terms
            self._number += 1
        number, home = self._number, demand.snapshot.home
        at_s, max_age_s = demand.snapshot.at_s, demand.fleet.policy.max_age_s
        for one in eligible:
            is_proven = at_s - one.read_at_s <= max_age_s
            is_home = one.site.spec.name == home
            if one.priced != number or not is_proven or is_home:
                is_still = one.tier is LOADED or not one.site.activity.loading
                is_kept = is_still and is_proven and not is_home
                one.take(_candidate(demand, one, pool, usual_s), number if is_kept else NOT_KEPT)
            elif isinstance(one.outlook, Crowd) and one.regrets is not demand.regrets:
                one.take(_repriced(demand, one, one.outlook) or _candidate(demand, one, pool, usual_s), number)


def _candidate(demand: Demand, one: Judged, warm: Pool, usual_s: float) -> Candidate:
    site, found = one.site, one.outlook
    if isinstance(found, Crowd):
        one.regrets = demand.regrets
        standing = evict(demand, site, found)
    else:
        standing = found
    free = has_slot(demand, site, standing)
    predicted = predict(demand, site, standing, free, warm)
    if one.slow is not USUAL:
        predicted = predicted._replace(slow_s=(one.slow.factor - 1.0) * usual_s)
    return Candidate(site.spec.name, None, one.slow.why, standing.tier, predicted, standing.gone, free)


def _repriced(demand: Demand, one: Judged, crowd: Crowd) -> Candidate | None:
    """Return what one costs when only that has changed what others are worth; None: others are to go for it now."""
    before = one.candidate
    standing = evict(demand, one.site, crowd)
    if standing.gone != before.victims:
        return None
    one.regrets = demand.regrets
    name, _, detail, tier, cost, gone, free = before
    return Candidate(name, None, detail, tier, reprice(demand, standing, cost), gone, free)
