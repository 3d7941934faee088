"""Made-up traffic with the statistics of real traces, from a seed.

Popularity falls with rank as rank^-1.05 (ServeGen's clients, production model markets); each model's arrivals are
bursty (coefficient of variation about 1.2, with a tail to 5) and swing 4 to 24 fold over the hours; lengths are
lognormal, fitted to the Azure 2023 conversation trace. Must not live here: files, fleets.
"""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

from spoe_agent.benchmark.arrivals import Arrival

REQUESTS = 14_000
DURATION_S = 7200.0
ZIPF = 1.05
_GRID_S = 10.0
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
        times = _times(round(traffic.requests * weight), traffic.is_bursty, randomness)
        streams.append([Arrival(at_s, f"M{rank:02}", *lengths(randomness)) for at_s in times])
    return list(heapq.merge(*streams, key=lambda arrival: arrival.at_s))


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


def _times(count: int, is_bursty: bool, randomness: random.Random) -> list[float]:
    """Arrival times of one model: a renewal process with gamma gaps, run on a clock that itself swings."""
    variation = min(5.0, 1.2 * math.exp(abs(randomness.gauss(0.0, 0.4)))) if is_bursty else 1.0
    swing = math.exp(randomness.uniform(math.log(4), math.log(24))) if is_bursty else 1.0
    shape = 1 / variation**2
    gaps = [randomness.gammavariate(shape, 1.0) for _ in range(count + 1)]
    whole = sum(gaps)
    progress = [gap / whole for gap in accumulate(gaps[:-1])]
    clock = _swinging_clock(swing, randomness)
    return [_when(part, clock) for part in progress]


def _swinging_clock(swing: float, randomness: random.Random) -> list[float]:
    """Part of all arrivals that have come by each point of the grid, for a rate whose peak is `swing` x its trough."""
    period_s = randomness.uniform(1800.0, 7200.0)
    phase = randomness.uniform(0.0, 2 * math.pi)
    amplitude = math.log(swing) / 2
    points = range(int(DURATION_S / _GRID_S))
    rates = [math.exp(amplitude * math.sin(2 * math.pi * point * _GRID_S / period_s + phase)) for point in points]
    total = sum(rates)
    return [0.0, *(done / total for done in accumulate(rates))]


def _when(part: float, clock: list[float]) -> float:
    point = min(max(1, bisect_left(clock, part)), len(clock) - 1)
    before, after = clock[point - 1], clock[point]
    return (point - 1 + (part - before) / (after - before)) * _GRID_S
