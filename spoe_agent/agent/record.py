"""What is kept of requests for people: counts, the latest decisions, and a line in the log for each when that takes
them.
"""

from __future__ import annotations

import logging

import structlog

from spoe_agent.agent import decided
from spoe_agent.agent.counts import Counts, predicted_s
from spoe_agent.agent.ending import Ending, Line
from spoe_agent.agent.grant import Grant
from spoe_agent.agent.history import History
from spoe_agent.agent.learner import Learner
from spoe_agent.agent.rows import Rows
from spoe_agent.agent.spans import Spans
from spoe_agent.agent.unserved import Unserved
from spoe_agent.routing import Action, Choice, Reason, RequestFacts

log = structlog.get_logger()


class Record:
    """Of one agent. It decides nothing, and nothing is decided by it."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.history = History()
        self.rows = Rows()
        self.spans = Spans()
        self.unserved = Unserved()
        self.is_said = False
        """Decisions are said in the log, in short."""

    def decided(self, facts: RequestFacts, choice: Choice, now_s: float) -> None:
        """Take the decision on a request that has come, unless nobody waits for it any more."""
        if choice.reason is Reason.TOO_LATE:
            return
        for entry in self.history.decided(facts, choice, now_s):
            self.rows.still_open(entry)
        self.counts.decided(choice, facts.runner)
        if choice.action is Action.ROUTE:
            self.counts.granted(choice)
        elif choice.action is Action.REJECT:
            self.unserved.refused(choice.reason, facts.model, now_s)
        self._log("decided", facts, choice)

    def granted(self, facts: RequestFacts, choice: Choice, priority: int, held_s: float, now_s: float) -> None:
        """Take what a held request got at last: an instance, or a refusal."""
        is_routed = choice.action is Action.ROUTE
        if is_routed:
            self.counts.granted(choice)
        else:
            self.unserved.refused(choice.reason, facts.model, now_s)
        is_late = choice.reason is Reason.HOLD_TIMEOUT
        outcome = "granted" if is_routed else "timeout" if is_late else "refused"
        self.counts.left_queue(priority, outcome, held_s)
        if not self.history.granted(facts.request_id, choice, held_s):
            # An agent before this one held it.
            for entry in self.history.decided(facts, choice, now_s - held_s):
                self.rows.still_open(entry)
            self.history.granted(facts.request_id, choice, held_s)
        self._log("granted", facts, choice)

    def left(self, facts: RequestFacts, priority: int, held_s: float, now_s: float, has_left: bool) -> None:
        """Take a held request that ended by itself, because its client has left or HAProxy decided alone; or that comes
        around again.
        """
        self.counts.left_queue(priority, "left", held_s)
        if has_left:
            self.unserved.left_queue(facts.model or "", now_s)

    def finished(self, grant: Grant, ending: Ending, learner: Learner, now_s: float) -> None:
        """Take the end of a granted request, and have the learner learn from it."""
        warm_s = learner.warm_s(grant.model, grant.instance)
        load_s = learner.ended(grant, ending)
        if not grant.is_own:
            self.counts.finished(grant, ending, warm_s, load_s)
            entry = self.history.get(grant.request_id)
            self.unserved.left(grant, ending, (entry.held_s if entry else None) or 0.0, now_s)
        if grant.cost is not None and warm_s is not None:
            self.history.predicted(grant.request_id, predicted_s(grant.cost, warm_s))

    def ended(self, line: Line) -> None:
        """Take how a request ended, granted or not, when all else has been told."""
        entry = self.history.ended(line)
        self.rows.ended(entry, line)
        if entry is not None:
            self.spans.ended(entry)

    def leave(self) -> None:
        """Have the decision log know what is under way: this agent will not hear how it ends."""
        for entry in self.history.under_way():
            self.rows.still_open(entry)

    def _log(self, event: str, facts: RequestFacts, choice: Choice) -> None:
        """Nothing is worked out for a log that does not take it: this is on every request's path."""
        if log.is_enabled_for(logging.DEBUG):
            log.debug(event, **decided.fields(facts, choice, self.rows.caller(facts.caller)))
        elif self.is_said:
            log.info(event, **decided.short(facts, choice, self.rows.caller(facts.caller)))
