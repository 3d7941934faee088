"""Ratios as a picture: each policy's mean time to the first token over load, a panel per fleet. Needs matplotlib.

Must not live here: figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spoe_agent.benchmark.arms import IDEAL, OURS
from spoe_agent.benchmark.verdicts import Row

_PANEL_INCHES = 4.2


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Write the picture; the name's ending says in which format.

    Raises:
        OSError: the file cannot be written.
        ValueError: no such format.
    """
    panels = list(dict.fromkeys((row.cell.fleet, row.cell.workload) for row in rows))
    figure = Figure(figsize=(_PANEL_INCHES * len(panels), _PANEL_INCHES), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for (fleet, workload), panel in zip(panels, axes, strict=True):
        _panel(panel, [row for row in rows if (row.cell.fleet, row.cell.workload) == (fleet, workload)])
    axes[0].set_ylabel("mean time to first token, s")
    axes[0].legend(fontsize="small")
    figure.suptitle("simulated fleets")
    figure.savefig(path)


def _panel(axes: Axes, rows: Sequence[Row]) -> None:
    """The regime may change with the load, so each point has its own label."""
    for arm in dict.fromkeys(row.arm for row in rows):
        points = sorted((row.cell.load, row.figures.ttft_mean) for row in rows if row.arm == arm)
        loads, means = zip(*points, strict=True)
        style = {OURS: "o-", IDEAL: "k--"}.get(arm, ".-")
        axes.plot(loads, means, style, label=arm, linewidth=2.2 if arm == OURS else 1.0)
    floor = [(row.cell.load, row.bounds.floor_ttft_mean) for row in rows if row.bounds is not None]
    if floor:
        axes.plot(*zip(*sorted(set(floor)), strict=True), "k:", label="floor")
    regimes = dict(sorted({(row.cell.load, row.regime) for row in rows}))
    axes.set_xticks(list(regimes), [f"{load:g}\n{regime}" for load, regime in regimes.items()])
    axes.set_yscale("log")
    axes.set_title(f"{rows[0].cell.fleet}, {rows[0].cell.workload}")
    axes.set_xlabel("load, part of nominal")
