"""Whose fault it is that requests fail: an instance's, or the model's and its clients'.

A client's mistake (`num_ctx: "abc"`) and a broken model's file are answered 500 by every sound instance; a broken
instance fails whatever it is asked, and what others answer. So what failed is kept by model and by instance, and each
failure is judged against the other instances. Pure: time is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import inf

from spoe_agent.routing.names import display

FORGOTTEN_S = 60.0
"""Evidence is no older."""


class Verdict(Enum):
    """What a failure proves."""

    LITTLE = "little"
    """It may be anybody's."""
    OPEN = "open"
    """Too many in a row, and nobody else was asked: the instance is to be asked, or another one tried."""
    INSTANCE = "instance"
    HERE = "here"
    """The instance serves others, and the model is served elsewhere."""
    MODEL = "model"
    """It fails wherever it is asked: the model's fault, or its clients'."""


@dataclass(slots=True)
class _Row:
    """Failures in a row of one model on one instance."""

    first_s: float
    last_s: float
    times: int = 0
    callers: set[str] = field(default_factory=set)
    """Whose requests failed."""
    why: str = ""


class Failures:
    """What failed lately, by model and instance, since it was last served there. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], _Row] = {}
        self._served: dict[tuple[str, str], tuple[float, str]] = {}
        """When, and for whom."""

    def failed(self, model: str, instance: str, caller: str, why: str, enough: int, now_s: float) -> Verdict:
        """Take a failure and judge it; `enough` in a row are evidence.

        Against an instance speak failures of several models and callers with nothing served in between, and failures
        of a model that is served elsewhere meanwhile: to one of those who met failures, or where those are several.
        """
        self._forget(now_s)
        row = self._rows.setdefault((model, instance), _Row(now_s, now_s))
        row.times, row.last_s, row.why = row.times + 1, now_s, why
        row.callers.add(caller)
        if self._is_at_fault(model):
            return Verdict.MODEL
        served_s = max((at_s for (_, where), (at_s, _) in self._served.items() if where == instance), default=-inf)
        here = {
            name: one
            for (name, where), one in self._rows.items()
            if where == instance and one.last_s > served_s and not self._is_at_fault(name)
        }
        if sum(one.times for one in here.values()) < enough:
            return Verdict.LITTLE
        callers = set[str]().union(*(one.callers for one in here.values()))
        if not any(self._is_served_elsewhere(name, instance, one) for name, one in here.items()):
            return Verdict.INSTANCE if len(here) > 1 and len(callers) > 1 else Verdict.OPEN
        return Verdict.HERE if served_s >= row.first_s else Verdict.INSTANCE

    def served(self, model: str, instance: str, caller: str, now_s: float) -> None:
        """Take a request that was answered: the model is not at fault, nor for it the instance."""
        self._served[model, instance] = now_s, caller
        if self._rows:
            self._rows.pop((model, instance), None)

    def at_fault(self, now_s: float) -> dict[str, str]:
        """Return the models that fail wherever they are asked, and what they were answered last."""
        self._forget(now_s)
        found = {}
        for model in {model for model, _ in self._rows if self._is_at_fault(model)}:
            rows = {where: row for (name, where), row in self._rows.items() if name == model}
            last = max(rows.values(), key=lambda row: row.last_s)
            found[model] = f"{display(model)} fails on {', '.join(sorted(rows))}, and is served nowhere: {last.why}"
        return found

    def _is_at_fault(self, model: str) -> bool:
        """It failed on two instances, and nobody has served it since the first of these."""
        rows = [row for (name, _), row in self._rows.items() if name == model]
        if len(rows) < 2:
            return False
        since_s = min(row.first_s for row in rows)
        return not any(at_s >= since_s for (name, _), (at_s, _) in self._served.items() if name == model)

    def _is_served_elsewhere(self, model: str, instance: str, row: _Row) -> bool:
        return any(
            at_s >= row.first_s and (caller in row.callers or len(row.callers) > 1)
            for (name, where), (at_s, caller) in self._served.items()
            if name == model and where != instance
        )

    def _forget(self, now_s: float) -> None:
        self._rows = {key: row for key, row in self._rows.items() if now_s - row.last_s <= FORGOTTEN_S}
        self._served = {key: at_s for key, at_s in self._served.items() if now_s - at_s[0] <= FORGOTTEN_S}
