"""The page that Prometheus scrapes (text format 0.0.4), made from what is known at that moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from spoe_agent.haproxy.contact import Contact
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.metrics import conversation, gpus, instances, requests
from spoe_agent.metrics.metric import AnyMetric
from spoe_agent.metrics.moment import Known, Moment

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

METRICS: tuple[AnyMetric, ...] = (
    *requests.METRICS,
    *instances.METRICS,
    *gpus.METRICS,
    *conversation.METRICS,
)


class _One(Collector):
    """Collects a single family: a page is made one after the other."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> Iterable[Family]:
        return (self._family,)


def written(family: Family) -> bytes:
    """Return one metric's part of the page."""
    return generate_latest(_One(family))


class Exposition(Collector):
    """Of one running agent. Nothing is kept, or costs anything, between two scrapes.

    Args:
        clock: the agent's, monotonic seconds.
        mistakes: counts those of the fleet file as it is on disk.
    """

    def __init__(
        self,
        known: Known,
        limiter: Limiter,
        contact: Contact,
        clock: Callable[[], float] = time.monotonic,
        mistakes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._known = known
        self._limiter = limiter
        self._contact = contact
        self._clock = clock
        self._mistakes = mistakes
        self._process = ProcessCollector(registry=CollectorRegistry())

    def collect(self) -> Iterator[Family]:
        """Give each metric with its values, then those of the process."""
        moment = Moment.of(self._known, self._limiter, self._contact, self._clock(), self._mistakes())
        for metric in METRICS:
            yield metric.family(moment)
        yield from self._process.collect()

    async def page(self) -> bytes:
        """Return the page. Decisions are made between two metrics: all at once would hold them up."""
        parts = []
        for family in self.collect():
            parts.append(written(family))
            await asyncio.sleep(0)
        return b"".join(parts)
