"""The account of what was granted: bridges the time until HAProxy's counts and Ollama's lists show it.

HAProxy's counts are the truth about connections and come with every request; the board only adds what they cannot
show: which model each granted request is for, grants so fresh that no connection exists yet, and loads that
`/api/ps` does not list until they are done. Every grant is dropped when its log line arrives, when HAProxy's counts
prove it gone, when its HAProxy process has ended, or when its time is up, so nothing drifts.

Counts are those of one HAProxy process, and grants belong to the one that asked: after a reload the old process still
carries its streams, and of two HAProxys each sees only its own. So counts prove or disprove nobody else's grants; what
the others carry is added to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from spoe_agent.agent.contexts import ContextsByInstance
from spoe_agent.agent.counted import SETTLE_S, CountedAccount, Difference
from spoe_agent.agent.grant import Grant, Ledger
from spoe_agent.agent.namesakes import Namesakes
from spoe_agent.routing.facts import InstanceLoad
from spoe_agent.routing.memory import ModelShape
from spoe_agent.routing.snapshot import (
    NO_ACTIVITY,
    NOTHING,
    UNKNOWN_STATE,
    Activity,
    GpuGroup,
    InstanceState,
    Learned,
    Snapshot,
)

GRANT_LIFETIME_S = 3600.0
"""No grant is believed in longer, whatever happened."""


class Board:
    """Holds the latest readings and the account of grants; gives out Snapshots. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._states: dict[str, InstanceState] = {}
        self._accounts: dict[str, CountedAccount] = {}
        self._where: dict[str, str] = {}
        self._gpus: Mapping[str, GpuGroup] = {}
        self._trained: dict[str, int] = {}
        self._contexts = ContextsByInstance()
        self._version = 0
        self.struck = self.restored = 0
        """Grants that were struck off without their line since the agent started, and of these taken back."""
        self.namesakes = Namesakes()
        self.shapes: Mapping[str, ModelShape] = {}
        """What is known of models' memory, by canonical key."""

    @property
    def version(self) -> int:
        """Counts what happened: as long as it stands still, so do slots."""
        return self._version

    @property
    def grants(self) -> int:
        """Requests believed to be in flight."""
        return len(self._where)

    def of_caller(self, caller: str) -> int:
        """Return how many of a caller's requests are believed to be in flight."""
        return sum([account.of_caller[caller] for account in self._accounts.values()])

    def publish(self, instance: str, state: InstanceState) -> None:
        """Replace an instance's readings. Loads that they show, or disprove, are no longer pending."""
        self._version += 1
        account = self._accounts.get(instance)
        state = self._contexts.read(instance, state, account)
        if account is not None and account.unloaded:
            state = account.without_unloaded(state)
        self._states = {**self._states, instance: state}
        shown: Mapping[str, int] = {}
        if account is not None and state.loaded_at_s is not None:
            self._expire(account, state.loaded_at_s)
            account.read(state, state.loaded_at_s)
            shown = account.trained(state, state.loaded_at_s)
        self._learn_trained(shown, state)

    def _learn_trained(self, shown: Mapping[str, int], state: InstanceState) -> None:
        """Keep what lists, or contexts that were cut, tell of models' own limits; drop what a larger one disproves."""
        known = {**self._trained, **shown, **state.trained}
        loaded = state.loaded
        known = {m: most for m, most in known.items() if m not in loaded or loaded[m].context_length <= most}
        if known != self._trained:
            # Decisions take what they worked out for the same as long as this is the same object.
            self._trained = known

    def publish_gpus(self, gpus: Mapping[str, GpuGroup]) -> None:
        """Replace what is known of the instances' GPUs."""
        self._version += 1
        self._gpus = gpus

    def forget_instance(self, instance: str) -> None:
        """An instance is gone, or is another server now: of it, only what was granted is still under way."""
        self._version += 1
        self.namesakes.forget(instance)
        self._states = {name: state for name, state in self._states.items() if name != instance}
        self._contexts.forget(instance)
        if instance in self._accounts:
            self._accounts[instance].forget_models()

    def ledgers(self) -> dict[str, Ledger]:
        """Return what the next agent must know, by instance."""
        return self._contexts.noted({name: account.ledger() for name, account in self._accounts.items()})

    def take(self, ledgers: Mapping[str, Ledger], now_s: float) -> None:
        """Go on where an agent before this one was: what it granted is still under way, unless it is too old."""
        self._version += 1
        for name, ledger in ledgers.items():
            account = self._accounts.setdefault(name, CountedAccount())
            account.take(ledger)
            self._contexts.take(name, ledger)
            self._where.update({grant.request_id: name for grant in ledger.grants})
            self._expire(account, now_s)
            state = self.state(name)
            if state.loaded_at_s is not None:
                account.read(state, state.loaded_at_s)

    def granted(self, instance: str) -> tuple[Grant, ...]:
        """Return an instance's grants, oldest first."""
        account = self._accounts.get(instance)
        return () if account is None else tuple(account.grants.values())

    def state(self, instance: str) -> InstanceState:
        """Return an instance's readings."""
        return self._states.get(instance, UNKNOWN_STATE)

    def grant(self, grant: Grant, victims: tuple[str, ...] = ()) -> None:
        """Enter a request that was sent to an instance.

        A model that is not loaded there is loading from now on, and `victims`, which must go for it, take no more
        requests until readings show that they went, or stayed.
        """
        self.end(grant.request_id)
        account = self._accounts.setdefault(grant.instance, CountedAccount())
        account.add(grant)
        account.load(grant, self._states.get(grant.instance), victims)
        self._version += 1
        self._where[grant.request_id] = grant.instance

    def unload(self, instance: str, model: str, now_s: float) -> None:
        """A client has a model unloaded. While it is busy it stays, and serves; else it is gone from now on."""
        account = self._accounts.setdefault(instance, CountedAccount())
        if account.unload(model, now_s):
            self._version += 1
            self._states = {**self._states, instance: account.without_unloaded(self.state(instance))}

    def reserve(self, instance: str, model: str, leaving: tuple[str, ...]) -> None:
        """Empty an instance for a model: those that are to go for it take no more requests."""
        self._accounts.setdefault(instance, CountedAccount()).reserve(model, leaving)
        self._version += 1

    def unreserve(self, instance: str) -> None:
        """Give that up."""
        self._accounts[instance].unreserve()
        self._version += 1

    def activity(self, instance: str) -> Activity:
        """Return the account of an instance as it is, whatever anybody counts."""
        account = self._accounts.get(instance)
        return NO_ACTIVITY if account is None else account.show()

    def served(self, grant: Grant, now_s: float) -> None:
        """Take note that a granted request was answered well: with its `num_ctx`, or as much as the model can do."""
        self._accounts[grant.instance].serve(grant, now_s)

    def find(self, request_id: str) -> Grant | None:
        """Return a request's grant. None for unknown ids (refused, or another agent's)."""
        instance = self._where.get(request_id)
        if instance is not None:
            return self._accounts[instance].grants[request_id]
        found = [account.struck[request_id] for account in self._accounts.values() if request_id in account.struck]
        return found[0] if found else None

    def end(self, request_id: str) -> Grant | None:
        """Strike a request off, because its log line arrived, and return its grant as `find` does."""
        self._version += 1
        instance = self._where.pop(request_id, None)
        if instance is not None:
            return self._accounts[instance].drop(request_id)
        found = self.find(request_id)
        if found is not None:
            del self._accounts[found.instance].struck[request_id]
        return found

    def forget(self, process: str) -> None:
        """Strike off what a HAProxy process still has, because it has ended: no lines come any more."""
        for account in self._accounts.values():
            account.differences.pop(process, None)
            for grant in [grant for grant in account.grants.values() if grant.process == process]:
                self._strike(account, grant.request_id)

    def by_process(self, instance: str) -> Mapping[str, int]:
        """Return the number of an instance's grants for each HAProxy process that has any."""
        account = self._accounts.get(instance)
        return {} if account is None else account.asked_by

    def _strike(self, account: CountedAccount, request_id: str) -> None:
        self._version += 1
        self.struck += 1
        del self._where[request_id]
        account.strike(request_id)

    def reconcile(self, loads: Mapping[str, InstanceLoad], process: str, now_s: float) -> None:
        """Hold what was granted to a HAProxy process against the counts that came with its question: strike off what
        they prove gone, and take back what they prove alive.
        """
        for name, load in loads.items():
            account = self._accounts.get(name)
            if account is not None:
                self._reconcile(account, load, process, now_s)

    def _reconcile(self, account: CountedAccount, load: InstanceLoad, process: str, now_s: float) -> None:
        difference = account.differences.get(process)
        if difference is None:
            difference = account.differences[process] = Difference()
        excess = account.excess(process, load)
        difference.beyond, difference.asked_at_s = max(0, -excess), now_s
        if excess <= 0:
            difference.surplus.least = 0
            if account.struck:
                self._restore_live(account, difference, process, now_s)
            else:
                difference.shortage.least = 0
            return
        difference.shortage.least = 0
        lost = excess - account.unseen(process, excess, now_s)
        counts_none = not load.connections + load.queued
        self._strike_lost(account, difference, process, lost, counts_none, now_s)

    def snapshot(
        self,
        loads: Mapping[str, InstanceLoad],
        now_s: float,
        learned: Learned = NOTHING,
        waiting: int = 0,
        home: str | None = None,
        process: str = "",
    ) -> Snapshot:
        """Return everything live, as it is for a request that came with these counts of this process. `learned`,
        `waiting` and `home` are put in as they are (see Snapshot).
        """
        activity: dict[str, Activity] = {}
        for name, account in self._accounts.items():
            load = loads.get(name)
            activity[name] = account.show() if load is None else account.see(process, load, now_s)
        known = self._gpus, self._trained, self._contexts.own, self.shapes
        return Snapshot(now_s, self._states, activity, learned, waiting, home, *known)

    def _strike_lost(
        self,
        account: CountedAccount,
        difference: Difference,
        process: str,
        surplus: int,
        counts_none: bool,
        now_s: float,
    ) -> None:
        """Drop the oldest grants once there have been more than HAProxy counts for a while: log lines were lost.

        Not at once: a request's counts can overtake the log line of one that just ended, and which grant that line
        is for is not known before it comes. Only when HAProxy counts nobody can no line name another grant.
        """
        if not difference.surplus.see(surplus, now_s) and not counts_none:
            return
        own = (grant for grant in account.grants.values() if grant.process == process)
        for grant in list(islice(own, difference.surplus.least)):
            if now_s - grant.at_s <= SETTLE_S:
                break
            self._strike(account, grant.request_id)
        difference.surplus.least = 0

    def _restore_live(self, account: CountedAccount, difference: Difference, process: str, now_s: float) -> None:
        """Take grants back once HAProxy has counted more for a while: one that lives was struck off for another."""
        struck = account.struck_of(process)
        if not difference.shortage.see(min(difference.beyond, len(struck)), now_s):
            return
        for grant in reversed(struck[-difference.shortage.least :]):
            account.restore(grant)
            self._where[grant.request_id] = grant.instance
            self._version += 1
            self.restored += 1
        difference.shortage.least = 0

    def _expire(self, account: CountedAccount, now_s: float) -> None:
        while account.grants:
            oldest = next(iter(account.grants.values()))
            if now_s - oldest.at_s <= GRANT_LIFETIME_S:
                return
            self.end(oldest.request_id)
