"""Everything that a scrape looks at, as of one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.counts import Counts
from spoe_agent.gpus.board import InstanceGpus
from spoe_agent.haproxy.contact import Contact
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.instances.watch import Watch
from spoe_agent.routing.snapshot import Health, Snapshot
from spoe_agent.routing.specs import FleetSpec


class Known(Protocol):
    """An agent and what keeps it informed."""

    @property
    def agent(self) -> Agent:
        """The agent."""

    @property
    def watch(self) -> Watch:
        """Its instances' health."""

    @property
    def gpus(self) -> InstanceGpus:
        """Its instances' GPUs; others when the fleet file was edited."""


class Limits(NamedTuple):
    """Of an instance's connections."""

    now: int
    configured: int
    slowdown: float


@dataclass(frozen=True, slots=True)
class Moment:
    """A running agent. What an edit of the fleet file changes is taken down at once: a page is made bit by bit."""

    known: Known
    contact: Contact
    snapshot: Snapshot
    fleet: FleetSpec
    health: Mapping[str, Health]
    limits: Mapping[str, Limits]
    mistakes: int = 0
    """In the fleet file as it is on disk."""

    @classmethod
    def of(cls, known: Known, limiter: Limiter, contact: Contact, now_s: float, mistakes: int = 0) -> Moment:
        """Return it as of `now_s` on the agent's clock."""
        agent, health = known.agent, {name: one.state for name, one in known.watch.health.items()}
        names = [spec.name for spec in agent.fleet.instances]
        limits = {one: Limits(limiter.now(one), limiter.configured(one), limiter.slowdown(one)) for one in names}
        return cls(known, contact, agent.board.snapshot({}, now_s), agent.fleet, health, limits, mistakes)

    @property
    def names(self) -> list[str]:
        """The instances, in the fleet file's order."""
        return [spec.name for spec in self.fleet.instances]

    @property
    def counts(self) -> Counts:
        """What happened since the agent started."""
        return self.known.agent.record.counts
