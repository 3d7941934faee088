"""What HAProxy's log lines teach: how long models load and run, and how often they are asked for.

Robust on purpose: only requests that ended well count, one sample moves an estimate by little and never by more than
its bound, and what was never seen has no estimate (routing has priors). Times are passed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from spoe_agent.agent.ending import Ending
from spoe_agent.routing.choice import Tier
from spoe_agent.routing.snapshot import Learned, Pair

ALPHA = 0.03
"""Weight of a new sample, once there are so many that it is less than the mean's. Answers differ in length by factors:
a mean of the last ten says little of the instance, and much of the last ten."""

SHARED_SAMPLES = 30.0
"""What a model's requests take on all instances together counts like so many samples of each. Two instances that are
alike must not look different by chance, or requests go the wrong way; one that is different shows it after that."""

BOUND = 4.0
"""A sample counts as at most so many times more, or less, than the estimate: one stuck request says little."""

RATE_WINDOW_S = 300.0
"""Arrivals are forgotten over this time: five minutes, Ollama's default keep_alive."""

PUBLISH_INTERVAL_S = 0.5

STREAMED_S = 0.005
"""An answer that comes all at once, `stream: false`, has its first byte with its last: it tells nothing of loads."""


@dataclass(slots=True)
class Mean:
    """A running geometric mean: times vary by factors, not by seconds."""

    log_s: float = 0.0
    samples: int = 0

    @property
    def seconds(self) -> float:
        """The estimate."""
        return math.exp(self.log_s)

    @property
    def weight(self) -> float:
        """How many samples it stands for."""
        return min(self.samples, 1 / ALPHA)

    def add(self, seconds: float) -> None:
        """Move by one sample."""
        log_s = math.log(max(seconds, 1e-4))
        if self.samples >= 3:
            bound = math.log(BOUND)
            log_s = min(max(log_s, self.log_s - bound), self.log_s + bound)
        self.samples += 1
        self.log_s += max(ALPHA, 1 / self.samples) * (log_s - self.log_s)


@dataclass(slots=True)
class Rate:
    """Arrivals per second, decaying."""

    per_s: float = 0.0
    at_s: float = -math.inf

    def add(self, now_s: float) -> None:
        """Count one arrival."""
        self.per_s = self.now(now_s) + 1 / RATE_WINDOW_S
        self.at_s = now_s

    def now(self, now_s: float) -> float:
        """Return the rate as of now."""
        return self.per_s * math.exp(-max(0.0, now_s - self.at_s) / RATE_WINDOW_S) if self.per_s else 0.0


@dataclass(slots=True)
class Learner:
    """Learns from endings and arrivals, and gives out frozen Learned."""

    service: dict[Pair, Mean] = field(default_factory=dict)
    load: dict[Pair, Mean] = field(default_factory=dict)
    first_byte: dict[Pair, Mean] = field(default_factory=dict)
    rates: dict[str, Rate] = field(default_factory=dict)
    _shown: Learned = field(default_factory=Learned)
    _shown_at_s: float = -math.inf

    def take(self, other: Learner) -> None:
        """Know what another one knows."""
        self.service.update(other.service)
        self.load.update(other.load)
        self.first_byte.update(other.first_byte)

    def arrived(self, model: str, now_s: float) -> None:
        """Count a request for a model."""
        self.rates.setdefault(model, Rate()).add(now_s)

    def ended(self, model: str, instance: str, tier: Tier | None, ending: Ending, only_loaded: bool = False) -> None:
        """Learn from a request that was granted at this tier: warm ones tell service times, cold ones loads.

        `only_loaded`: it had no prompt, so all of its time is the load's.
        """
        if not ending.is_whole:
            return
        pair = (model, instance)
        if only_loaded:
            if tier in (Tier.ROOM, Tier.EVICT):
                self.load.setdefault(pair, Mean()).add(ending.total_s)
            return
        streamed = ending.total_s - ending.first_byte_s > STREAMED_S
        if tier is Tier.LOADED:
            self.service.setdefault(pair, Mean()).add(ending.total_s)
            if streamed:
                self.first_byte.setdefault(pair, Mean()).add(ending.first_byte_s)
        elif tier in (Tier.ROOM, Tier.EVICT) and streamed:
            warm = self.first_byte.get(pair)
            self.load.setdefault(pair, Mean()).add(ending.first_byte_s - (warm.seconds if warm else 0.0))
            self.service.setdefault(pair, Mean()).add(ending.total_s - ending.first_byte_s)

    def learned(self, now_s: float) -> Learned:
        """Return what is known, frozen; made anew at most twice a second."""
        if now_s - self._shown_at_s >= PUBLISH_INTERVAL_S:
            self._shown_at_s = now_s
            usual_service, usual_load = _usual(self.service), _usual(self.load)
            self._shown = Learned(
                _drawn(self.service, usual_service),
                {pair: mean.seconds for pair, mean in self.load.items()},
                {model: rate.now(now_s) for model, rate in self.rates.items()},
                {model: math.exp(log_s) for model, log_s in usual_service.items()},
                {model: math.exp(log_s) for model, log_s in usual_load.items()},
            )
        return self._shown


def _usual(means: dict[Pair, Mean]) -> dict[str, float]:
    """Return each model's mean on all instances together, in log seconds."""
    sums: dict[str, tuple[float, float]] = {}
    for (model, _), mean in means.items():
        log_s, weight = sums.get(model, (0.0, 0.0))
        sums[model] = log_s + mean.weight * mean.log_s, weight + mean.weight
    return {model: log_s / weight for model, (log_s, weight) in sums.items()}


def _drawn(means: dict[Pair, Mean], usual: dict[str, float]) -> dict[Pair, float]:
    """Return seconds by model and instance, each mean drawn towards the usual."""
    return {
        pair: math.exp((mean.weight * mean.log_s + SHARED_SAMPLES * usual[pair[0]]) / (mean.weight + SHARED_SAMPLES))
        for pair, mean in means.items()
    }
