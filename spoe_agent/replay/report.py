"""A replay's figures as a table, and as plain data: what was, and beside it what would have been."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from spoe_agent.replay.running import Replay, Sample

ALL = "all"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one model's requests, or of all. Seconds; means and percentiles are over those that had a first token."""

    requests: int
    first_mean_s: float
    first_p95_s: float
    waited_mean_s: float
    """Over all requests."""
    loads: int
    failed: int


def figures(samples: Sequence[Sample]) -> Figures:
    """Sum samples up."""
    first = sorted(one.first_s for one in samples if one.first_s is not None)
    return Figures(
        requests=len(samples),
        first_mean_s=_mean(first),
        first_p95_s=first[min(len(first) - 1, int(0.95 * len(first)))] if first else 0.0,
        waited_mean_s=_mean([one.waited_s for one in samples]),
        loads=sum(one.begins_load for one in samples),
        failed=sum(one.failed for one in samples),
    )


def rows(replay: Replay) -> dict[str, tuple[Figures, Figures]]:
    """Return what was and what would have been, for each model, the most asked for first, and for all."""
    names = [one.model for one in replay.was]
    found = {
        name: tuple(figures([one for one in samples if one.model == name]) for samples in (replay.was, replay.would))
        for name in sorted(set(names), key=lambda name: (-names.count(name), name))
    }
    both = figures(replay.was), figures(replay.would)
    return {**{name: (was, would) for name, (was, would) in found.items()}, ALL: both}


def as_data(replay: Replay) -> dict[str, Any]:
    """Return the figures as plain data."""
    return {name: {"was": asdict(was), "would": asdict(would)} for name, (was, would) in rows(replay).items()}


def table(replay: Replay) -> Table:
    """Return two rows for each model, what was and what would have been. Times are means."""
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("model", "", "requests", "first token", "95 of 100", "waited", "loads", "failed"):
        found.add_column(heading, overflow="fold", no_wrap=heading != "model")
    for name, both in rows(replay).items():
        for kind, one in zip(("was", "would be"), both, strict=True):
            times = (f"{seconds:.3g} s" for seconds in (one.first_mean_s, one.first_p95_s, one.waited_mean_s))
            label = name if kind == "was" else ""
            found.add_row(label, kind, str(one.requests), *times, str(one.loads), str(one.failed))
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
