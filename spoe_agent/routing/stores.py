"""Which instances change the model stores, and so which stores are changed.

One store, one writer: of the instances that share a store, the first that may serve does all its changes. Ollama guards
a store within one process only (server/download.go blobDownloadManager): two that pull the same file write the same
partial file, and there are no locks.

    upload              every store: it names no model, and what is made of it may be for any of them
    pull                the stores that the new model is pinned to, else every store
    create              the same; where it is pinned to none, the stores that have the model it is made from
    copy                the stores that its new name is pinned to and that have the original, else every store
    delete              every store, for the same name is everywhere to be gone
    push                one store that has the model: one that it is pinned to, else the first

Who lacks what is copied or deleted says so itself (404); lists may be seconds old.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from spoe_agent.routing.change import Change, Verb
from spoe_agent.routing.choice import Candidate, Exclusion, Writing
from spoe_agent.routing.demand import Site
from spoe_agent.routing.names import display
from spoe_agent.routing.specs import FleetSpec

Excluded = Callable[[list[Site]], list[Candidate | None]]
"""Takes instances that can stand in for each other; returns for each the excluded Candidate, or None."""

UNREADABLE = Change(Verb.PULL)

_NO_MATTER_WHERE = frozenset({Verb.COPY, Verb.DELETE})
"""Changes that a store without the model has nothing to do with."""


class Store(NamedTuple):
    """One store, and the instances that have it, in file order."""

    name: str
    sites: list[Site]

    def lists(self, model: str) -> bool:
        """Tell whether the model is in it."""
        return any(model in site.state.installed for site in self.sites)

    @property
    def is_unread(self) -> bool:
        """No instance has told yet what is in it."""
        return all(site.state.installed_at_s is None or site.state.is_starting for site in self.sites)


class WritingPlan(NamedTuple):
    """What is to be done in which stores, and every instance with why it does nothing."""

    writings: tuple[Writing, ...]
    candidates: tuple[Candidate, ...]


def plan(change: Change, fleet: FleetSpec, sites: Sequence[Site], excluded: Excluded) -> WritingPlan:
    """Return the stores in which a change is made: where an instance is asked for, its own. Those that have nothing of
    the model are left out where nobody is up to say so.
    """
    stores = _stores(sites)
    meant = _meant(change, fleet, stores)
    found: dict[str, Candidate] = {}
    writings = []
    for store in meant:
        names = tuple(site.spec.name for site in store.sites)
        told = dict(zip(names, excluded(store.sites), strict=True))
        found |= {name: out or Candidate(name) for name, out in told.items()}
        if all(out is not None and out.exclusion is Exclusion.NOT_ASKED_FOR for out in told.values()):
            continue
        writers = _writers(change, store, found)
        if writers or not _is_known_without(change, store):
            writings.append(Writing(names, writers, "" if writers else found[names[0]].detail))
    for store in stores:
        for site in store.sites:
            if site.spec.name not in found:
                found[site.spec.name] = Candidate(site.spec.name, *_left_out(change, fleet, store))
    return WritingPlan(tuple(writings), tuple(found[site.spec.name] for site in sites))


def _stores(sites: Sequence[Site]) -> list[Store]:
    found: dict[str, Store] = {}
    for site in sites:
        found.setdefault(site.spec.store, Store(site.spec.store, [])).sites.append(site)
    return list(found.values())


def _meant(change: Change, fleet: FleetSpec, stores: list[Store]) -> list[Store]:
    """Return the stores that the change is for; of a push, the best first."""
    having = [store for store in stores if change.uses and store.lists(change.uses)]
    pinned = _pinned(change.makes, fleet, stores)
    if change.verb is Verb.PULL:
        return pinned or stores
    if change.verb is Verb.CREATE:
        return pinned or having or stores
    if change.verb is Verb.COPY:
        return [store for store in having if store in pinned] or stores
    if change.verb is Verb.PUSH:
        preferred = _pinned(change.uses, fleet, stores)
        having.sort(key=lambda it: it not in preferred)
        return having or [store for store in stores if store.is_unread and change.uses] or stores
    return stores


def _pinned(model: str, fleet: FleetSpec, stores: list[Store]) -> list[Store]:
    """Return the stores of the instances that a model is pinned to; none when it is not."""
    pins = fleet.rule(model).instances if model else None
    return [store for store in stores if pins is not None and any(site.spec.name in pins for site in store.sites)]


def _writers(change: Change, store: Store, found: dict[str, Candidate]) -> tuple[str, ...]:
    """Return the instances that can write a store, the first first. One that lists the model comes before others: what
    a fleet file calls one store may be two.
    """
    may = [site for site in store.sites if found[site.spec.name].exclusion is None]
    model = change.uses or change.makes
    return tuple(site.spec.name for site in sorted(may, key=lambda it: model not in it.state.installed))


def _is_known_without(change: Change, store: Store) -> bool:
    """Tell whether the change has nothing to do with this store."""
    return change.verb in _NO_MATTER_WHERE and not store.is_unread and not store.lists(change.uses)


def _left_out(change: Change, fleet: FleetSpec, store: Store) -> tuple[Exclusion, str]:
    """Return what speaks against a store that the change is not for."""
    if change.verb is not Verb.PUSH and change.makes and fleet.rule(change.makes).instances is not None:
        return Exclusion.NOT_PINNED, f"{display(change.makes)} is pinned to others"
    return Exclusion.NOT_INSTALLED, f"its store {store.name} does not list {display(change.uses)}"
