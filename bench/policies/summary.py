"""The figures of one policy in one cell, over all seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from statistics import stdev

from bench.policies.samples import Sample
from spoe_agent.simulator.virtual.requests import CLIENT_LEFT, SERVED

WARM_UP_S = 600.0
"""Requests of the first ten minutes are in no percentile; their loads are counted."""
WARM_UP_PART = 0.2
"""The warm-up of short runs: a fifth."""


@dataclass(frozen=True, slots=True)
class Run:
    """One window (seed) of one policy in one cell, in one placement."""

    samples: tuple[Sample, ...]
    """In order of arrival."""
    span_s: float
    """From the first arrival to the last."""
    loads: tuple[float, ...]
    """When each load ended."""
    loading_s: float
    """GPU seconds spent on loading and unloading."""
    gpu_s: float
    """GPU seconds that passed."""
    undone: int
    misfits: int
    """Requests sent to an instance whose VRAM cannot hold the model."""
    sent_to_struck: int = 0
    """Requests sent to an instance that hung or was gone."""
    sent_to_known: int = 0
    """Those of them that were sent after two had failed there."""
    window: int = 0
    """Its seed: runs of one window had the same requests."""
    placement: int = 0
    """Which of the policy's own salts it had."""

    def measured(self) -> list[Sample]:
        """Return the requests after the warm-up whose clients stay."""
        from_s = warm_up_s(self.span_s)
        return [sample for sample in self.samples if sample.t >= from_s and sample.stays]


@dataclass(frozen=True, slots=True)
class Figures:
    """Times in seconds, over requests after the warm-up whose clients stay, failed ones with the time at which they had
    failed (see Sample); counts over all requests.
    """

    requests: float
    failed: float
    cancelled: float
    ttft_mean: float
    ttft_chance: float
    """Standard deviation of that mean from one of the policy's own salts to the next, as a part of it; 0 with one."""
    ttft_p50: float
    ttft_p95: float
    ttft_p99: float
    e2e_mean: float
    slowdown_mean: float
    slowdown_p99: float
    slo: float
    """Part of the measured requests that were in time; failed ones were not."""
    served_per_s: float
    """Answers per second from the first arrival to the last: what a closed loop is judged by."""
    loads_per_1000: float
    loads_per_1000_warm: float
    cold_per_1000: float
    loading_share: float
    """Part of the GPU time that went into loading and unloading."""
    undone_per_1000: float
    misfits: float
    sent_to_struck: float
    sent_to_known: float
    fairness: float
    """Jain's index over the models' mean slowdowns: 1 when all are slowed down alike."""
    p95_by_model: dict[str, float]

    def as_dict(self) -> dict[str, object]:
        """Return the figures by name."""
        return asdict(self)


def warm_up_s(span_s: float) -> float:
    """Return how long after the first arrival measuring starts."""
    return min(WARM_UP_S, WARM_UP_PART * span_s)


def figures(runs: Sequence[Run]) -> Figures:
    """Sum several windows up, all requests alike; of several placements return the means."""
    placements = sorted({run.placement for run in runs})
    return _mean_of([_figures([run for run in runs if run.placement == placement]) for placement in placements])


def _mean_of(each: Sequence[Figures]) -> Figures:
    if len(each) == 1:
        return each[0]
    names = {one.name for one in fields(Figures)} - {"p95_by_model", "ttft_chance"}
    models = [one.p95_by_model for one in each]
    means = [one.ttft_mean for one in each]
    return Figures(
        **{name: mean([getattr(one, name) for one in each]) for name in names},
        ttft_chance=stdev(means) / mean(means) if any(means) else 0.0,
        p95_by_model={name: mean([of[name] for of in models if name in of]) for name in sorted(set().union(*models))},
    )


def _figures(runs: Sequence[Run]) -> Figures:
    measured = [sample for run in runs for sample in run.measured()]
    counted = [sample for sample in measured if sample.counts]
    everything = [sample for run in runs for sample in run.samples]
    total = len(everything)
    warm = sum(sample.t >= warm_up_s(run.span_s) for run in runs for sample in run.samples)
    warm_loads = sum(at_s >= warm_up_s(run.span_s) for run in runs for at_s in run.loads)
    ttft = sorted(sample.ttft for sample in counted)
    slowdown = sorted(sample.slowdown for sample in counted)
    return Figures(
        requests=total,
        failed=sum(sample.status not in (SERVED, CLIENT_LEFT) for sample in everything),
        cancelled=sum(sample.status == CLIENT_LEFT for sample in everything),
        ttft_mean=mean(ttft),
        ttft_chance=0.0,
        ttft_p50=percentile(ttft, 0.50),
        ttft_p95=percentile(ttft, 0.95),
        ttft_p99=percentile(ttft, 0.99),
        e2e_mean=mean([sample.e2e for sample in counted]),
        slowdown_mean=mean(slowdown),
        slowdown_p99=percentile(slowdown, 0.99),
        slo=sum(sample.in_time for sample in measured) / max(1, len(measured)),
        served_per_s=sum(one.status == SERVED for one in everything) / max(1e-9, sum(run.span_s for run in runs)),
        loads_per_1000=1000 * sum(len(run.loads) for run in runs) / total,
        loads_per_1000_warm=1000 * warm_loads / max(1, warm),
        cold_per_1000=1000 * sum(sample.cold for sample in everything) / total,
        loading_share=sum(run.loading_s for run in runs) / sum(run.gpu_s for run in runs),
        undone_per_1000=1000 * sum(run.undone for run in runs) / total,
        misfits=sum(run.misfits for run in runs),
        sent_to_struck=sum(run.sent_to_struck for run in runs),
        sent_to_known=sum(run.sent_to_known for run in runs),
        fairness=_jain([mean(values) for values in _by_model(counted, "slowdown").values()]),
        p95_by_model={
            model: percentile(sorted(values), 0.95) for model, values in sorted(_by_model(counted, "ttft").items())
        },
    )


def mean(values: Sequence[float]) -> float:
    """Return the mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def percentile(ordered: Sequence[float], part: float) -> float:
    """Return the value below which that part of the ordered values lies, between neighbours if need be."""
    if not ordered:
        return 0.0
    place = part * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _by_model(samples: Sequence[Sample], field: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for sample in samples:
        found.setdefault(sample.model, []).append(getattr(sample, field))
    return found


def _jain(values: Sequence[float]) -> float:
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values)) if values else 1.0
