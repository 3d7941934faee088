"""What HAProxy's log lines teach: how long models load and run, and how often they are asked for.

Robust on purpose: only requests that ended well count, one sample moves an estimate by little and never by more than
its bound, and what was never seen has no estimate (routing has priors). Times are passed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from spoe_agent.agent.ending import STREAMED_S, Ending
from spoe_agent.agent.grant import Grant, Loading
from spoe_agent.routing.choice import Tier
from spoe_agent.routing.estimates import disk_load_s
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

PAGE_CACHE_BYTES = 128 * 10**9
"""So much of what was read last is taken to be in the page cache of a store's machine. Servers with GPUs have that, and
more, of memory."""


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
    """From the page cache."""
    from_disk: dict[str, Mean] = field(default_factory=dict)
    """By store: loads of files that were not in it, in priors (`estimates.disk_load_s`). One disk has one speed, and a
    model is seldom read from it twice."""
    cached: dict[str, dict[str, int]] = field(default_factory=dict)
    """By store, the sizes of models whose files were read, longest ago first, as many as the page cache holds."""
    first_byte: dict[Pair, Mean] = field(default_factory=dict)
    rates: dict[str, Rate] = field(default_factory=dict)
    _shown: Learned = field(default_factory=Learned)
    _shown_at_s: float = -math.inf

    def take(self, other: Learner) -> None:
        """Know what another one knows."""
        self.service.update(other.service)
        self.load.update(other.load)
        self.from_disk.update(other.from_disk)
        self.cached.update(other.cached)
        self.first_byte.update(other.first_byte)

    def arrived(self, model: str, now_s: float) -> None:
        """Count a request for a model."""
        self.rates.setdefault(model, Rate()).add(now_s)

    def warm_s(self, model: str, instance: str) -> float | None:
        """Return what the first token takes where the model is loaded; None: not known."""
        known = self.first_byte.get((model, instance))
        return None if known is None else known.seconds

    def ended(self, grant: Grant, ending: Ending) -> float | None:
        """Learn from a request: with a loaded model it tells how long they run, with a load how long that took. Return
        the seconds of the load, if it tells them.
        """
        if not ending.is_whole:
            return None
        pair, began = (grant.model, grant.instance), grant.loading
        streamed, load_s = ending.total_s - ending.first_byte_s > STREAMED_S, None
        if grant.only_loads:
            load_s = None if began is None else self._loaded(pair, began, ending.total_s)
        elif grant.tier is Tier.LOADED:
            self.service.setdefault(pair, Mean()).add(ending.total_s)
            if streamed:
                self.first_byte.setdefault(pair, Mean()).add(ending.first_byte_s)
        elif began is not None and streamed:
            load_s = self._loaded(pair, began, ending.first_byte_s - (self.warm_s(*pair) or 0.0))
            self.service.setdefault(pair, Mean()).add(ending.total_s - ending.first_byte_s)
        return load_s

    def _loaded(self, pair: Pair, began: Loading, until_loaded_s: float) -> float | None:
        """Take a load, and what it read; return its own time. What waited for others' loads says nothing of that."""
        files = self.cached.setdefault(began.store, {})
        files.pop(pair[0], None)
        files[pair[0]] = began.file_bytes
        while sum(files.values()) > PAGE_CACHE_BYTES and len(files) > 1:
            del files[next(iter(files))]
        if began.begins_s is None:
            return None
        load_s = max(until_loaded_s - began.begins_s, until_loaded_s / 4)
        if began.is_cached:
            self.load.setdefault(pair, Mean()).add(load_s)
        else:
            self.from_disk.setdefault(began.store, Mean()).add(load_s / disk_load_s(began.file_bytes))
        return load_s

    def has_cached(self, model: str, store: str) -> bool:
        """Tell whether a model's file is taken to be in the page cache of its store's machine."""
        return model in self.cached.get(store, ())

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
                frozenset([(model, store) for store, files in self.cached.items() for model in files]),
                {store: mean.seconds for store, mean in self.from_disk.items()},
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
