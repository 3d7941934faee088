"""One metric: what it is called and means, and how its values are found at one moment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.utils import floatToGoString

from spoe_agent.agent.counts import Histogram
from spoe_agent.metrics.moment import Moment

V = TypeVar("V")

Row = tuple[tuple[str, ...], V]
"""The labels' values, and the value."""


@dataclass(frozen=True)
class Metric(ABC, Generic[V]):
    """A metric of this agent."""

    name: str
    labels: tuple[str, ...]
    rows: Callable[[Moment], Iterable[Row[V]]]
    meaning: str
    kind: ClassVar[str]

    @abstractmethod
    def family(self, moment: Moment) -> Family:
        """Return it with all its values."""


class Number(Metric[float]):
    """One value for each set of labels."""

    form: ClassVar[type[CounterMetricFamily] | type[GaugeMetricFamily]]

    def family(self, moment: Moment) -> Family:
        """Return it with all its values."""
        found = self.form(self.name, self.meaning, labels=self.labels)
        for labels, value in self.rows(moment):
            found.add_metric(labels, value)
        return found


class Counter(Number):
    """Only grows, until the agent starts anew."""

    kind, form = "counter", CounterMetricFamily


class Gauge(Number):
    """As it is now."""

    kind, form = "gauge", GaugeMetricFamily


class Distribution(Metric[Histogram]):
    """Values by size."""

    kind = "histogram"

    def family(self, moment: Moment) -> Family:
        """Return it with all its values."""
        found = HistogramMetricFamily(self.name, self.meaning, labels=self.labels)
        for labels, values in self.rows(moment):
            bounds = [*map(floatToGoString, values.bounds), "+Inf"]
            buckets = list(zip(bounds, map(float, accumulate(values.counts)), strict=True))
            found.add_metric(labels, buckets, sum_value=values.total)
        return found


AnyMetric = Metric[float] | Metric[Histogram]
