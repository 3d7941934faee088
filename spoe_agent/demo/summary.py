"""What a run came to: the numbers of `--json`, and the table people watch."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from statistics import median

from rich.table import Table

from spoe_agent.demo.traffic import Answered

WARM = "loaded"


@dataclass(slots=True)
class RunSummary:
    """Counts over the answers seen so far."""

    front: str
    instances: tuple[str, ...]
    seen: list[Answered] = field(default_factory=list)

    def add(self, seen: Answered) -> None:
        """Count one answer."""
        self.seen.append(seen)

    @property
    def failed(self) -> int:
        """Requests that did not get a whole answer."""
        return sum(seen.failed for seen in self.seen)

    def as_data(self, loads: int | None) -> dict[str, object]:
        """Return the run as plain data. `loads` is None when nobody counts them (the user's own instances)."""
        served = [seen for seen in self.seen if not seen.failed]
        return {
            "requests": len(self.seen),
            "failed": self.failed,
            "by_instance": {name: sum(seen.instance == name for seen in self.seen) for name in self.instances},
            "loads": loads,
            "warm_share": round(sum(seen.reason == WARM for seen in served) / max(1, len(served)), 3),
            "ttft_p50_s": round(median(seen.ttft_s for seen in served), 3) if served else None,
            "front": self.front,
            "errors": sorted({f"{seen.status} {seen.reason}" for seen in self.seen if seen.failed}),
        }

    def table(self, loads: int | None) -> Table:
        """Return where each model went, and why."""
        title = f"{len(self.seen)} requests, {self.failed} failed, loads: {'unknown' if loads is None else loads}"
        table = Table(title=f"{self.front}\n{title}")
        table.add_column("model")
        for name in self.instances:
            table.add_column(name, justify="right")
        table.add_column("why")
        table.add_column("first token, median", justify="right")
        for model, rows in sorted(self._by_model().items(), key=lambda item: -len(item[1])):
            where = Counter(seen.instance for seen in rows)
            why = Counter(seen.reason for seen in rows)
            reasons = ", ".join(f"{reason} {count}" for reason, count in why.most_common())
            counts = [str(where[name] or "") for name in self.instances]
            table.add_row(model, *counts, reasons, f"{1000 * median(seen.ttft_s for seen in rows):.0f} ms")
        return table

    def _by_model(self) -> dict[str, list[Answered]]:
        found: defaultdict[str, list[Answered]] = defaultdict(list)
        for seen in self.seen:
            found[seen.model].append(seen)
        return found
