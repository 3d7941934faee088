"""Made-up traffic with the statistics of real traces, from a seed.

Popularity falls with rank as rank^-1.05 (ServeGen's clients, production model markets); each model's arrivals are
bursty (coefficient of variation about 1.2, with a tail to 5) and swing 4 to 24 fold over the hours; lengths are
lognormal, fitted to the Azure 2023 conversation trace.
"""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from bench.policies.arrivals import Arrival

REQUESTS = 14_000
DURATION_S = 7200.0
ZIPF = 1.05
GRID_S = 10.0
GRID = [point * GRID_S for point in range(int(DURATION_S / GRID_S))]
"""The moments at which rates are given."""
_PROMPT = (6.63, 0.985)
"""Mean and deviation of the logarithm of the length in tokens."""
_OUTPUT = (5.02, 0.859)
_LONGEST_PROMPT = 3800
_LONGEST_OUTPUT = 1000


@dataclass(frozen=True, slots=True)
class Traffic:
    """What traffic is like."""

    requests: int = REQUESTS
    ranks: int = 10
    zipf: float = ZIPF
    is_bursty: bool = True
    """False: Poisson arrivals at a constant rate."""


def generate(traffic: Traffic, seed: int) -> list[Arrival]:
    """Return arrivals over two hours, ordered by time."""
    randomness = random.Random(seed)
    weights = zipf_weights(traffic.ranks, traffic.zipf)
    streams = []
    for rank, weight in enumerate(weights, 1):
        rates = swinging(randomness) if traffic.is_bursty else [1.0 for _ in GRID]
        gaps_vary = variation(randomness) if traffic.is_bursty else 1.0
        at_s = times(round(traffic.requests * weight), gaps_vary, rates, randomness)
        streams.append(asking(f"M{rank:02}", at_s, randomness))
    return merged(streams)


def converse(traffic: Traffic, seed: int) -> list[Arrival]:
    """Return conversations of several turns: each turn's prompt holds all that was said before."""
    randomness = random.Random(seed)
    ranks = [f"M{rank:02}" for rank in range(1, traffic.ranks + 1)]
    weights = zipf_weights(traffic.ranks, traffic.zipf)
    arrivals: list[Arrival] = []
    while len(arrivals) < traffic.requests:
        rank = randomness.choices(ranks, weights)[0]
        arrivals += _conversation(f"s{len(arrivals)}", rank, randomness)
    return sorted(arrivals, key=lambda arrival: arrival.at_s)


def asking(rank: str, at_s: Iterable[float], randomness: random.Random) -> list[Arrival]:
    """Draw what is asked of one model at these times."""
    return [Arrival(one_s, rank, *lengths(randomness)) for one_s in at_s]


def merged(streams: Iterable[Iterable[Arrival]]) -> list[Arrival]:
    """Return the arrivals of several streams, each ordered by time, in one."""
    return list(heapq.merge(*streams, key=lambda arrival: arrival.at_s))


def zipf_weights(count: int, exponent: float) -> list[float]:
    """Return popularities by rank that sum to 1."""
    raw = [rank**-exponent for rank in range(1, count + 1)]
    return [weight / sum(raw) for weight in raw]


def lengths(randomness: random.Random) -> tuple[int, int]:
    """Draw the tokens of a prompt and of its answer."""
    prompt = min(_LONGEST_PROMPT, math.ceil(randomness.lognormvariate(*_PROMPT)))
    return prompt, min(_LONGEST_OUTPUT, math.ceil(randomness.lognormvariate(*_OUTPUT)))


def _conversation(session: str, rank: str, randomness: random.Random) -> list[Arrival]:
    at_s = randomness.uniform(0.0, DURATION_S)
    said, turns = 0, []
    for _ in range(1 + min(11, int(randomness.expovariate(1 / 4.0)))):
        prompt, output = lengths(randomness)
        fresh = max(1, prompt // 4)
        if said + fresh > _LONGEST_PROMPT:
            break
        turns.append(Arrival(at_s, rank, said + fresh, output, session, fresh))
        said += fresh + output
        at_s += output * 0.02 + randomness.lognormvariate(3.0, 0.8)
    return turns


def times(count: int, variation: float, rates: Sequence[float], randomness: random.Random) -> list[float]:
    """Draw arrival times of one model: a renewal process with gamma gaps, run on a clock that follows the rates.

    Args:
        count: how many.
        variation: coefficient of variation of the gaps; 1 is Poisson.
        rates: relative, one per `GRID_S`.
        randomness: what is drawn from.
    """
    shape = 1 / variation**2
    gaps = [randomness.gammavariate(shape, 1.0) for _ in range(count + 1)]
    whole, total = sum(gaps), sum(rates)
    clock = [0.0, *(done / total for done in accumulate(rates))]
    return [_when(gap / whole, clock) for gap in accumulate(gaps[:-1])]


def variation(randomness: random.Random) -> float:
    """Draw how bursty one model's arrivals are."""
    return min(5.0, 1.2 * math.exp(abs(randomness.gauss(0.0, 0.4))))


def swing(randomness: random.Random) -> float:
    """Draw how many times the trough's rate one model's peak has, as a logarithm."""
    return randomness.uniform(math.log(4), math.log(24))


def swinging(randomness: random.Random) -> list[float]:
    """Draw one model's rates, which swing over half an hour to two."""
    amplitude = swing(randomness) / 2
    period_s = randomness.uniform(1800.0, 7200.0)
    phase = randomness.uniform(0.0, 2 * math.pi)
    return [math.exp(amplitude * math.sin(2 * math.pi * at_s / period_s + phase)) for at_s in GRID]


def _when(part: float, clock: Sequence[float]) -> float:
    """Return when that part of the arrivals has come: `clock` says how large a part has at each point of the grid."""
    point = min(max(1, bisect_left(clock, part)), len(clock) - 1)
    before, after = clock[point - 1], clock[point]
    return (point - 1 + (part - before) / (after - before)) * GRID_S
