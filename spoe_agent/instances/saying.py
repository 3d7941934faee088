"""The log's lines about instances' health: each change once."""

from __future__ import annotations

import structlog

from spoe_agent.instances.complaint import News
from spoe_agent.instances.health import Transition
from spoe_agent.routing import Health, InstanceState

log = structlog.get_logger()


def log_poll(instance: str, state: InstanceState, turn: Transition | None, lists: News) -> None:
    """Say what a poll has changed: of the instance's health, else of its lists, which say nothing of that."""
    if turn is not None and turn.before is Health.UNKNOWN and turn.after is Health.UP:
        log.info("instance answers", instance=instance, version=state.version)
    elif turn is not None:
        log_turn(turn)
    elif lists is News.BEGINS:
        log.warning("instance's lists do not come", instance=instance, why=state.why)
    elif lists is News.ENDS:
        log.info("instance's lists come again", instance=instance)


def log_turn(turn: Transition | None) -> None:
    """Say that an instance's health changed, if it did."""
    if turn is None:
        return
    say = log.info if turn.after is Health.UP else log.warning
    said = {"before": str(turn.before), "after": str(turn.after), "evidence": turn.evidence}
    say("instance's health changes", instance=turn.instance, **said)
