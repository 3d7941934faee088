"""A plan for people: what fits where, term by term, and what does not, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spoe_agent.plan.entries import PlannedInstance, called
from spoe_agent.plan.proposal import Missing, Plan, PlannedGroup
from spoe_agent.routing.memory import Footprint

GIB = 1 << 30


def report(plan: Plan, made: Sequence[PlannedInstance]) -> str:
    """Return the whole text."""
    lines = ["Memory in GiB: weights + cache of all slots + buffers + runner. 1 GiB of each GPU stays free."]
    for group, entry in zip(plan.groups, made, strict=True):
        lines += ["", *_instance(group, entry, plan, made)]
    homeless = [one for one in plan.missing if one.wish.model not in plan.homes]
    fewer = [one for one in plan.missing if one.wish.model in plan.homes]
    if homeless:
        lines += ["", "Not loaded beside the others:", *(_homeless(one, plan) for one in homeless)]
    if fewer:
        lines += ["", "Fewer copies than the demand needs:", *map(_fewer, fewer)]
    if not plan.missing:
        lines += ["", "Everything fits at the same time."]
    return "\n".join(lines) + "\n"


def _instance(
    group: PlannedGroup, entry: PlannedInstance, plan: Plan, made: Sequence[PlannedInstance]
) -> Iterator[str]:
    settings = f"num_parallel {entry.num_parallel}, context {entry.context}, max_loaded_models {entry.max_loaded}"
    gpus = ", ".join(map(str, entry.gpus))
    yield f"{entry.name} on GPU {gpus}: {settings}, max_connections {entry.max_connections}"
    found = group.room.footprints(group.wishes) if group.wishes else []
    for wish, taken in zip(group.wishes, found, strict=True):
        others = [made[home].name for home in plan.homes[wish.model] if made[home].name != entry.name]
        remarks = [f"demand {wish.demand:g}", *([f"also on {', '.join(others)}"] if others else [])]
        remarks += [] if wish.shape else ["cache guessed from its size: no Ollama told its shape"]
        yield f"  {called(wish):30} {_terms(taken)}  ({'; '.join(remarks)})"
    total = sum(taken.total for taken in found)
    yield f"  {total / GIB:.1f} of {group.room.usable / GIB:.1f}" if found else "  nothing lives here"


def _terms(taken: Footprint) -> str:
    parts = [f"{size / GIB:.1f}" for size in (taken.weights, taken.cache, taken.buffers, taken.runner)]
    return f"{' + '.join(parts)} = {taken.total / GIB:.1f}"


def _homeless(one: Missing, plan: Plan) -> str:
    fits = any(group.room.holds([one.wish]) for group in plan.groups)
    return f"  {called(one.wish)}: {one.why}" + ("; it is loaded in turn with others" if fits else "")


def _fewer(one: Missing) -> str:
    there = one.wish.copies - one.copies
    return f"  {called(one.wish)}: {there} of {one.wish.copies} for a demand of {one.wish.demand:g}; {one.why}"
