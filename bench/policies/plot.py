"""Ratios as a picture: each policy's mean time to the first token over load, a panel per fleet. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.policies.arms import IDEAL, OURS
from bench.policies.verdicts import Row

_PANEL_INCHES = 4.2


class _Point(NamedTuple):
    load: float
    row: Row


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Write the picture; the name's ending says in which format. Closed loops are not in it: they have no load.

    Raises:
        OSError: the file cannot be written.
        ValueError: no such format, or nothing to draw.
    """
    points = [_Point(row.cell.load, row) for row in rows if row.cell.load is not None]
    if not points:
        raise ValueError("closed loops have no load to draw over")
    panels = list(dict.fromkeys((row.cell.fleet, row.cell.workload) for _, row in points))
    figure = Figure(figsize=(_PANEL_INCHES * len(panels), _PANEL_INCHES), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for (fleet, workload), panel in zip(panels, axes, strict=True):
        _panel(panel, [one for one in points if (one.row.cell.fleet, one.row.cell.workload) == (fleet, workload)])
        panel.set_title(f"{fleet}, {workload}")
    axes[0].set_ylabel("mean time to first token, s")
    axes[0].legend(fontsize="small")
    figure.suptitle("simulated fleets")
    figure.savefig(path)


def _panel(axes: Axes, points: Sequence[_Point]) -> None:
    """The regime may change with the load, so each point has its own label."""
    for arm in dict.fromkeys(row.arm for _, row in points):
        curve = sorted((load, row.figures.ttft_mean) for load, row in points if row.arm == arm)
        loads, means = zip(*curve, strict=True)
        style = {OURS: "o-", IDEAL: "k--"}.get(arm, ".-")
        axes.plot(loads, means, style, label=arm, linewidth=2.2 if arm == OURS else 1.0)
    floor = [(load, row.bounds.floor_ttft_mean) for load, row in points if row.bounds is not None]
    if floor:
        axes.plot(*zip(*sorted(set(floor)), strict=True), "k:", label="floor")
    regimes = dict(sorted({(load, row.regime) for load, row in points}))
    axes.set_xticks(list(regimes), [f"{load:g}\n{regime}" for load, regime in regimes.items()])
    axes.set_yscale("log")
    axes.set_xlabel("load, part of nominal")
