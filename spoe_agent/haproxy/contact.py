"""Whether HAProxy asks the agent: questions on one side, log lines of requests that went on without it on the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog

from spoe_agent.agent.ending import Line
from spoe_agent.haproxy.contract import AGENT_BACKEND, AGENT_CHECK, TOO_LATE
from spoe_agent.haproxy.processes import HAProxyProcesses, birth
from spoe_agent.haproxy.tally import Tally

log = structlog.get_logger()

GRACE_S = 10 * AGENT_CHECK.inter_s
"""HAProxy finds an agent that has just started at its next check; what begins before that is no sign."""

RECENT_S = 60.0
"""A request that fell back longer ago is history."""

REPEAT_S = 300.0
"""The log says it again after so long."""


OPEN = (
    "HAProxy lets everybody in: the fleet file asks for keys, and the files that HAProxy runs with do not. Put them in "
    "force: pointsman apply (or pointsman render haproxy, then HAProxy's reload)"
)


class Contact:
    """Counts questions, and the requests that were decided without one.

    Args:
        clock: monotonic seconds.
        wall: seconds since 1970, as HAProxy's log lines have them.
        birth: see HAProxyProcesses.
        wants_keys: whether the fleet file asks for keys now.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        birth: Callable[[int], str | None] = birth,
        wants_keys: Callable[[], bool] = lambda: False,
    ) -> None:
        self._clock = clock
        self._wants_keys = wants_keys
        self._valid_from_s = wall() + GRACE_S
        self.processes = HAProxyProcesses(clock, birth)
        self.tally = Tally()
        self.questions = 0
        self.lines = 0
        self.fell_back = 0
        self._asked_at_s: float | None = None
        self._first_at_s: float | None = None
        self._last_at_s: float | None = None
        self._is_sign_at_s: float | None = None
        self._error = ""
        self._keyless_at_s: dict[str, float] = {}
        """When a process asked about somebody without a key, unless it has asked about one with since."""
        self._complained_at_s: float | None = None

    def asked(self, process: str, has_key: bool | None = None) -> None:
        """Take note of a question. `has_key`: somebody asks who has one, or needs none; None: it does not tell."""
        self.questions += 1
        self._asked_at_s = self._clock()
        if has_key is False:
            self._keyless_at_s[process] = self._asked_at_s
        elif has_key and self._keyless_at_s:
            self._keyless_at_s.pop(process, None)
        if process:
            self.processes.asked(process)

    def ended(self, line: Line) -> None:
        """Take a finished request's line."""
        self.lines += 1
        self.processes.logged(line.process)
        if line.fell_back:
            now_s = self._clock()
            self.fell_back += 1
            self._first_at_s = now_s if self._first_at_s is None else self._first_at_s
            self._last_at_s = now_s
            if line.begun_at_s >= self._valid_from_s:
                self._is_sign_at_s, self._error = now_s, line.spoe_error

    def warning(self) -> str:
        """Return what speaks against HAProxy's asking, for people; "" when nothing does."""
        now_s, sign_at_s = self._clock(), self._is_sign_at_s
        if self._wants_keys() and any(now_s - at_s <= RECENT_S for at_s in self._keyless_at_s.values()):
            return OPEN
        if sign_at_s is None or now_s - sign_at_s > RECENT_S:
            return ""
        error = f" (spoe_error {self._error})" if self._error else ""
        count = f"{self.fell_back} request{'s' if self.fell_back != 1 else ''} went on without the agent{error}"
        if self._asked_at_s is None:
            return (
                f"HAProxy has never asked this agent, although it sends log lines: {count}. It does not reach the "
                f"address in its backend {AGENT_BACKEND}; with `chroot` a unix socket's path is another for HAProxy "
                "(haproxy.spop in the fleet file)"
            )
        if self._asked_at_s < sign_at_s:
            return f"HAProxy asks no more: {count}, the last question came {now_s - self._asked_at_s:.0f} s ago"
        why = "the agent answers too late" if self._error == TOO_LATE else "not every question reaches it"
        return f"HAProxy asks, but {why}: {count}, the last {now_s - sign_at_s:.0f} s ago"

    def review(self) -> list[str]:
        """Say in the log, now and then, what is wrong; return the processes that have ended."""
        warning, now_s = self.warning(), self._clock()
        if warning and (self._complained_at_s is None or now_s - self._complained_at_s >= REPEAT_S):
            what = "requests come in without a key" if warning == OPEN else "requests are routed without the agent"
            log.warning(what, why=warning)
            self._complained_at_s = now_s
        ended = self.processes.take_ended()
        for process in ended:
            self._keyless_at_s.pop(process, None)
        return ended

    def status(self) -> dict[str, Any]:
        """Return what is known as plain data; ages in seconds, None: never."""
        return {
            "warning": self.warning(),
            "questions": self.questions,
            "asked_age_s": self._age(self._asked_at_s),
            "lines": self.lines,
            "fell_back": self.fell_back,
            "first_fell_back_age_s": self._age(self._first_at_s),
            "last_fell_back_age_s": self._age(self._last_at_s),
            "processes": [
                {
                    "name": name,
                    "asked_age_s": self._age(heard.asked_at_s),
                    "heard_age_s": self._age(heard.heard_at_s),
                    "connections": heard.connections,
                }
                for name, heard in self.processes.heard.items()
            ],
        }

    def _age(self, at_s: float | None) -> float | None:
        return None if at_s is None else round(self._clock() - at_s, 1)
