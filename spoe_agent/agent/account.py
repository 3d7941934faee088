"""One instance's account on the board: what was granted to it, what loads there, and what is about to go.

Lives here: the bookkeeping of grants, of loads that `/api/ps` does not list until they are done, of models that were
asked to go, and of the model that the instance is being emptied for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from math import exp, inf
from typing import Any

from spoe_agent.agent.grant import Grant, Ledger
from spoe_agent.routing.choice import Tier
from spoe_agent.routing.names import is_cloud
from spoe_agent.routing.snapshot import Activity, InstanceState

FRESH_S = 0.1
"""A grant this young may not be a connection yet: HAProxy still has to act on it."""

GOING_S = 0.5
"""Ollama lists a model so long after it was asked to unload it: 0.12 to 0.23 s on H100s."""

MAX_STRUCK = 64
"""Grants per instance that were struck off without their log line, and may have been so in vain."""

MEAN_WINDOW_S = 60.0
"""Over which the mean number of requests in flight is taken."""

LOADING_LIFETIME_S = 600.0
"""A load that `/api/ps` still does not list by then did not happen."""


@dataclass(slots=True)
class Account:
    """One instance's grants, oldest first, with their numbers per model, HAProxy process and caller beside them."""

    grants: dict[str, Grant] = field(default_factory=dict)
    in_flight: Counter[str] = field(default_factory=Counter)
    asked_by: Counter[str] = field(default_factory=Counter)
    of_caller: Counter[str] = field(default_factory=Counter)
    loading: dict[str, float] = field(default_factory=dict)
    contexts: dict[str, int] = field(default_factory=dict)
    """`num_ctx` of loads under way, where it was asked for."""
    options: dict[str, str] = field(default_factory=dict)
    """What else models were loaded with, where something was asked for."""
    replaced: dict[str, int] = field(default_factory=dict)
    """Of loads under way because another context was asked for: the context that `/api/ps` shows until then."""
    leaving: frozenset[str] = frozenset()
    """Models that take no more requests, because they must go."""
    reserved: str = ""
    """The model that loads here as soon as those are idle."""
    answered: dict[str, float] = field(default_factory=dict)
    """When a load under way was first answered for: it was done by then, whatever `/api/ps` shows."""
    served: dict[str, tuple[int, float]] = field(default_factory=dict)
    """`num_ctx` that a model was served with since the last readings, and when that request ended."""
    unloaded: dict[str, float] = field(default_factory=dict)
    """Models that were asked to go by a client while idle, and when: lists may show them for a moment."""
    shown: Activity | None = None
    """The account as it was last given out, as long as nothing changed."""
    struck: dict[str, Grant] = field(default_factory=dict)
    """Grants that were struck off without their log line, the latest last."""
    mean: float = 0.0
    mean_at_s: float = inf
    """When the mean was taken last; never: it begins with nobody."""

    def average(self, now_s: float) -> None:
        """Take the present number of grants into the mean."""
        self.mean += (1 - exp(-max(0.0, now_s - self.mean_at_s) / MEAN_WINDOW_S)) * (len(self.grants) - self.mean)
        self.mean_at_s = now_s
        self.shown = None

    def add(self, grant: Grant) -> None:
        """Enter a grant."""
        self.grants[grant.request_id] = grant
        self._count(grant)

    def _count(self, grant: Grant) -> None:
        self.in_flight[grant.model] += 1
        self.asked_by[grant.process] += 1
        self.of_caller[grant.caller] += 1
        self.shown = None

    def drop(self, request_id: str) -> Grant:
        """Strike a grant off and return it."""
        grant = self.grants.pop(request_id)
        counted = (self.in_flight, grant.model), (self.asked_by, grant.process), (self.of_caller, grant.caller)
        for numbers, key in counted:
            numbers[key] -= 1
            if not numbers[key]:
                del numbers[key]
        self.shown = None
        return grant

    def strike(self, request_id: str) -> None:
        """Drop a grant whose line is taken for lost."""
        self.struck[request_id] = self.drop(request_id)
        if len(self.struck) > MAX_STRUCK:
            del self.struck[next(iter(self.struck))]

    def struck_of(self, process: str) -> list[Grant]:
        """Return a process's grants that were struck off, the latest last."""
        return [grant for grant in self.struck.values() if grant.process == process]

    def restore(self, grant: Grant) -> None:
        """Take a grant back that was struck off. It is old, so it comes first."""
        del self.struck[grant.request_id]
        self.grants = {grant.request_id: grant, **self.grants}
        self._count(grant)

    def load(self, grant: Grant, state: InstanceState | None, victims: tuple[str, ...]) -> None:
        """Note the load that a grant begins, if it begins one, and which models have to go for it."""
        if is_cloud(grant.model):
            return
        here = None if state is None else state.loaded.get(grant.model)
        if grant.tier is Tier.RELOAD:
            self._replace(grant.model, None if here is None else here.context_length)
        elif here is not None and grant.model not in self.leaving and not victims:
            return
        for about in (self.served, self.unloaded):
            about.pop(grant.model, None)
        self.loading.setdefault(grant.model, grant.at_s)
        self.options = {**self.options, grant.model: grant.options}
        if grant.context is not None:
            self.contexts[grant.model] = grant.context
        elif grant.tier is Tier.RELOAD:
            self.contexts.pop(grant.model, None)
        self.leaving = (self.leaving | frozenset(victims)) - {grant.model}
        self.shown = None

    def _replace(self, model: str, has: int | None) -> None:
        """Note that a model is loaded anew; it has this context, as far as the last readings show."""
        if self.answered.pop(model, None) is not None:
            # The load before is done, whatever they show.
            has = self.contexts.get(model, has)
            del self.loading[model]
        if has is not None:
            self.replaced[model] = has

    def unload(self, model: str, now_s: float) -> bool:
        """Note that a client has a model unloaded; tell whether it goes at once, because nobody uses it."""
        if model in self.in_flight:
            return False
        for about in (self.loading, *self._of_loads, self.served):
            about.pop(model, None)
        self.unloaded[model] = now_s
        self.shown = None
        return True

    def without_unloaded(self, state: InstanceState) -> InstanceState:
        """Return readings without the models that lists still show, although they go just now."""
        read_at_s = state.loaded_at_s or 0.0
        self.unloaded = {model: at_s for model, at_s in self.unloaded.items() if read_at_s <= at_s + GOING_S}
        kept = {model: here for model, here in state.loaded.items() if model not in self.unloaded}
        return state if len(kept) == len(state.loaded) else replace(state, loaded=kept)

    @property
    def _of_loads(self) -> tuple[dict[str, Any], ...]:
        """What is kept of each load beside its beginning."""
        return self.contexts, self.replaced, self.answered

    def serve(self, grant: Grant, now_s: float) -> None:
        """Note that a grant was answered well."""
        if grant.at_s >= self.loading.get(grant.model, inf):
            self.answered.setdefault(grant.model, now_s)
            self.shown = None
        if grant.context is not None:
            self.served[grant.model] = (grant.context, now_s)

    def read(self, state: InstanceState, at_s: float) -> None:
        """Take readings of a moment: loads that they show, or disprove, are no longer under way, and a
        model that is not listed any more has gone.
        """
        self.average(at_s)
        for model, since_s in list(self.loading.items()):
            # Readings that were asked for before it was answered for are older than what they seem to disprove.
            disproves_from_s = max(since_s + FRESH_S, self.answered.get(model, -inf))
            given_up = model not in self.in_flight and at_s > disproves_from_s
            if given_up or self._is_done(model, state, at_s) or at_s > since_s + LOADING_LIFETIME_S:
                del self.loading[model]
                for about in self._of_loads:
                    about.pop(model, None)
            elif model not in state.loaded and at_s > self.answered.get(model, inf):
                # It has gone since, or what was answered was its unloading (keep_alive 0): it loads again.
                self.loading[model] = self.answered.pop(model)
                self.shown = None
        here = state.loaded.keys() | self.loading.keys()
        self.options = {model: asked for model, asked in self.options.items() if asked and model in here}
        # A model that is still listed once nothing loads any more stays: another went, or the request was withdrawn.
        stay = not self.loading and not self.reserved
        self.leaving = frozenset() if stay else self.leaving.intersection(state.loaded)

    def loaded_by(self, state: InstanceState, at_s: float) -> list[str]:
        """Return the models that were loaded for requests of ours, as readings that are yet to be taken show."""
        return [model for model in self.loading if self._is_done(model, state, at_s)]

    def asked_for(self, model: str, context: int) -> bool:
        """Tell whether a request may be why the model has this context: one that asked for so much, or for more than
        it can do.
        """
        asked = [grant.context for grant in self.grants.values() if grant.model == model]
        asked += [self.contexts.get(model), *self.served.get(model, ())[:1]]
        return any(one is not None and one >= context for one in asked)

    def _is_done(self, model: str, state: InstanceState, at_s: float) -> bool:
        """`/api/ps` lists it, and not as it was before a load with another context; unless requests were answered
        since: more context than a model was trained for is cut, and nothing loads.
        """
        here = state.loaded.get(model)
        if here is None or at_s <= self.loading[model]:
            return False
        return here.context_length != self.replaced.get(model) or at_s > self.answered.get(model, inf)

    def trained(self, state: InstanceState, at_s: float) -> dict[str, int]:
        """Return the context that models are trained for, as far as these readings tell: where a request asked for
        more and was served, and the model has less, it was cut (server/sched.go needsReload cuts in the same way).
        """
        asked, self.served = self.served, {}
        known: dict[str, int] = {}
        for model, (context, ended_at_s) in asked.items():
            here = state.loaded.get(model)
            if here is not None and at_s > ended_at_s and 0 < here.context_length < context:
                known[model] = here.context_length
        return known

    def reserve(self, model: str, leaving: tuple[str, ...]) -> None:
        """Have these models take no more requests, so that `model` can load when they are idle."""
        self.reserved, self.leaving, self.shown = model, self.leaving | frozenset(leaving), None

    def unreserve(self) -> None:
        """Give that up."""
        self.reserved, self.leaving, self.shown = "", frozenset(), None

    def forget_models(self) -> None:
        """The instance is another server now."""
        for about in (self.loading, *self._of_loads, self.served, self.unloaded, self.options):
            about.clear()
        self.unreserve()

    def ledger(self) -> Ledger:
        """Return what the next agent must know."""
        loads = dict(self.loading), dict(self.contexts), dict(self.replaced), dict(self.answered)
        return Ledger(tuple(self.grants.values()), *loads, self.leaving, options=dict(self.options))

    def take(self, ledger: Ledger) -> None:
        """Go on where an agent before this one was. The readings may be newer: what they show is no longer loading."""
        for grant in ledger.grants:
            self.add(grant)
        self.loading.update(ledger.loading)
        self.contexts.update(ledger.contexts)
        self.replaced.update(ledger.replaced)
        self.answered.update(ledger.answered)
        self.options = {**self.options, **ledger.options}
        self.leaving = ledger.leaving
        self.shown = None

    def show(self) -> Activity:
        """Return the account, frozen."""
        if self.shown is None:
            loads = dict(self.loading), dict(self.answered), dict(self.contexts), self.options
            latest_s = self.grants[next(reversed(self.grants))].at_s if self.grants else -inf
            self.shown = Activity(dict(self.in_flight), 0, 0, *loads, self.mean, self.leaving, self.reserved, latest_s)
        return self.shown
