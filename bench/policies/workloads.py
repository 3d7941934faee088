"""Workloads: the requests of a mix for one fleet, at what load, with what troubles."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.policies.arrivals import Arrival
from bench.policies.fleets import regime
from bench.policies.mixes import WORKLOADS
from bench.policies.users import CLOSED, in_turns
from spoe_agent.simulator import InstanceProfile, Model
from spoe_agent.simulator.virtual.fleet import FleetPlan, fits, prefill_s, step_s
from spoe_agent.simulator.virtual.requests import Request
from spoe_agent.simulator.work import Work

SURGE_LOAD = 0.65
"""1.3 x the load at which such fleets saturate in practice (0.5: several models share each GPU)."""
SURGE_AT_S, SURGE_S = 1800.0, 600.0


PAST, PAST_EVERY = "W10", 5
"""The workload of which one in so many goes past the front."""


class TooShort(Exception):
    """A workload ends before the trouble that it is for is over; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests for one fleet at one load."""

    name: str
    requests: tuple[Request, ...]
    models: tuple[Model, ...]
    """Those that are asked for."""
    regime: str


def build(
    name: str,
    fleet: FleetPlan,
    load: float | None,
    seed: int,
    trace: Sequence[Arrival] | None,
    count: int | None = None,
) -> Workload:
    """Return a workload for a fleet, its times stretched or squeezed so that it offers the load.

    Args:
        name: a key of WORKLOADS.
        fleet: what it is for.
        load: part of the fleet's nominal capacity; None: a closed loop, where times follow from answers.
        seed: of everything that is drawn.
        trace: arrivals to replay; None: made up.
        count: only the first so many requests; None: all.

    Raises:
        TooShort: it ends before the surge, or before the fleet's first fault is over.
    """
    load = 1.0 if load is None else load
    pairs = WORKLOADS[name](fleet, seed, trace)[:count]
    pairs = [(arrival, replace(work, id=number)) for number, (arrival, work) in enumerate(pairs)]
    span_s = sum(_mean_solo_s(fleet, work) for _, work in pairs) / (load * fleet.capacity())
    stretch = span_s / max(1e-9, pairs[-1][0].at_s)
    times = [arrival.at_s * stretch for arrival, _ in pairs]
    if name == "RS":
        times = _surge(times, SURGE_LOAD / load)
    leaves = _impatient(len(pairs), seed) if name == "W7" else frozenset()
    requests = tuple(
        _request(fleet, arrival, work, at_s, 2.0 if work.id in leaves else None)
        for (arrival, work), at_s in zip(pairs, times, strict=True)
    )
    if name == PAST:
        requests = tuple(
            _past(fleet, request) if number % PAST_EVERY == 0 else request for number, request in enumerate(requests)
        )
    models = tuple(sorted({work.model for _, work in pairs}, key=lambda model: model.size_bytes))
    if name == CLOSED:
        requests = in_turns(requests, seed)
    least_s = _least_s(name, fleet)
    if requests[-1].at_s < least_s:
        raise TooShort(
            f"{name} on {fleet.name} at load {load:g} ends after {requests[-1].at_s:.0f} s, and its trouble is over "
            f"only after {least_s:.0f} s. Try more --requests, or a lower --load"
        )
    is_stress = least_s > 0
    return Workload(name, requests, models, "RS" if is_stress else _regime(fleet, models, requests))


def _past(fleet: FleetPlan, request: Request) -> Request:
    """Have somebody ask an instance by himself: one of those that hold the model, each in turn."""
    able = [server for server, profile in enumerate(fleet.instances) if fits(request.work.model, profile)]
    return replace(request, past=able[request.work.id // PAST_EVERY % len(able)])


def _least_s(name: str, fleet: FleetPlan) -> float:
    """Return until when a workload must go on so that the trouble is in it; 0 without any."""
    surge_s = SURGE_AT_S + SURGE_S if name == "RS" else 0.0
    return max(surge_s, 0.0 if fleet.fault is None else fleet.fault.first_s + fleet.fault.lasts_s)


def _request(fleet: FleetPlan, arrival: Arrival, work: Work, at_s: float, patience_s: float | None) -> Request:
    model = work.model
    able = [profile for profile in fleet.instances if fits(model, profile)]
    fresh = work.prompt_tokens if arrival.fresh_tokens is None else min(arrival.fresh_tokens, work.prompt_tokens)
    return Request(
        at_s=at_s,
        work=work,
        prefill_s=min(prefill_s(model, work.prompt_tokens, profile) for profile in able),
        fresh_prefill_s=min(prefill_s(model, fresh, profile) for profile in able),
        decode_s=min(_decode_s(work, profile) for profile in able),
        patience_s=patience_s,
    )


def _decode_s(work: Work, profile: InstanceProfile) -> float:
    return max(0, work.output_tokens - 1) * step_s(work.model, profile)


def _mean_solo_s(fleet: FleetPlan, work: Work) -> float:
    able = [profile for profile in fleet.instances if fits(work.model, profile)]
    each = [prefill_s(work.model, work.prompt_tokens, profile) + _decode_s(work, profile) for profile in able]
    return sum(each) / len(each)


def _surge(times: list[float], factor: float) -> list[float]:
    """Squeeze what comes after half an hour, for ten minutes, by the factor; then go on as before."""
    squeezed_s = SURGE_S * max(1.0, factor)
    end_s = SURGE_AT_S + squeezed_s
    return [
        at_s
        if at_s < SURGE_AT_S
        else SURGE_AT_S + (min(at_s, end_s) - SURGE_AT_S) * SURGE_S / squeezed_s + max(0.0, at_s - end_s)
        for at_s in times
    ]


def _impatient(count: int, seed: int) -> frozenset[int]:
    randomness = random.Random(seed + 1)
    return frozenset(number for number in range(count) if randomness.random() < 0.05)


def _regime(fleet: FleetPlan, models: tuple[Model, ...], requests: tuple[Request, ...]) -> str:
    work_s = dict.fromkeys((model.name for model in models), 0.0)
    for request in requests:
        work_s[request.work.model.name] += request.solo_s
    hottest_s = max(work_s.values())
    span_s = max(1e-9, requests[-1].at_s)
    return regime(fleet, models, hottest_s / sum(work_s.values()), hottest_s / span_s)
