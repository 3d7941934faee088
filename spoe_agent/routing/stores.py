"""Which instance changes a model store, and so which store is changed.

One store, one writer: of the instances that share a store, the first that may serve does all its changes. Ollama guards
a store within one process only (server/download.go blobDownloadManager): two that pull the same file write the same
partial file, and there are no locks.

    upload, and create with uploaded files   the home store: the one with the most memory for models, else the first.
                                             Fixed by the fleet file, because an upload names no model
    pull, create from a model                a store that the new model is pinned to; of these one that has the model
                                             already (an update), else the home store, else the first
    delete, push, copy                       a store that has the model; of these one that it is pinned to, else the
                                             first. One that nobody has goes to the first: Ollama says so itself
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from spoe_agent.routing.change import Change, Verb
from spoe_agent.routing.choice import Candidate, Exclusion
from spoe_agent.routing.demand import Site
from spoe_agent.routing.names import display
from spoe_agent.routing.specs import FleetSpec

Excluded = Callable[[list[Site]], list[Candidate | None]]
"""Takes instances that can stand in for each other; returns for each the excluded Candidate, or None."""

UNREADABLE = Change(Verb.PULL)


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


class Writer(NamedTuple):
    """The instance that does the change, and every instance with why it does not."""

    best: Candidate | None
    candidates: tuple[Candidate, ...]


def writer(change: Change, fleet: FleetSpec, sites: Sequence[Site], excluded: Excluded) -> Writer:
    """Return the instance that does a change; none where no instance of the stores that could take it is up."""
    stores = _stores(sites)
    found: dict[str, Candidate] = {}
    best: Candidate | None = None
    for store in _ranked(change, fleet, stores):
        told = dict(zip([site.spec.name for site in store.sites], excluded(store.sites), strict=True))
        found |= {name: out or Candidate(name) for name, out in told.items()}
        best = best or _first(change, store, found)
    for store in stores:
        for site in store.sites:
            if site.spec.name not in found:
                found[site.spec.name] = Candidate(site.spec.name, *_other(change, store, stores))
    return Writer(best, tuple(found[site.spec.name] for site in sites))


def misplaced(change: Change, fleet: FleetSpec, sites: Sequence[Site]) -> str:
    """Return why a change cannot end well, for the caller; "" when it can."""
    if not change.has_uploads or not change.makes:
        return ""
    home = _home(_stores(sites))
    pins = fleet.rule(change.makes).instances
    if pins is None or any(site.spec.name in pins for site in home.sites):
        return ""
    return (
        f"model '{display(change.makes)}' is pinned to {', '.join(pins)}, but uploaded files go to the model store "
        f"'{home.name}'; create it on {pins[0]} directly, or pull it"
    )


def _stores(sites: Sequence[Site]) -> list[Store]:
    found: dict[str, Store] = {}
    for site in sites:
        found.setdefault(site.spec.store, Store(site.spec.store, [])).sites.append(site)
    return list(found.values())


def _home(stores: list[Store]) -> Store:
    """Return the store whose instances have the most memory for models; the first when that is not known of all."""
    rooms = [[site.spec.vram_bytes for site in store.sites] for store in stores]
    if any(None in room for room in rooms):
        return stores[0]
    return max(stores, key=lambda store: sum(site.spec.vram_bytes or 0 for site in store.sites))


def _ranked(change: Change, fleet: FleetSpec, stores: list[Store]) -> list[Store]:
    """Return the stores that may take the change, the best first."""
    home = _home(stores)
    if change.verb is Verb.UPLOAD or change.has_uploads:
        return [home]
    if change.verb in (Verb.PULL, Verb.CREATE):
        may = _pinned(change.makes, fleet, stores) or stores
        return sorted(may, key=lambda it: (not _has(it, change.uses), not _has(it, change.makes), it is not home))
    have = [store for store in stores if store.lists(change.uses)]
    # A copy goes where its new name is pinned, where that can be had.
    pinned = _pinned(change.makes or change.uses, fleet, stores)
    if have:
        return sorted(have, key=lambda it: it not in pinned)
    return [store for store in stores if store.is_unread and change.uses] or stores


def _has(store: Store, model: str) -> bool:
    return bool(model) and store.lists(model)


def _pinned(model: str, fleet: FleetSpec, stores: list[Store]) -> list[Store]:
    """Return the stores of the instances that a model is pinned to; none when it is not."""
    pins = fleet.rule(model).instances if model else None
    return [store for store in stores if pins is not None and any(site.spec.name in pins for site in store.sites)]


def _first(change: Change, store: Store, found: dict[str, Candidate]) -> Candidate | None:
    """Return the instance that writes a store. One that lists the model comes first: what a fleet file calls one store
    may be two.
    """
    may = [site for site in store.sites if found[site.spec.name].exclusion is None]
    model = change.uses or change.makes
    return next((found[site.spec.name] for site in sorted(may, key=lambda it: model not in it.state.installed)), None)


def _other(change: Change, store: Store, stores: list[Store]) -> tuple[Exclusion, str]:
    """Return what speaks against a store that was not among the ranked."""
    if change.verb is Verb.UPLOAD or change.has_uploads:
        return Exclusion.OTHER_STORE, f"uploads go to the store {_home(stores).name}"
    if change.verb in (Verb.PULL, Verb.CREATE):
        return Exclusion.NOT_PINNED, f"{display(change.makes)} is pinned to others"
    return Exclusion.NOT_INSTALLED, f"its store {store.name} does not list {display(change.uses)}"
