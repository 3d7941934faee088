"""What the log says of instances: each change once, and what goes wrong again and again once for all its times."""

from __future__ import annotations

from enum import Enum
from math import inf

import structlog

from spoe_agent.instances.health import Transition
from spoe_agent.instances.reading import Reading
from spoe_agent.routing import Health
from spoe_agent.routing.names import display

log = structlog.get_logger()

PATIENCE = 2
"""Times in a row until it is worth a word: Ollama's lists wait for a moment while it loads or unloads."""

QUIET_S = 60.0
"""Without a relapse for so long, it is over. So what comes and goes is two lines a minute at most."""


class News(Enum):
    """What to say."""

    NOTHING = "nothing"
    BEGINS = "begins"
    ENDS = "ends"


class Complaint:
    """One thing that may go wrong. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._last_at_s = -inf
        self._is_said = False

    def see(self, is_wrong: bool, now_s: float) -> News:
        """Take how things are, and return what is new."""
        if is_wrong:
            self._in_a_row += 1
            self._last_at_s = now_s
            if self._in_a_row >= PATIENCE and not self._is_said:
                self._is_said = True
                return News.BEGINS
        else:
            self._in_a_row = 0
            if self._is_said and now_s - self._last_at_s >= QUIET_S:
                self._is_said = False
                return News.ENDS
        return News.NOTHING


def log_poll(instance: str, reading: Reading, turn: Transition | None, lists: News) -> None:
    """Say what a poll has changed: of the instance's health, else of its lists, which say nothing of that."""
    if turn is not None and turn.before is Health.UNKNOWN and turn.after is Health.UP:
        log.info("instance answers", instance=instance, version=reading.version)
    elif turn is not None:
        log_turn(turn)
    elif lists is News.BEGINS:
        log.warning("instance's lists do not come", instance=instance, why=reading.why)
    elif lists is News.ENDS:
        log.info("instance's lists come again", instance=instance)


def log_turn(turn: Transition | None) -> None:
    """Say that an instance's health changed, if it did."""
    if turn is None:
        return
    say = log.info if turn.after is Health.UP else log.warning
    said = {"before": str(turn.before), "after": str(turn.after), "evidence": turn.evidence}
    say("instance's health changes", instance=turn.instance, **said)


def log_avoided(instance: str, model: str, why: str, pause_s: float) -> None:
    """Say that an instance is passed over for a while: for a model, or for all ("")."""
    if pause_s:
        log.info("instance is passed over", instance=instance, model=display(model), why=why, seconds=pause_s)
