"""The scenes as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.table import Table

from bench.held.crowd import Wait
from bench.held.probe import FastPath, Times
from bench.held.scenes import Held, Instant, Patience, Share

AGENT_GOAL_MB = 120.0
P99_GOAL = 2.0
LONGEST = 3
"""Waits that are shown."""


@dataclass(frozen=True, slots=True)
class Results:
    """All scenes with one HAProxy."""

    haproxy: str
    held: Held
    share: Share
    patience: Patience
    instant: Instant


def show(results: Results, console: Console) -> None:
    """Print everything."""
    for part in (_held(results.held), _fast(results.held), _rest(results)):
        console.print(part)


def ratio(phase: Times, base: Times) -> float:
    """Return how many times longer the slowest hundredth takes."""
    return phase.p99_ms / base.p99_ms


def _pairs(title: str, rows: Iterable[tuple[str, str]]) -> RenderableType:
    table = Table(title=title, show_header=False, title_justify="left")
    for row in rows:
        table.add_row(*row)
    return table


def _held(held: Held) -> RenderableType:
    rows = [
        ("held at once, of", f"{held.held:,} of {held.sent:,}"),
        ("served, fell back", f"{held.served:,}, {held.fell_back:,}"),
        ("served out of order", f"{held.out_of_order:,} of {held.in_order_of:,}"),
        ("from first to last", f"{held.release_s:.1f} s"),
        ("agent's memory, then while they are held", f"{held.agent_mb:.0f}, {held.agent_held_mb:.0f} MB"),
        ("goal", f"below {AGENT_GOAL_MB:.0f} MB"),
        ("HAProxy's memory", f"{held.haproxy_mb:.0f}, {held.haproxy_held_mb:.0f} MB"),
        ("connections between them", f"{held.spop_connections:,}"),
        ("longest waits", _waits(held.longest[:LONGEST])),
    ]
    return _pairs("A crowd, held and then let in one by one", rows)


def _fast(held: Held) -> RenderableType:
    title = f"Requests that need no slot of theirs; goal: p99 while held below {P99_GOAL:g} x before"
    table = Table("", "client p50 ms", "p99 ms", "x", "agent p50 ms", "p99 ms", "x", title=title, title_justify="left")
    phases: list[tuple[str, FastPath]] = [
        ("before", held.before),
        ("while they are held", held.while_held),
        ("while they are let in", held.while_let_in),
        ("after", held.after),
    ]
    for name, phase in phases:
        cells = []
        for base, now in ((held.before.client, phase.client), (held.before.decision, phase.decision)):
            cells += [f"{now.p50_ms:.2f}", f"{now.p99_ms:.2f}", f"{ratio(now, base):.2f}"]
        table.add_row(name, *cells)
    return table


def _rest(results: Results) -> RenderableType:
    share, patience, instant = results.share, results.patience, results.instant
    codes = ", ".join(f"{count:,} x {code}" for code, count in instant.agent_errors.items()) or "none"
    rows = [
        ("two keys, requests sent", _counts(share.offered)),
        ("served while both waited", _counts(share.served)),
        ("beside urgent ones without end", f"{patience.urgent_served:,} urgent served, {patience.failed} failed"),
        (f"longest waits, hold_timeout {patience.hold_timeout_s:g} s", _waits(patience.longest)),
        ("in one instant", f"{instant.sent:,} sent within {instant.sending_ms:.0f} ms"),
        ("served, fell back", f"{instant.served:,}, {instant.fell_back:,}"),
        ("HAProxy's errors with the agent", codes),
        ("CPU of agent, HAProxy", f"{instant.cpu_agent_s:.2f}, {instant.cpu_haproxy_s:.2f} s"),
        ("connections between them, at most", f"{instant.spop_connections:,}"),
    ]
    return _pairs(f"Shares, patience, one instant (HAProxy {results.haproxy})", rows)


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items())


def _waits(waits: Sequence[Wait]) -> str:
    return ", ".join(f"{wait.key} {wait.longest_s:.2f} s" for wait in waits)
