"""What speaks against an instance, or is to be known of it, each with how bad it is: for status, dashboard and top.

Graded once, here: whoever shows it has a colour for each grade.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from spoe_agent.instances.health import InstanceHealth
from spoe_agent.instances.spills import spilled
from spoe_agent.routing.names import display
from spoe_agent.routing.snapshot import GpuGroup, Health, InstanceState, Snapshot
from spoe_agent.routing.specs import FleetSpec, InstanceSpec


class Grade(StrEnum):
    """How bad it is; the worst first."""

    BAD = "bad"
    """It costs requests, or an instance."""
    DOUBT = "doubt"
    """Something is slower, avoided or not as the fleet file says."""
    NOTE = "note"
    """To be known, and nobody's fault."""


class Sign(NamedTuple):
    """One thing."""

    grade: Grade
    what: str


OF_HEALTH = {
    Health.DOWN: Grade.BAD,
    Health.SUSPECT: Grade.BAD,
    Health.RECOVERING: Grade.DOUBT,
    Health.UNKNOWN: Grade.NOTE,
    Health.DRAINED: Grade.NOTE,
}


def of_health(health: InstanceHealth, now_s: float) -> list[Sign]:
    """Say why an instance is not up, and what broke off there lately."""
    grade, broken = OF_HEALTH.get(health.state), health.broken
    found = [] if grade is None else [Sign(grade, health.evidence)]
    if broken is None or broken.is_over(now_s):
        return found
    times = f"{broken.requests} request{'s' * (broken.requests > 1)}"
    what = f"{times} broke off lately, the last of {display(broken.model)} {now_s - broken.at_s:.0f} s ago"
    return [*found, Sign(Grade.DOUBT, what)]


def of_models(spec: InstanceSpec, snapshot: Snapshot) -> list[Sign]:
    """Say what is on the CPU, and what of it need not be."""
    state = snapshot.state(spec.name)
    if state.lost_gpus:
        return [Sign(Grade.BAD, state.lost_gpus)]
    names = ", ".join(map(display, spilled(spec, state, snapshot.gpu(spec.name))))
    what = f"{names}: the GPUs would hold all of it; unloaded as soon as it is idle"
    found = [Sign(Grade.DOUBT, what)] if names else []
    # On an instance without GPUs they are where they belong.
    on_cpu = [display(model) for model, loaded in sorted(state.loaded.items()) if loaded.spilled_bytes]
    return found + [Sign(Grade.DOUBT, f"{name} is partly on the CPU") for name in on_cpu if spec.vram_bytes != 0]


def of_readings(slow_lists: str, state: InstanceState, now_s: float) -> list[Sign]:
    """Say what the instance's lists show. `slow_lists`: why they do not come; "" when they do."""
    found = [Sign(Grade.NOTE, f"in transition: {slow_lists}")] if slow_lists else []
    if state.others:
        names = ", ".join(map(display, sorted(state.others)))
        found.append(Sign(Grade.NOTE, f"used past Pointsman too: {names}"))
    for term in state.avoided.values():
        if now_s < term.until_s:
            found.append(Sign(Grade.DOUBT, f"passed over for a while: {term.why}"))
    return found


def of_gpus(gpus: GpuGroup) -> list[Sign]:
    """Say what telemetry has against it."""
    found = [Sign(Grade.DOUBT, gpus.doubt.slow)] if gpus.doubt.slow else []
    found += [Sign(Grade.BAD, gpus.doubt.broken)] if gpus.doubt.broken else []
    return [*found, *(Sign(Grade.DOUBT, note) for note in gpus.notes)]


def unlike(fleet: FleetSpec, snapshot: Snapshot) -> dict[str, Sign]:
    """Say by instance when it does not list what others of its store list: perhaps they do not share one."""
    stores: dict[str, list[str]] = {}
    for spec in fleet.instances:
        stores.setdefault(spec.store, []).append(spec.name)
    found: dict[str, Sign] = {}
    for names in stores.values():
        listed = {name: snapshot.state(name).installed.keys() for name in names}
        every = set().union(*listed.values())
        for name in names:
            state = snapshot.state(name)
            if len(listed[name]) < len(every) and state.installed_at_s is not None and not state.is_starting:
                found[name] = _lacks(name, listed)
    return found


def _lacks(name: str, listed: Mapping[str, Iterable[str]]) -> Sign:
    here = set(listed[name])
    other, missing = next((one, lacks) for one in listed if (lacks := set(listed[one]) - here))
    what = f"does not list {display(min(missing))} as {other} does: give each its own `store` if they share none"
    return Sign(Grade.DOUBT, what)


def faults(status: dict[str, Any]) -> list[dict[str, str]]:
    """Return all that is wrong in a status, the worst first: `grade`, `where` ("" when it is no instance's), `what`."""
    warning = status["haproxy"]["warning"]
    found = [{"grade": str(Grade.BAD), "where": "", "what": warning}] if warning else []
    found += [{"grade": str(Grade.DOUBT), "where": "", "what": warning} for warning in status["warnings"]]
    for one in status["instances"]:
        signs = [sign for sign in one["signs"] if sign["grade"] != Grade.NOTE]
        if signs:
            state = f"{one['health']}: " if Health(one["health"]) in _ILL else ""
            what = state + "; ".join(sign["what"] for sign in signs)
            found.append({"grade": min(map(_grade, signs), key=_RANK.index), "where": one["name"], "what": what})
    return sorted(found, key=_grade_rank)


_ILL = (Health.DOWN, Health.SUSPECT, Health.RECOVERING)
_RANK = [str(grade) for grade in Grade]


def _grade(one: dict[str, str]) -> str:
    return one["grade"]


def _grade_rank(one: dict[str, str]) -> int:
    return _RANK.index(one["grade"])
