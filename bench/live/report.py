"""The result of a live run for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.live.agreement import LATEST_SLIP_S, TOLERANCE, Figures, Row, agrees, has_same_order
from bench.policies.arms import BASELINE

_COLUMNS = ("ttft", "p95", "p99", "e2e", "loads/k", "failed", "x ttft", "x p95", "x e2e", "agree", "slip")
_RATIOS = ("ttft_mean", "ttft_p95", "e2e_mean")


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print a live and a simulated line per arm, then whether the two agree."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("seconds", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row.arm, *_line(row.live, row.live_ratios), *_checks(row), style="red" if row.is_void else "")
        table.add_row("  simulated", *_line(row.simulated, row.simulated_ratios), style="dim")
        if row.unscaled is not None:
            table.add_row("  agent at x1", *_line(row.unscaled, {}), style="dim")
    console.print(table)
    console.print(
        f"Times in the fleet's seconds; x: times {BASELINE}'s; agree: the live ratio of mean times to the first token, "
        "divided by the simulated one; slip: how late requests were sent, 99th percentile, real ms."
    )
    for row in rows:
        if row.is_void:
            late = f"{1000 * row.slip_p99_s:.0f} ms late at the 99th percentile, more than {1000 * LATEST_SLIP_S:.0f}"
            console.print(f"[red]{row.arm} is void: requests were sent {late}. Try a lower --time-scale[/]")
    if any(row.live_ratios for row in rows):
        console.print(
            f"Ratios agree within {TOLERANCE:.0%}: {_yes(agrees(rows))}; same order: {_yes(has_same_order(rows))}."
        )


def _line(of: Figures, ratios: object) -> list[str]:
    times = (of.ttft_mean, of.ttft_p95, of.ttft_p99, of.e2e_mean)
    found = ratios if isinstance(ratios, dict) else {}
    multiples = [f"{found[name]:.2f}" if name in found else "" for name in _RATIOS]
    return [*(f"{time:.3f}" for time in times), f"{of.loads_per_1000:.1f}", f"{of.failed:g}", *multiples]


def _checks(row: Row) -> list[str]:
    agreement = row.agreement().get("ttft_mean")
    return ["" if agreement is None else f"{agreement:.2f}", f"{1000 * row.slip_p99_s:.1f}"]


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "[red]no[/]"
