"""The mixes W1 to W7, WX and the rest: which model each arrival asks for, and for how many tokens."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.policies.arrivals import Arrival
from bench.policies.bursts import bursts, code_lengths
from bench.policies.drift import drift
from bench.policies.fleets import EMBEDDER
from bench.policies.generator import Traffic, converse, generate, zipf_weights
from bench.policies.users import CLOSED
from spoe_agent.simulator import Model
from spoe_agent.simulator.virtual.fleet import FleetPlan
from spoe_agent.simulator.work import Task, Work

REPLAYED = frozenset({"W1", "W8", "W10", "WX", "RS"})
"""Of a trace that names models these are the same whatever the seed."""

Rule = Callable[[FleetPlan, int, "Sequence[Arrival] | None"], list[tuple[Arrival, Work]]]


def varies(name: str, trace: Sequence[Arrival] | None) -> bool:
    """Tell whether a workload's requests are others with another seed."""
    return trace is None or name not in REPLAYED or any(arrival.rank is None for arrival in trace)


def _popular_small_first(fleet: FleetPlan, seed: int, trace: Sequence[Arrival] | None) -> list[tuple[Arrival, Work]]:
    arrivals = _arrivals(fleet, seed, trace)
    return _asking(arrivals, _mapping(arrivals, fleet.models))


def _popular_large_first(fleet: FleetPlan, seed: int, trace: Sequence[Arrival] | None) -> list[tuple[Arrival, Work]]:
    arrivals = _arrivals(fleet, seed, trace)
    return _asking(arrivals, _mapping(arrivals, fleet.models[::-1]))


def _code(fleet: FleetPlan, seed: int, trace: Sequence[Arrival] | None) -> list[tuple[Arrival, Work]]:
    """Completions of code: who asks and when as in W1, with long prompts and short answers."""
    randomness = random.Random(seed)
    arrivals = []
    for arrival in _arrivals(fleet, seed, trace):
        prompt, output = code_lengths(randomness)
        arrivals.append(replace(arrival, prompt_tokens=prompt, output_tokens=output))
    return _asking(arrivals, _mapping(arrivals, fleet.models))


def _permuted(fleet: FleetPlan, seed: int, trace: Sequence[Arrival] | None) -> list[tuple[Arrival, Work]]:
    arrivals = _arrivals(fleet, seed, trace)
    models = list(fleet.models)
    random.Random(seed).shuffle(models)
    return _asking(arrivals, _mapping(arrivals, models))


def _one_hot(fleet: FleetPlan, seed: int, trace: Sequence[Arrival] | None) -> list[tuple[Arrival, Work]]:
    """The most popular is a model of middle size, so that no single instance can carry it."""
    arrivals = _arrivals(fleet, seed, trace)
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
            work = Work(work.id, EMBEDDER, Task.EMBED, prompt_tokens=tokens, output_tokens=0)
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
    "W8": _popular_large_first,
    "W9": _code,
    "W10": _popular_small_first,
    "WX": _one_hot,
    "RS": _popular_small_first,
    CLOSED: _popular_small_first,
}
"""By name: W1 popular models are small, W2 any model may be popular, W3 other hours of the day, W4 Poisson, W5 crowds
on one model, W6 conversations, W7 embeddings, cancels and other contexts, W8 popular models are large, W9
completions of code, W10 W1 of which a fifth goes past the front, WX one hot model of middle size, RS ten
minutes of overload, CL a closed loop of users who think, whatever the load. W3 and W4 are made up even where there is
a trace."""


def _arrivals(fleet: FleetPlan, seed: int, trace: Sequence[Arrival] | None) -> list[Arrival]:
    """At least ten models are asked for, so that fleets with fewer get the same of them."""
    ranks = max(Traffic().ranks, len(fleet.models))
    if trace is None:
        return generate(Traffic(ranks=ranks), seed)
    return _ranked([replace(arrival, session=None, fresh_tokens=None) for arrival in trace], ranks, seed)


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
