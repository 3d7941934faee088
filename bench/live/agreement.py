"""Live figures beside the discrete-event ones of the same schedule, and whether the two agree.

Absolute times differ by what sockets cost; what must agree are ratios to the baseline and the order of the arms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from bench.live.trial import Trial
from bench.policies.arms import BASELINE
from bench.policies.samples import Sample, sample
from bench.policies.summary import Run, mean, percentile, warm_up_s
from spoe_agent.simulator.virtual.requests import CLIENT_LEFT, SERVED

TOLERANCE = 0.20
"""Ratios agree when one is within this part of the other."""

LATEST_SLIP_S = 0.020
"""A run with more at the 99th percentile is void: the client's machine was too slow. Real seconds."""

RATIOS = ("ttft_mean", "ttft_p95", "ttft_p99", "e2e_mean")


@dataclass(frozen=True, slots=True)
class Figures:
    """Times in the fleet's seconds, over served requests after the warm-up; counts over all requests."""

    ttft_mean: float
    ttft_p95: float
    ttft_p99: float
    e2e_mean: float
    loads_per_1000: float
    failed: float


@dataclass(frozen=True, slots=True)
class Row:
    """One arm, live and simulated."""

    arm: str
    live: Figures
    simulated: Figures
    """Mean over the salts, where the policy draws anything."""
    unscaled: Figures | None
    """The same with the agent's clock as fast as the fleet's, where that matters: as in `bench policies`."""
    slip_p99_s: float
    live_ratios: Mapping[str, float]
    """To the baseline's; empty without it."""
    simulated_ratios: Mapping[str, float]

    @property
    def is_void(self) -> bool:
        """The schedule was not kept."""
        return self.slip_p99_s > LATEST_SLIP_S

    def agreement(self) -> dict[str, float]:
        """Return the live ratios divided by the simulated ones: 1 where the two agree."""
        return {name: ratio / self.simulated_ratios[name] for name, ratio in self.live_ratios.items()}

    def as_dict(self) -> dict[str, object]:
        """Return the row as plain data."""
        return {
            "arm": self.arm,
            **asdict(self.live),
            "simulated": asdict(self.simulated),
            "simulated_unscaled": None if self.unscaled is None else asdict(self.unscaled),
            "slip_p99": self.slip_p99_s,
            "void": self.is_void,
            "ratio": dict(self.live_ratios),
            "simulated_ratio": dict(self.simulated_ratios),
            "agreement": self.agreement(),
        }


@dataclass(frozen=True, slots=True)
class Simulated:
    """The discrete-event runs of one arm over the schedule of a live run."""

    runs: Sequence[Run]
    """One per salt."""
    unscaled: Run | None = None


def compare(trials: Sequence[Trial], simulated: Mapping[str, Simulated]) -> list[Row]:
    """Return a row per trial."""
    live = {trial.arm: figures([sample(sent.record) for sent in trial.sent], trial.loads) for trial in trials}
    virtual = {trial.arm: _mean([of_run(run) for run in simulated[trial.arm].runs]) for trial in trials}
    rows = []
    for trial in trials:
        unscaled = simulated[trial.arm].unscaled
        rows.append(
            Row(
                arm=trial.arm,
                live=live[trial.arm],
                simulated=virtual[trial.arm],
                unscaled=None if unscaled is None else of_run(unscaled),
                slip_p99_s=percentile(sorted(sent.slip_s for sent in trial.sent), 0.99),
                live_ratios=_ratios(live[trial.arm], live.get(BASELINE)),
                simulated_ratios=_ratios(virtual[trial.arm], virtual.get(BASELINE)),
            )
        )
    return rows


def of_run(run: Run) -> Figures:
    """Return the figures of a discrete-event run."""
    return figures(run.samples, len(run.loads))


def figures(samples: Sequence[Sample], loads: int) -> Figures:
    """Sum one run up, with the warm-up that the discrete-event benchmark leaves out."""
    from_s = warm_up_s(samples[-1].t)
    served = [one for one in samples if one.t >= from_s and one.status == SERVED]
    ttft = sorted(one.ttft for one in served)
    return Figures(
        ttft_mean=mean(ttft),
        ttft_p95=percentile(ttft, 0.95),
        ttft_p99=percentile(ttft, 0.99),
        e2e_mean=mean([one.e2e for one in served]),
        loads_per_1000=1000 * loads / len(samples),
        failed=sum(one.status not in (SERVED, CLIENT_LEFT) for one in samples),
    )


def has_same_order(rows: Sequence[Row]) -> bool:
    """Tell whether the arms come in the same order by mean time to the first token.

    Arms that are within the tolerance of each other in either count as equal.
    """
    pairs = ((one, other) for one in rows for other in rows if one.arm < other.arm)
    return all(_order(a.live, b.live) * _order(a.simulated, b.simulated) >= 0 for a, b in pairs)


def agrees(rows: Sequence[Row]) -> bool:
    """Tell whether every ratio of mean times to the first token is within the tolerance."""
    return all(abs(row.agreement().get("ttft_mean", 1.0) - 1) <= TOLERANCE for row in rows)


def _order(one: Figures, other: Figures) -> int:
    low, high = sorted((one.ttft_mean, other.ttft_mean))
    if high <= low * (1 + TOLERANCE):
        return 0
    return 1 if one.ttft_mean > other.ttft_mean else -1


def _ratios(ours: Figures, baseline: Figures | None) -> dict[str, float]:
    if baseline is None:
        return {}
    return {name: getattr(ours, name) / getattr(baseline, name) for name in RATIOS if getattr(baseline, name)}


def _mean(each: Sequence[Figures]) -> Figures:
    names = asdict(each[0])
    return Figures(**{name: mean([getattr(one, name) for one in each]) for name in names})
