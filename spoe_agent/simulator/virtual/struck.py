"""A simulation in which one instance is struck again and again, and the front as it deals with that.

The same for every policy: HAProxy's health check, `option redispatch 1` where nobody listens, 502 for what a dying
process had begun.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from spoe_agent.haproxy.contract import INSTANCE_CHECK
from spoe_agent.simulator import InstanceProfile
from spoe_agent.simulator.virtual.faults import PlannedFault, Trouble
from spoe_agent.simulator.virtual.policy import Refusal, RoutingPolicy
from spoe_agent.simulator.virtual.requests import BROKEN, Request, RequestOutcome
from spoe_agent.simulator.virtual.simulation import Simulation, Timer

RETRIES = 3
"""`retries 3`: then the client gets 503."""


class HealthCheck:
    """HAProxy's health check of one instance: counts answers; one is enough to be up again."""

    def __init__(self) -> None:
        self.is_up = True
        self._failures = 0

    def take(self, is_answered: bool) -> float:
        """Take the outcome of a check, and return how long after it the next one is."""
        self._failures = 0 if is_answered else self._failures + 1
        if is_answered or self._failures >= INSTANCE_CHECK.fall:
            self.is_up = is_answered
        if not self.is_up:
            return INSTANCE_CHECK.downinter_s
        return INSTANCE_CHECK.fastinter_s if self._failures else INSTANCE_CHECK.inter_s


class StruckSimulation(Simulation):
    """Runs a workload through a policy while things go wrong. Used once."""

    def __init__(
        self,
        instances: Sequence[InstanceProfile],
        limits: Sequence[int | None],
        requests: Sequence[Request],
        policy: RoutingPolicy,
        fault: PlannedFault,
    ) -> None:
        super().__init__(instances, limits, requests, policy)
        self._fault = fault
        self._check = HealthCheck()
        self._retries: Counter[int] = Counter()
        # Only the one that is struck is checked: the others always answer.
        self._at(INSTANCE_CHECK.inter_s, Timer.CHECK, fault.server)
        self._at(fault.first_s, Timer.FAULT, True)

    def _happen(self, kind: Timer, number: int, now_s: float) -> None:
        if kind is Timer.CHECK:
            self._look(number, now_s)
        elif kind is Timer.FAULT:
            self._strike(bool(number), now_s)
        else:
            super()._happen(kind, number, now_s)

    def _look(self, server: int, now_s: float) -> None:
        """HAProxy's health check; what a change means for those who wait."""
        was_up = self._check.is_up
        self._at(now_s + self._check.take(self._instances[server].is_open), Timer.CHECK, server)
        if self._check.is_up is was_up:
            return
        for record in self._front.mark(server, self._check.is_up):
            if self._check.is_up:
                self._let_through.append((record, server))
            else:
                self._redispatch(record, now_s)

    def _strike(self, begins: bool, now_s: float) -> None:
        """Let the fault begin or end. Either way a process dies, but for slow loads."""
        fault, server = self._fault, self._fault.server
        instance = self._instances[server]
        if begins:
            self._at(now_s + fault.lasts_s, Timer.FAULT, False)
            self._at(now_s + fault.every_s, Timer.FAULT, True)
            instance.strike(fault.trouble, now_s)
        else:
            instance.heal(fault.trouble, now_s)
        if fault.trouble is not Trouble.SLOW:
            self._tell(fault.trouble is Trouble.GONE, begins, now_s)
        self._advance(server, now_s)

    def _tell(self, is_gone: bool, begins: bool, now_s: float) -> None:
        """What breaks when the fault begins or ends failed on the struck instance, not on the new one."""
        server = self._fault.server
        if begins:
            self._recorder.struck(server)
        if begins == is_gone:
            self._break(server, now_s)
        if not begins:
            self._recorder.healed(server)

    def _break(self, server: int, now_s: float) -> None:
        """The process is dead, and with it what it had."""
        self._front.resident[server].clear()
        queued = self._front.waiting[server]
        for record in [one for one in self._records.values() if one.server == server and one not in queued]:
            self._recorder.failed(server)
            self._end(record, BROKEN, now_s)
        for number in [number for number, at in self._probes.items() if at == server]:
            self._probed(number, False, now_s)

    def _submit(self, record: RequestOutcome, server: int, now_s: float) -> None:
        if self._instances[server].is_open:
            super()._submit(record, server, now_s)
        else:
            self._refuse(record, server, now_s)

    def _refuse(self, record: RequestOutcome, server: int, now_s: float) -> None:
        """Nobody listens there: HAProxy takes another server at once (`option redispatch 1`)."""
        self._recorder.failed(server)
        following = self._front.release(server)
        if following is not None:
            self._let_through.append((following, server))
        record.server = None
        with self._front.without(server):
            self._redispatch(record, now_s)

    def _redispatch(self, record: RequestOutcome, now_s: float) -> None:
        number = record.request.work.id
        self._retries[number] += 1
        may_retry = self._front.servers and self._retries[number] <= RETRIES
        verdict = self._policy.again(record.request, self._front, now_s) if may_retry else Refusal(503)
        self._follow(record, verdict, now_s)
        if isinstance(verdict, Refusal):
            self._policy.ended(record, self._front, now_s)
        self._grant(now_s)
