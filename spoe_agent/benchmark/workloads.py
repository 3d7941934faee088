"""Workloads W1 to W7: which model each arrival asks for, at what load, with what troubles.

Must not live here: where arrivals come from (arrivals, generator), policies.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from spoe_agent.benchmark.arrivals import Arrival
from spoe_agent.benchmark.bursts import bursts
from spoe_agent.benchmark.drift import drift
from spoe_agent.benchmark.fleets import EMBEDDER, FleetPlan, fits, prefill_s, regime, step_s
from spoe_agent.benchmark.generator import Traffic, converse, generate, zipf_weights
from spoe_agent.benchmark.requests import Request
from spoe_agent.benchmark.users import CLOSED, in_turns
from spoe_agent.simulator import InstanceProfile, Model
from spoe_agent.simulator.work import Kind, Work

SURGE_LOAD = 0.65
"""1.3 x the load at which such fleets saturate in practice (0.5: several models share each GPU)."""
SURGE_AT_S, SURGE_S = 1800.0, 600.0

REPLAYED = frozenset({"W1", "WX", "RS"})
"""Of a trace that names models these are the same whatever the seed."""


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


Rule = Callable[[FleetPlan, int, "Sequence[Arrival] | None"], list[tuple[Arrival, Work]]]


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


def varies(name: str, trace: Sequence[Arrival] | None) -> bool:
    """Tell whether a workload's requests are others with another seed."""
    return trace is None or name not in REPLAYED or any(arrival.rank is None for arrival in trace)


def _least_s(name: str, fleet: FleetPlan) -> float:
    """Return until when a workload must go on so that the trouble is in it; 0 without any."""
    surge_s = SURGE_AT_S + SURGE_S if name == "RS" else 0.0
    return max(surge_s, 0.0 if fleet.fault is None else fleet.fault.first_s + fleet.fault.lasts_s)


def _popular_small_first(fleet: FleetPlan, seed: int, trace: Sequence[Arrival] | None) -> list[tuple[Arrival, Work]]:
    arrivals = _arrivals(seed, trace)
    return _asking(arrivals, _mapping(arrivals, fleet.models))


def _permuted(fleet: FleetPlan, seed: int, trace: Sequence[Arrival] | None) -> list[tuple[Arrival, Work]]:
    arrivals = _arrivals(seed, trace)
    models = list(fleet.models)
    random.Random(seed).shuffle(models)
    return _asking(arrivals, _mapping(arrivals, models))


def _one_hot(fleet: FleetPlan, seed: int, trace: Sequence[Arrival] | None) -> list[tuple[Arrival, Work]]:
    """The most popular is a model of middle size, so that no single instance can carry it."""
    arrivals = _arrivals(seed, trace)
    models = list(fleet.models)
    models.insert(0, models.pop(len(models) // 2))
    return _asking(arrivals, _mapping(arrivals, models))


def _other_hours(fleet: FleetPlan, seed: int, trace: Sequence[Arrival] | None) -> list[tuple[Arrival, Work]]:
    """Popular over the day are small models; in this window others may be."""
    ranks = [f"M{rank:02}" for rank in range(1, len(fleet.models) + 1)]
    return _asking(drift(Traffic(ranks=len(ranks)), seed), dict(zip(ranks, fleet.models, strict=True)))


def _crowds(fleet: FleetPlan, seed: int, trace: Sequence[Arrival] | None) -> list[tuple[Arrival, Work]]:
    """Crowds for a model of middle size come on top of W1."""
    background = _popular_small_first(fleet, seed, trace)
    label = "crowd"
    # Azure's trace names no models, so all of its requests are of one kind.
    known = trace if trace is not None and all(arrival.rank is None for arrival in trace) else ()
    crowd = bursts(label, background[-1][0].at_s, seed, known)
    pairs = background + _asking(crowd, {label: fleet.models[len(fleet.models) // 2]})
    return sorted(pairs, key=lambda pair: pair[0].at_s)


def _poisson(zipf: float) -> Rule:
    def rule(fleet: FleetPlan, seed: int, trace: Sequence[Arrival] | None) -> list[tuple[Arrival, Work]]:
        arrivals = generate(Traffic(ranks=len(fleet.models), zipf=zipf, is_bursty=False), seed)
        return _asking(arrivals, _mapping(arrivals, fleet.models))

    return rule


def _sessions(fleet: FleetPlan, seed: int, trace: Sequence[Arrival] | None) -> list[tuple[Arrival, Work]]:
    """Conversations; those of a trace of long contexts are cut to a quarter, as the pinned context asks."""
    if trace is not None and any(arrival.session for arrival in trace):
        arrivals = [_quarter(arrival) for arrival in trace]
    else:
        arrivals = converse(Traffic(ranks=len(fleet.models)), seed)
    arrivals = _ranked(arrivals, len(fleet.models), seed)
    return _asking(arrivals, _mapping(arrivals, fleet.models))


def _mixed(fleet: FleetPlan, seed: int, trace: Sequence[Arrival] | None) -> list[tuple[Arrival, Work]]:
    """One in ten is an embedding, one in twenty asks for twice the context (which forces a reload)."""
    randomness = random.Random(seed)
    pairs = []
    for arrival, work in _popular_small_first(fleet, seed, trace):
        draw = randomness.random()
        if draw < 0.10:
            tokens = min(work.prompt_tokens, EMBEDDER.context_limit)
            work = Work(work.id, EMBEDDER, Kind.EMBED, prompt_tokens=tokens, output_tokens=0)
            arrival = replace(arrival, fresh_tokens=None)
        elif draw < 0.15:
            work = replace(work, num_ctx=2 * fleet.instances[0].context_length)
        pairs.append((arrival, work))
    return pairs


WORKLOADS: dict[str, Rule] = {
    "W1": _popular_small_first,
    "W2": _permuted,
    "W3": _other_hours,
    "W4-0.6": _poisson(0.6),
    "W4-1.05": _poisson(1.05),
    "W4-1.8": _poisson(1.8),
    "W5": _crowds,
    "W6": _sessions,
    "W7": _mixed,
    "WX": _one_hot,
    "RS": _popular_small_first,
    CLOSED: _popular_small_first,
}
"""By name: W1 popular models are small, W2 any model may be popular, W3 other hours of the day, W4 Poisson, W5 crowds
on one model, W6 conversations, W7 embeddings, cancels and other contexts, WX one hot model of middle size, RS ten
minutes of overload, CL a closed loop of users who think, whatever the load. W3 and W4 are made up even where there is
a trace."""


def _arrivals(seed: int, trace: Sequence[Arrival] | None) -> list[Arrival]:
    if trace is None:
        return generate(Traffic(), seed)
    return _ranked([replace(arrival, session=None, fresh_tokens=None) for arrival in trace], 10, seed)


def _ranked(arrivals: list[Arrival], ranks: int, seed: int) -> list[Arrival]:
    """Give arrivals of a trace that names no models one by popularity; a session keeps its model."""
    randomness = random.Random(seed)
    names = [f"M{rank:02}" for rank in range(1, ranks + 1)]
    weights = zipf_weights(ranks, 1.05)
    of_session: dict[str, str] = {}
    ranked = []
    for arrival in arrivals:
        rank = arrival.rank or of_session.get(arrival.session or "") or randomness.choices(names, weights)[0]
        if arrival.session:
            of_session[arrival.session] = rank
        ranked.append(replace(arrival, rank=rank))
    return ranked


def _mapping(arrivals: Sequence[Arrival], models: Sequence[Model]) -> dict[str | None, Model]:
    """The most popular rank gets the first model, and so on; the rarest ranks get none when models run out."""
    popular = [rank for rank, _ in Counter(arrival.rank for arrival in arrivals).most_common()]
    return dict(zip(popular, models, strict=False))


def _asking(arrivals: Sequence[Arrival], models: dict[str | None, Model]) -> list[tuple[Arrival, Work]]:
    return [(arrival, _work(arrival, models[arrival.rank], 4096)) for arrival in arrivals if arrival.rank in models]


def _work(arrival: Arrival, model: Model, context: int) -> Work:
    """Ollama cuts what does not fit the context."""
    output = max(1, min(arrival.output_tokens, context // 2))
    prompt = max(1, min(arrival.prompt_tokens, context - output))
    return Work(id=0, model=model, prompt_tokens=prompt, output_tokens=output, session=arrival.session)


def _quarter(arrival: Arrival) -> Arrival:
    fresh = arrival.prompt_tokens if arrival.fresh_tokens is None else arrival.fresh_tokens
    return replace(arrival, prompt_tokens=max(1, arrival.prompt_tokens // 4), fresh_tokens=max(1, fresh // 4))


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
