"""The agent's whole state as plain data, for people and scripts.

Ages are seconds; nothing of a prompt is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from spoe_agent import __version__
from spoe_agent.admin import residents
from spoe_agent.admin.signs import Sign, of_gpus, of_health, of_models, of_readings, unlike
from spoe_agent.admin.wording import unserved, waits
from spoe_agent.agent.agent import Agent
from spoe_agent.gpus.group import SLOWING, failure
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.haproxy.contact import Contact
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.metrics.moment import Known
from spoe_agent.routing.hold import Ticket
from spoe_agent.routing.names import display
from spoe_agent.routing.snapshot import GpuGroup
from spoe_agent.routing.specs import InstanceSpec


def status(
    known: Known,
    limiter: Limiter,
    contact: Contact,
    started_s: float,
    now_s: float,
    warnings: Sequence[str] = (),
    most_held: int | None = None,
) -> dict[str, Any]:
    """Return everything, as of `now_s` on the agent's clock; of so many held requests only, the oldest."""
    look = Look(known, limiter, now_s)
    return {
        **look.head(contact, started_s, warnings),
        "instances": [look.instance(spec) for spec in look.specs],
        "hold": look.hold(most_held),
        "learned": _learned(known.agent, now_s),
    }


class Look:
    """An agent at one moment, to be told part by part: as long as nothing is awaited meanwhile."""

    def __init__(self, known: Known, limiter: Limiter, now_s: float) -> None:
        self._agent, self._watch, self._limiter, self._now_s = known.agent, known.watch, limiter, now_s
        self._health = known.watch.health
        self._snapshot = self._agent.board.snapshot({}, now_s, self._agent.learner.learned(now_s))
        self._unlike = unlike(self._agent.fleet, self._snapshot)
        self._readings, self._seats = known.gpus.board.readings, known.gpus.seats()
        self.specs = self._agent.fleet.instances
        """In the fleet file's order."""

    def head(self, contact: Contact, started_s: float, warnings: Sequence[str]) -> dict[str, Any]:
        """Return what is said first."""
        lately = unserved(self._agent.record.unserved.lately(self._now_s), self._now_s)
        return {
            "version": __version__,
            "up_s": round(self._now_s - started_s, 1),
            "warnings": [*warnings, *self._watch.faulty(), *lately],
            "grants": self._agent.board.grants,
            "haproxy": {**contact.status(), "missing": self._agent.missing_in_haproxy()},
        }

    def instance(self, spec: InstanceSpec) -> dict[str, Any]:
        """Return what there is to say of one instance."""
        name, agent, now_s, snapshot, limiter = spec.name, self._agent, self._now_s, self._snapshot, self._limiter
        health, state, active = self._health[name], snapshot.state(name), snapshot.active(name)
        gpus = snapshot.gpu(name)
        of_lists = [*of_models(spec, snapshot), *of_readings(health.note, state, now_s)]
        of_lists += [self._unlike[name]] if name in self._unlike else []
        loaded, loads = residents.loaded(spec, agent.fleet, state), residents.loads(spec, agent.fleet, snapshot)
        return {
            "name": name,
            "health": str(health.state),
            "since_s": round(now_s - health.since_s, 1),
            "evidence": health.evidence,
            "note": "; ".join(sign.what for sign in of_lists),
            "signs": [_sign(one) for one in (*of_health(health, now_s), *of_lists, *of_gpus(gpus))],
            "others": {display(model): round(takes_s, 1) for model, takes_s in sorted(state.others.items())},
            "drained": health.is_drained,
            "version": state.version,
            "store": spec.store,
            "vram_bytes": spec.vram_bytes,
            "loaded_age_s": _age(state.loaded_at_s, now_s),
            "total_bytes": spec.vram_bytes or gpus.total_bytes,
            "used_bytes": residents.used_bytes(loaded, loads, gpus.foreign_bytes or 0),
            "loaded": loaded,
            "loading": [display(model) for model in sorted(active.loading)],
            "loads": loads,
            "preloading": [display(model) for model in agent.preload.waiting(name)],
            "leaving": [display(model) for model in sorted(active.leaving)],
            "reserved": display(active.reserved) if active.reserved else None,
            "in_flight": {display(model): count for model, count in sorted(active.in_flight.items())},
            "connections": {"limit": limiter.now(name), "configured": limiter.configured(name)},
            "slowdown": round(limiter.slowdown(name), 2),
            "gpus": self._gpus(name, gpus) if name in snapshot.gpus else None,
        }

    def _gpus(self, name: str, gpus: GpuGroup) -> dict[str, Any]:
        return {
            "free_bytes": gpus.free_bytes,
            "total_bytes": gpus.total_bytes,
            "foreign_bytes": gpus.foreign_bytes,
            "age_s": None if gpus.age_s is None else round(gpus.age_s, 1),
            "slow": gpus.doubt.slow,
            "broken": gpus.doubt.broken,
            "notes": list(gpus.notes),
            "devices": _devices(self._seats.get(name, ()), self._readings),
        }

    def hold(self, most: int | None = None) -> dict[str, Any]:
        """Return who waits, so many at most: there may be thousands."""
        hold = self._agent.hold
        waiting = [self._ticket(position, ticket) for position, ticket in enumerate(islice(hold, most))]
        return {"length": len(hold), "oldest_s": waiting[0]["age_s"] if waiting else 0.0, "requests": waiting}

    def _ticket(self, position: int, ticket: Ticket) -> dict[str, Any]:
        facts = ticket.facts
        entry = self._agent.record.history.get(facts.request_id)
        return {
            "position": position,
            "id": facts.request_id,
            "model": display(facts.model or ""),
            "caller": self._agent.record.rows.caller(facts.caller),
            "priority": ticket.priority,
            "age_s": round(self._now_s - ticket.since_s, 1),
            "why": "" if entry is None else waits(entry.choice.instance, entry.choice.reason_text),
        }


def _sign(sign: Sign) -> dict[str, str]:
    return {"grade": str(sign.grade), "what": sign.what}


def _devices(uuids: Iterable[str], readings: Mapping[str, GpuReading]) -> list[dict[str, Any]]:
    """Return the GPUs one by one, as they were read last, however long ago."""
    return [
        {
            "uuid": one.uuid,
            "name": one.name,
            "utilisation": one.utilisation,
            "temperature_c": one.temperature_c,
            "power_w": one.power_w,
            "power_limit_w": one.power_limit_w,
            "throttle": sorted((one.throttle or frozenset()) & SLOWING),
            "fault": failure(one),
        }
        for one in (readings[uuid] for uuid in uuids if uuid in readings)
    ]


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
