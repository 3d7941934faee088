"""How the counts of one HAProxy process differ from what was granted to it, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from spoe_agent.agent.account import FRESH_S, Account
from spoe_agent.routing.facts import InstanceLoad
from spoe_agent.routing.snapshot import Activity

SETTLE_S = 2.0
"""A grant that HAProxy has not counted for so long is gone: its log line was lost, not only late."""

BEYOND_LIFETIME_S = 10.0
"""Another process's connections that are no grants (from before a restart, or decided without us) are believed in so
long after it asked last."""


@dataclass(slots=True)
class Above:
    """How long a number has been above zero."""

    least: int = 0
    """The least that it was whenever it was looked at since then."""
    since_s: float = 0.0

    def see(self, number: int, now_s: float) -> bool:
        """Take the number as of now, and tell whether it has been above zero for a while."""
        if not self.least:
            self.since_s = now_s
        self.least = min(self.least or number, number)
        return self.least > 0 and now_s - self.since_s > SETTLE_S


@dataclass(slots=True)
class Difference:
    """How one HAProxy process's counts have differed from the grants that it asked for."""

    surplus: Above = field(default_factory=Above)
    """Grants beyond its counts."""
    shortage: Above = field(default_factory=Above)
    """Connections beyond the grants, where some were struck off."""
    beyond: int = 0
    """Connections beyond the grants when it asked last."""
    asked_at_s: float = 0.0


@dataclass(slots=True)
class CountedAccount(Account):
    """An account, and how it has differed from each process's counts."""

    differences: dict[str, Difference] = field(default_factory=dict)
    seen: dict[tuple[int, int], Activity] = field(default_factory=dict)
    """The account as it was last given out, by what counts do not show of it."""
    seen_of: Activity | None = None
    """The account itself that this was made of."""

    def see(self, process: str, load: InstanceLoad, now_s: float) -> Activity:
        """Return the account, frozen, as it is for a process with these counts; the same object as long as it is the
        same.
        """
        shown = self.show()
        if self.seen_of is not shown:
            self.seen, self.seen_of = {}, shown
        own = self.asked_by.get(process, 0)
        excess = own - load.connections - load.queued
        unseen = self.unseen(process, excess, now_s) if excess > 0 else 0
        elsewhere = self.elsewhere(process, now_s) if len(self.grants) > own or len(self.differences) > 1 else 0
        if not unseen and not elsewhere:
            return shown
        found = self.seen.get((unseen, elsewhere))
        if found is None:
            found = replace(shown, unseen=unseen, elsewhere=elsewhere)
            self.seen[unseen, elsewhere] = found
        return found

    def excess(self, process: str, load: InstanceLoad) -> int:
        """Return how many more requests were granted to a process than it counts; below zero: how many fewer."""
        return self.asked_by.get(process, 0) - load.connections - load.queued

    def unseen(self, process: str, excess: int, now_s: float) -> int:
        """Return how many of the process's newest `excess` grants may not be connections yet."""
        fresh = 0
        for grant in reversed(self.grants.values()):
            if fresh == excess or now_s - grant.at_s > FRESH_S:
                break
            fresh += grant.process == process
        return fresh

    def elsewhere(self, process: str, now_s: float) -> int:
        """Return the requests that other processes have here."""
        others = len(self.grants) - self.asked_by.get(process, 0)
        if len(self.differences) < 2:
            return others
        return others + sum(
            difference.beyond
            for name, difference in self.differences.items()
            if name != process and now_s - difference.asked_at_s <= BEYOND_LIFETIME_S
        )
