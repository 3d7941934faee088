"""The account of what was granted: bridges the time until HAProxy's counts and Ollama's lists show it.

HAProxy's counts are the truth about connections and come with every request; the board only adds what they cannot
show: which model each granted request is for, grants so fresh that no connection exists yet, and loads that
`/api/ps` does not list until they are done. Every grant is dropped when its log line arrives, when HAProxy's counts
prove it gone, or when its time is up, so nothing drifts. Must not live here: I/O, decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from math import exp

from spoe_agent.routing.choice import Tier
from spoe_agent.routing.facts import InstanceLoad
from spoe_agent.routing.learned import NOTHING, Learned
from spoe_agent.routing.names import is_cloud
from spoe_agent.routing.snapshot import UNKNOWN_STATE, Activity, GpuGroup, InstanceState, Snapshot

FRESH_S = 0.1
"""A grant this young may not be a connection yet: HAProxy still has to act on it."""

SETTLE_S = 2.0
"""A grant that HAProxy has not counted for so long is gone: its log line was lost, not only late."""

GRANT_LIFETIME_S = 3600.0
"""No grant is believed in longer, whatever happened."""

MAX_STRUCK = 64
"""Grants per instance that were struck off without their log line, and may have been so in vain."""

MEAN_WINDOW_S = 60.0
"""Over which the mean number of requests in flight is taken."""

LOADING_LIFETIME_S = 600.0
"""A load that `/api/ps` still does not list by then did not happen."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One request that was sent to an instance."""

    request_id: str
    instance: str
    model: str
    at_s: float
    tier: Tier | None = None
    """How warm the instance was for it."""


@dataclass(slots=True)
class _Watch:
    """How long a number has been above zero."""

    least: int = 0
    """The least that it was in every snapshot since then."""
    since_s: float = 0.0

    def see(self, number: int, now_s: float) -> bool:
        """Take the number as of now, and tell whether it has been above zero for a while."""
        if not self.least:
            self.since_s = now_s
        self.least = min(self.least or number, number)
        return self.least > 0 and now_s - self.since_s > SETTLE_S


@dataclass(slots=True)
class _Account:
    """One instance's grants, oldest first, with their number per model kept beside them."""

    grants: dict[str, Grant] = field(default_factory=dict)
    in_flight: Counter[str] = field(default_factory=Counter)
    loading: dict[str, float] = field(default_factory=dict)
    shown: Activity | None = None
    """The account as it was last given out, as long as nothing changed."""
    struck: dict[str, Grant] = field(default_factory=dict)
    """Grants that were struck off without their log line, the latest last."""
    surplus: _Watch = field(default_factory=_Watch)
    """Grants beyond HAProxy's counts."""
    shortage: _Watch = field(default_factory=_Watch)
    """Connections beyond the grants, where some were struck off."""
    mean: float = 0.0
    mean_at_s: float = 0.0

    def average(self, now_s: float) -> None:
        """Take the present number of grants into the mean."""
        self.mean += (1 - exp(-max(0.0, now_s - self.mean_at_s) / MEAN_WINDOW_S)) * (len(self.grants) - self.mean)
        self.mean_at_s = now_s
        self.shown = None

    def add(self, grant: Grant) -> None:
        self.grants[grant.request_id] = grant
        self.in_flight[grant.model] += 1
        self.shown = None

    def drop(self, request_id: str) -> Grant:
        grant = self.grants.pop(request_id)
        self.in_flight[grant.model] -= 1
        if not self.in_flight[grant.model]:
            del self.in_flight[grant.model]
        self.shown = None
        return grant

    def strike(self, request_id: str) -> None:
        """Drop a grant whose line is taken for lost."""
        self.struck[request_id] = self.drop(request_id)
        if len(self.struck) > MAX_STRUCK:
            del self.struck[next(iter(self.struck))]

    def restore(self) -> Grant:
        """Take the grant back that was struck off last. It is old, so it comes first."""
        _, grant = self.struck.popitem()
        self.grants = {grant.request_id: grant, **self.grants}
        self.in_flight[grant.model] += 1
        self.shown = None
        return grant

    def show(self) -> Activity:
        """Return the account, frozen."""
        if self.shown is None:
            self.shown = Activity(dict(self.in_flight), 0, dict(self.loading), self.mean)
        return self.shown


class Board:
    """Holds the latest readings and the account of grants; gives out Snapshots. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._states: dict[str, InstanceState] = {}
        self._accounts: dict[str, _Account] = {}
        self._where: dict[str, str] = {}
        self._gpus: Mapping[str, GpuGroup] = {}
        self.version = 0
        """Counts what happened: as long as it stands still, so do slots."""

    @property
    def grants(self) -> int:
        """Requests believed to be in flight."""
        return len(self._where)

    def publish(self, instance: str, state: InstanceState) -> None:
        """Replace an instance's readings. Loads that they show, or disprove, are no longer pending."""
        self.version += 1
        self._states = {**self._states, instance: state}
        account = self._accounts.get(instance)
        if account is None or state.loaded_at_s is None:
            return
        self._expire(account, state.loaded_at_s)
        account.average(state.loaded_at_s)
        for model, since in list(account.loading.items()):
            seen = model in state.loaded and state.loaded_at_s > since
            given_up = model not in account.in_flight and state.loaded_at_s > since + FRESH_S
            if seen or given_up or state.loaded_at_s > since + LOADING_LIFETIME_S:
                del account.loading[model]
                account.shown = None

    def publish_gpus(self, gpus: Mapping[str, GpuGroup]) -> None:
        """Replace what is known of the instances' GPUs."""
        self.version += 1
        self._gpus = gpus

    def granted(self, instance: str) -> tuple[Grant, ...]:
        """Return an instance's grants, oldest first."""
        account = self._accounts.get(instance)
        return () if account is None else tuple(account.grants.values())

    def state(self, instance: str) -> InstanceState:
        """Return an instance's readings."""
        return self._states.get(instance, UNKNOWN_STATE)

    def grant(self, grant: Grant, victims: tuple[str, ...] = ()) -> None:
        """Enter a request that was sent to an instance.

        A model that is not loaded there is loading from now on, and `victims`, which must go for it, are as good as
        gone; the next reading tells.
        """
        self.end(grant.request_id)
        account = self._accounts.setdefault(grant.instance, _Account())
        account.add(grant)
        self.version += 1
        self._where[grant.request_id] = grant.instance
        state = self._states.get(grant.instance)
        if not is_cloud(grant.model) and (state is None or grant.model not in state.loaded or victims):
            account.loading.setdefault(grant.model, grant.at_s)
            account.shown = None
        if state is not None and victims:
            left = {model: loaded for model, loaded in state.loaded.items() if model not in victims}
            self._states = {**self._states, grant.instance: replace(state, loaded=left)}

    def doubt(self, before_s: float) -> None:
        """Strike off the grants from before a moment: nothing proves them any more."""
        for account in self._accounts.values():
            for grant in [grant for grant in account.grants.values() if grant.at_s < before_s]:
                self._strike(account, grant.request_id)

    def end(self, request_id: str) -> Grant | None:
        """Strike a request off: its log line arrived. None for unknown ids (refused, or another agent's)."""
        self.version += 1
        instance = self._where.pop(request_id, None)
        if instance is not None:
            return self._accounts[instance].drop(request_id)
        found = [account.struck.pop(request_id) for account in self._accounts.values() if request_id in account.struck]
        return found[0] if found else None

    def _strike(self, account: _Account, request_id: str) -> None:
        self.version += 1
        del self._where[request_id]
        account.strike(request_id)

    def snapshot(
        self,
        loads: Mapping[str, InstanceLoad],
        now_s: float,
        learned: Learned = NOTHING,
        waiting: int = 0,
        home: str | None = None,
    ) -> Snapshot:
        """Return everything live, reconciled with the counts that came with the request being decided.

        `learned`, `waiting` and `home` are put in as they are (see Snapshot).
        """
        activity = {name: self._activity(account, loads.get(name), now_s) for name, account in self._accounts.items()}
        return Snapshot(now_s, self._states, activity, learned, waiting, home, self._gpus)

    def _activity(self, account: _Account, load: InstanceLoad | None, now_s: float) -> Activity:
        if load is None:
            return account.show()
        counted = load.connections + load.queued
        excess = len(account.grants) - counted
        if excess <= 0:
            account.surplus.least = 0
            self._restore_live(account, -excess, now_s)
            return account.show()
        account.shortage.least = 0
        fresh = self._fresh(account, excess, now_s)
        self._strike_lost(account, excess - fresh, counted, now_s)
        shown = account.show()
        return Activity(shown.in_flight, fresh, shown.loading, shown.mean_in_flight) if fresh else shown

    @staticmethod
    def _fresh(account: _Account, excess: int, now_s: float) -> int:
        """Return how many of the newest `excess` grants may not be connections yet."""
        fresh = 0
        for grant in islice(reversed(account.grants.values()), excess):
            if now_s - grant.at_s > FRESH_S:
                break
            fresh += 1
        return fresh

    def _strike_lost(self, account: _Account, surplus: int, counted: int, now_s: float) -> None:
        """Drop the oldest grants once there have been more than HAProxy counts for a while: log lines were lost.

        Not at once: a request's counts can overtake the log line of one that just ended, and which grant that line
        is for is not known before it comes. Only when HAProxy counts nobody can no line name another grant.
        """
        if not account.surplus.see(surplus, now_s) and counted:
            return
        for _ in range(account.surplus.least):
            oldest = next(iter(account.grants.values()))
            if now_s - oldest.at_s <= SETTLE_S:
                break
            self._strike(account, oldest.request_id)
        account.surplus.least = 0

    def _restore_live(self, account: _Account, shortage: int, now_s: float) -> None:
        """Take grants back once HAProxy has counted more for a while: of several, one that lives was struck off, and
        the line of the other came after all (HAProxy had sent it on to another instance).
        """
        if not account.shortage.see(min(shortage, len(account.struck)), now_s):
            return
        for _ in range(account.shortage.least):
            grant = account.restore()
            self._where[grant.request_id] = grant.instance
            self.version += 1
        account.shortage.least = 0

    def _expire(self, account: _Account, now_s: float) -> None:
        while account.grants:
            oldest = next(iter(account.grants.values()))
            if now_s - oldest.at_s <= GRANT_LIFETIME_S:
                return
            self.end(oldest.request_id)
