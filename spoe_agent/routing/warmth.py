"""How warm an instance is for a model, and what would have to go for it.

Lives here: tiers, memory, victims.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from spoe_agent.routing import estimates
from spoe_agent.routing.choice import EVICT, LOADED, LOADING, RELOAD, ROOM, Tier
from spoe_agent.routing.context import unasked
from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.memory import RUNNER_BYTES
from spoe_agent.routing.snapshot import NO_GPUS, Health

FIT_FRACTION = 0.8
"""Part of the free memory that a model may take beside others."""


class Standing(NamedTuple):
    """How warm an instance is for the model, and what must go for it."""

    tier: Tier
    gone: tuple[str, ...] = ()
    """Idle ones first, and of those the ones least missed."""
    regret_s: float = 0.0
    """What their going costs."""
    spill: float = 0.0
    """Part of a model yet to load that would be on the CPU, though it were alone."""


class Crowd(NamedTuple):
    """A model has no room beside others. Which of them must go is yet to be said: that goes by what they are worth."""

    tier: Tier
    others: tuple[tuple[bool, str, int], ...]
    """Of each whether it is busy, its canonical key, and its bytes."""
    needed: int
    free: int | None
    spill: float


_LOADED, _LOADING, _ROOM = (Standing(tier) for tier in (LOADED, LOADING, ROOM))
_TO_LOAD = (RELOAD, ROOM, EVICT)


def stand(demand: Demand, site: Site) -> Standing:
    """Return how warm the instance is for the model, and what must go for it."""
    found = outlook(demand, site)
    return evict(demand, site, found) if isinstance(found, Crowd) else found


def outlook(demand: Demand, site: Site) -> Standing | Crowd:
    """Return how warm the instance is for the model, as far as neither times nor rates that were learned matter."""
    model, activity = demand.model, site.activity
    if model in activity.loading:
        loads_with = _asked_for(demand, site, model) or _unasked(demand, site, model) or 0
        is_same = not _other_context(demand, site, loads_with) and not _other_options(demand, site)
        return _loading(demand, site) if is_same else _again(demand, site)
    if model in site.state.loaded and model not in activity.leaving:
        has = site.state.loaded[model].context_length
        is_same = not _other_context(demand, site, has) and not _other_options(demand, site)
        return _LOADED if is_same else _again(demand, site)
    return _beside(demand, site, residents(demand, site))


def has_copy(demand: Demand, site: Site) -> bool:
    """Tell whether the model is loaded on the instance, or about to be."""
    is_gone = site.state.health is Health.DOWN or demand.model in site.activity.leaving
    return not is_gone and (demand.model in site.state.loaded or demand.model in site.activity.loading)


def has_slot(demand: Demand, site: Site, standing: Standing) -> bool:
    """Tell whether the request could run there at once, or as soon as the model is loaded.

    Never where a busy model would have to go: Ollama drains it while new requests for it still come in, which can
    wedge its scheduler for all models that are not loaded (ollama#17408). So nobody is sent to a model that is to go
    either, and where one is to load, no other begins to.
    """
    tier, gone, activity = standing.tier, standing.gone, site.activity
    if site.connections >= site.spec.max_connections or demand.model in activity.leaving:
        return False
    # Idle ones go first: if any is busy, the last one is.
    if (activity.reserved and tier in _TO_LOAD) or (gone and site.busy(gone[-1]) >= 1):
        return False
    if tier is RELOAD:
        return site.busy(demand.model) < 1
    return tier is EVICT or site.busy(demand.model) + 1 <= site.slots(demand)


def _other_context(demand: Demand, site: Site, has: int) -> bool:
    """needsReload (server/sched.go): another num_ctx than the runner has, be it less or more. What a request does not
    ask for is as Ollama loads the model unasked.
    """
    wanted = demand.context
    if wanted is None and (not has or has == site.state.own_contexts.get(demand.model)):
        return False
    if wanted is None:
        wanted = _unasked(demand, site, demand.model)
    return bool(has) and wanted is not None and has != wanted


def _unasked(demand: Demand, site: Site, model: str) -> int | None:
    return unasked(site.spec, site.state, demand.snapshot, model)


def _other_options(demand: Demand, site: Site) -> bool:
    """The rest of needsReload. What others loaded was loaded without any, as far as is known here."""
    return site.activity.options.get(demand.model, "") != demand.facts.runner_options


def _again(demand: Demand, site: Site) -> Standing | Crowd:
    """Loading again with another context or other options, for which others may have to go."""
    beside = _beside(demand, site, residents(demand, site))
    return beside._replace(tier=RELOAD)


def _loading(demand: Demand, site: Site) -> Standing:
    """Who joins a load has what becomes of it."""
    spill = _beside(demand, site, residents(demand, site)).spill
    return Standing(LOADING, spill=spill) if spill else _LOADING


def residents(demand: Demand, site: Site) -> list[str]:
    """Return the other models that take, or are about to take, memory on the instance, and stay."""
    loaded, loading, leaving = site.state.loaded, site.activity.loading, site.activity.leaving
    names = [*loaded, *[name for name in loading if name not in loaded]] if loading else loaded
    return [name for name in names if name != demand.model and name not in leaving]


def _beside(demand: Demand, site: Site, others: list[str]) -> Standing | Crowd:
    """Return whether the model has room beside others, or some of them must go before it can load."""
    loaded, room = site.state.loaded, room_bytes(demand, site)
    if not others and room is None and site.spec.vram_bytes is None:
        return _ROOM
    # As `/api/ps` says: less than its size when part of it is on the CPU.
    used = [loaded[name].vram_bytes if name in loaded else _expected(demand, site, name) for name in others]
    taken = sum(used)
    free = None if room is None else room - taken
    needed = _needed(demand, site, demand.model, demand.context)
    spill = 0.0 if room is not None and needed <= room and taken else _spill(site, needed, room, taken)
    if _has_room(site, needed, free, len(others)):
        return Standing(ROOM, spill=spill) if spill else _ROOM
    in_flight, unaccounted, theirs = site.activity.in_flight, site.unaccounted, site.state.others
    busy = [in_flight.get(name, 0) + unaccounted >= 1 or name in theirs for name in others]
    return Crowd(EVICT, tuple(zip(busy, others, used, strict=True)), needed, free, spill)


def evict(demand: Demand, site: Site, crowd: Crowd) -> Standing:
    """Return which models must go before the model can load: idle ones first, and of those the ones least missed per
    byte that is freed, which is Landlord's credit by size and cost (Young 1998).

    They are unloaded by the agent's own request (keep_alive 0) just before the load: Ollama, left to itself, takes the
    first by the path of its blob (server/sched.go findRunnerToUnload), whatever that is worth.
    """
    instance, regrets, known_s = site.spec.name, demand.regrets, demand.snapshot.learned.load_s
    found = []
    for is_busy, name, size in crowd.others:
        load_s = known_s.get((name, instance))
        missed_s = regrets[name] * (demand.models[name].load_s if load_s is None else load_s)
        found.append((is_busy, missed_s / (size or 1), name, size, missed_s))
    found.sort()
    needed, free, stay = crowd.needed, crowd.free, len(found)
    gone: list[str] = []
    regret_s = 0.0
    for _, _, name, size, missed_s in found:
        gone.append(name)
        regret_s += missed_s
        free = None if free is None else free + size
        stay -= 1
        if _has_room(site, needed, free, stay):
            break
    return Standing(crowd.tier, tuple(gone), regret_s, crowd.spill)


def _spill(site: Site, needed: int, room: int | None, taken: int) -> float:
    """Return the part of the model that would be on the CPU though it were alone on the instance.

    Where nobody says what room there is, others tell that did not find enough; and where nothing at all is on GPUs,
    there are none, whatever the file says.
    """
    if site.spec.vram_bytes == 0:
        return 1.0
    if room is None or not taken:
        loaded = site.state.loaded.values()
        if any([one.size_bytes > one.vram_bytes for one in loaded]):
            room = sum([one.vram_bytes for one in loaded])
    return 0.0 if room is None or needed <= room else 1.0 - room / needed


def _has_room(site: Site, needed: int, free: int | None, others: int) -> bool:
    """Tell whether a model can load beside so many others, which leave so much memory free (None: not known).

    Beside others Ollama wants a fifth of the free memory to stay free (server/sched.go:547), where it counts only what
    `/api/ps` says; each takes more than that, and what finds no room spills. Alone, a model is always tried.
    """
    if not others:
        return True
    if others >= site.spec.max_loaded_models:
        return False
    return free is None or (needed <= FIT_FRACTION * free and needed + (others + 1) * RUNNER_BYTES <= free)


def has_room_for_all(demand: Demand, site: Site) -> bool:
    """Tell whether every model that is in use can be loaded on the instance at once."""
    used = demand.models.in_use.union([demand.model], residents(demand, site))
    if len(used) > site.spec.max_loaded_models:
        return False
    room = room_bytes(demand, site)
    if room is not None:
        room = min(int(FIT_FRACTION * room), room - len(used) * RUNNER_BYTES)
    return room is None or sum([_needed(demand, site, model, None) for model in used]) <= room


def load_order(demand: Demand, site: Site, models: Sequence[str]) -> list[str]:
    """Return the order in which models are to be loaded on an instance that has none: as they come where any order will
    do; the largest first where they fit together, but not one beside all others (`_has_room`). If any order leaves room
    for all, this does: of two neighbours the larger may always change places with a smaller one before it.
    """
    needed = {model: _needed(demand, site, model, None) for model in models}
    room, total = room_bytes(demand, site), sum(needed.values())
    if room is None or total <= FIT_FRACTION * room or total + len(needed) * RUNNER_BYTES > room:
        return list(models)
    return sorted(models, key=lambda model: -needed[model])


def room_bytes(demand: Demand, site: Site) -> int | None:
    """Return what the instance's models can have of its GPU group: the fleet file's word or the group's memory, less
    what other programs hold. None: not known, or it runs on the CPU.
    """
    gpus = site.gpus
    if site.spec.vram_bytes == 0:
        return None
    if gpus is NO_GPUS:
        return site.spec.vram_bytes
    known = [size for size in (site.spec.vram_bytes, gpus.total_bytes) if size is not None]
    return max(0, min(known) - (gpus.foreign_bytes or 0)) if known else None


def _needed(demand: Demand, site: Site, model: str, context: int | None) -> int:
    about = demand.models[model]
    if context is None and model not in site.state.loaded:
        context = _unasked(demand, site, model)
    return estimates.vram_bytes(model, about.rule, about.weights_bytes, site.spec, site.state, context)


def _expected(demand: Demand, site: Site, model: str) -> int:
    """Return what a model that loads just now will take."""
    return _needed(demand, site, model, _asked_for(demand, site, model))


def _asked_for(demand: Demand, site: Site, model: str) -> int | None:
    """Return the context that a load under way was asked for, as far as the model can do it."""
    asked = site.activity.contexts.get(model)
    return None if asked is None else min(asked, demand.snapshot.trained.get(model, asked))
