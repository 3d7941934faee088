"""The agent's whole state as plain data, for people and scripts.

Ages are seconds; nothing of a prompt is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spoe_agent import __version__
from spoe_agent.agent.agent import Agent
from spoe_agent.haproxy.contact import Contact
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.instances.spills import spilled
from spoe_agent.instances.watch import Watch
from spoe_agent.routing.hold import Ticket
from spoe_agent.routing.names import display
from spoe_agent.routing.snapshot import GpuGroup, InstanceState, LoadedModel, Snapshot
from spoe_agent.routing.specs import FleetSpec, InstanceSpec


def status(
    agent: Agent,
    watch: Watch,
    limiter: Limiter,
    contact: Contact,
    started_s: float,
    now_s: float,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Return everything, as of `now_s` on the agent's clock."""
    snapshot = agent.board.snapshot({}, now_s)
    return {
        "version": __version__,
        "up_s": round(now_s - started_s, 1),
        "warnings": [*warnings, *watch.faulty()],
        "grants": agent.board.grants,
        "haproxy": {**contact.status(), "missing": agent.missing_in_haproxy()},
        "instances": [_instance(spec, agent, snapshot, watch, limiter, now_s) for spec in agent.fleet.instances],
        "hold": _hold(agent, now_s),
        "learned": _learned(agent, now_s),
    }


def _instance(
    spec: InstanceSpec, agent: Agent, snapshot: Snapshot, watch: Watch, limiter: Limiter, now_s: float
) -> dict[str, Any]:
    name = spec.name
    health, state, active = watch.health[name], snapshot.state(name), snapshot.active(name)
    return {
        "name": name,
        "health": str(health.state),
        "since_s": round(now_s - health.since_s, 1),
        "evidence": health.evidence,
        "note": "; ".join(
            [*_misplaced(spec, snapshot), *_notes(health.note, state, now_s), *_unlike(spec, agent.fleet, snapshot)]
        ),
        "others": {display(model): round(takes_s, 1) for model, takes_s in sorted(state.others.items())},
        "drained": health.is_drained,
        "version": state.version,
        "store": spec.store,
        "loaded_age_s": _age(state.loaded_at_s, now_s),
        "loaded": [_model(model, loaded) for model, loaded in sorted(state.loaded.items())],
        "loading": [display(model) for model in sorted(active.loading)],
        "preloading": [display(model) for model in agent.preload.waiting(name)],
        "leaving": [display(model) for model in sorted(active.leaving)],
        "reserved": display(active.reserved) if active.reserved else None,
        "in_flight": {display(model): count for model, count in sorted(active.in_flight.items())},
        "connections": {"limit": limiter.now(name), "configured": limiter.configured(name)},
        "slowdown": round(limiter.slowdown(name), 2),
        "gpus": _gpus(snapshot.gpu(name), snapshot.gpus.get(name) is not None),
    }


def _notes(note: str, state: InstanceState, now_s: float) -> list[str]:
    spilled = [display(model) for model, loaded in sorted(state.loaded.items()) if loaded.spilled_bytes]
    notes = [f"in transition: {note}"] if note else []
    if state.others:
        notes.append(f"used past Pointsman too: {', '.join(display(model) for model in sorted(state.others))}")
    notes += [f"passed over for a while: {term.why}" for term in state.avoided.values() if now_s < term.until_s]
    return [*notes, *(f"{model} is partly on the CPU" for model in spilled)]


def _misplaced(spec: InstanceSpec, snapshot: Snapshot) -> list[str]:
    """Say what is on the CPU that need not be."""
    state = snapshot.state(spec.name)
    names = ", ".join(map(display, spilled(spec, state, snapshot.gpu(spec.name))))
    found = [f"{names}: the GPUs would hold all of it; unloaded as soon as it is idle"] if names else []
    return [state.lost_gpus] if state.lost_gpus else found


def _unlike(own: InstanceSpec, fleet: FleetSpec, snapshot: Snapshot) -> list[str]:
    """Say when an instance does not list what others of its store list: perhaps they do not share one."""
    here = snapshot.state(own.name)
    if here.installed_at_s is None or here.is_starting:
        return []
    for spec in fleet.instances:
        missing = snapshot.state(spec.name).installed.keys() - here.installed.keys()
        if spec.store == own.store and missing:
            example = display(min(missing))
            return [f"does not list {example} as {spec.name} does: give each its own `store` if they share none"]
    return []


def _model(model: str, loaded: LoadedModel) -> dict[str, Any]:
    return {
        "model": display(model),
        "size_bytes": loaded.size_bytes,
        "vram_bytes": loaded.vram_bytes,
        "context_length": loaded.context_length,
    }


def _gpus(gpus: GpuGroup, is_read: bool) -> dict[str, Any] | None:
    if not is_read:
        return None
    return {
        "free_bytes": gpus.free_bytes,
        "total_bytes": gpus.total_bytes,
        "foreign_bytes": gpus.foreign_bytes,
        "age_s": None if gpus.age_s is None else round(gpus.age_s, 1),
        "slow": gpus.doubt.slow,
        "broken": gpus.doubt.broken,
        "notes": list(gpus.notes),
    }


def _hold(agent: Agent, now_s: float) -> dict[str, Any]:
    waiting = [_ticket(position, ticket, now_s) for position, ticket in enumerate(agent.hold)]
    return {"length": len(waiting), "oldest_s": waiting[0]["age_s"] if waiting else 0.0, "requests": waiting}


def _ticket(position: int, ticket: Ticket, now_s: float) -> dict[str, Any]:
    return {
        "position": position,
        "id": ticket.facts.request_id,
        "model": display(ticket.facts.model or ""),
        "caller": ticket.facts.caller,
        "priority": ticket.priority,
        "age_s": round(now_s - ticket.since_s, 1),
    }


def _learned(agent: Agent, now_s: float) -> dict[str, Any]:
    learned = agent.learner.learned(now_s)
    return {
        "service_s": [_pair(pair, seconds) for pair, seconds in sorted(learned.service_s.items())],
        "load_s": [_pair(pair, seconds) for pair, seconds in sorted(learned.load_s.items())],
        "rate_per_s": {display(model): round(rate, 4) for model, rate in sorted((learned.rate_per_s or {}).items())},
    }


def _pair(pair: tuple[str, str], seconds: float) -> dict[str, Any]:
    return {"model": display(pair[0]), "instance": pair[1], "seconds": round(seconds, 3)}


def _age(at_s: float | None, now_s: float) -> float | None:
    return None if at_s is None else round(now_s - at_s, 1)
