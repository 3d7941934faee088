"""Made-up traffic of other hours: each model has its own time of the day, and one falls silent and comes back.

A window of two hours out of a day. Every model's users have their peak around the evening, each model's a little
earlier or later, so what is popular differs from window to window and shifts within each.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from bench.policies.arrivals import Arrival
from bench.policies.generator import (
    DURATION_S,
    GRID,
    Traffic,
    asking,
    merged,
    swing,
    swinging,
    times,
    variation,
    zipf_weights,
)

HOURS = (19, 7, 12, 23, 3)
"""When windows begin: the evening's peak, morning, noon, late evening, night. Each seed has one of them."""
PEAK_HOUR, PEAK_DEVIATION_H, DAY_H = 20.0, 3.0, 24.0

SILENT_RANKS = (2, 3, 4)
"""By popularity over the day: one of them falls silent."""
SILENCE_S = 2400.0
"""Eight times Ollama's keep_alive, before times are stretched to the load."""


def drift(traffic: Traffic, seed: int) -> list[Arrival]:
    """Return arrivals over two hours of the day, ordered by time. Ranks are by popularity over the whole day."""
    randomness = random.Random(seed)
    begins_h = HOURS[seed % len(HOURS)]
    silent, from_s = randomness.choice(SILENT_RANKS), randomness.uniform(0.3, 0.5) * DURATION_S
    rates = [
        [weight * day * hour for day, hour in zip(_daily(begins_h, randomness), swinging(randomness), strict=True)]
        for weight in zipf_weights(traffic.ranks, traffic.zipf)
    ]
    rates[silent - 1] = _silenced(rates[silent - 1], from_s)
    whole = sum(map(sum, rates))
    return merged(
        asking(
            f"M{rank:02}",
            times(round(traffic.requests * sum(rate) / whole), variation(randomness), rate, randomness),
            randomness,
        )
        for rank, rate in enumerate(rates, 1)
    )


def _daily(begins_h: float, randomness: random.Random) -> list[float]:
    """Draw one model's rates over the window, relative to its mean over the day."""
    peak_h = randomness.gauss(PEAK_HOUR, PEAK_DEVIATION_H)
    amplitude = swing(randomness) / 2
    hours = [begins_h + at_s / 3600 for at_s in GRID]
    return [math.exp(amplitude * math.cos(2 * math.pi * (hour - peak_h) / DAY_H)) for hour in hours]


def _silenced(rates: Sequence[float], from_s: float) -> list[float]:
    return [0.0 if from_s <= at_s < from_s + SILENCE_S else rate for at_s, rate in zip(GRID, rates, strict=True)]
