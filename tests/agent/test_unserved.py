"""What was not served lately: counted by cause, forgotten after a pause, bounded."""

import pytest

from spoe_agent.agent.ending import Ending, Left
from spoe_agent.agent.grant import Grant
from spoe_agent.agent.unserved import LATELY_S, LEFT_LOAD, LEFT_QUEUE, TURNED_AWAY, Unserved
from spoe_agent.routing import Reason, Tier
from tests.rigs import A, B, Held


def test_each_cause_has_its_count_and_the_last_model():
    unserved = Unserved()
    for at_s, reason, model in ((1.0, Reason.NOT_FOUND, A), (2.0, Reason.CANNOT_FIT, A), (3.0, Reason.NOT_FOUND, B)):
        unserved.refused(reason, model, at_s)
    assert unserved.lately(4.0) == {Reason.NOT_FOUND: (2, B, 3.0), Reason.CANNOT_FIT: (1, A, 2.0)}


def test_after_a_pause_it_begins_anew():
    unserved = Unserved()
    unserved.refused(Reason.CANNOT_FIT, A, 0.0)
    assert unserved.lately(LATELY_S - 1.0)
    assert unserved.lately(LATELY_S) == {}
    unserved.refused(Reason.CANNOT_FIT, A, LATELY_S)
    assert unserved.lately(LATELY_S)[Reason.CANNOT_FIT].requests == 1


def test_clients_own_mistakes_are_not_among_them():
    unserved = Unserved()
    for reason in Reason:
        unserved.refused(reason, None, 0.0)
    assert unserved.lately(0.0).keys() == TURNED_AWAY


@pytest.mark.parametrize(
    ("tier", "left", "held_s", "cause"),
    [
        (Tier.ROOM, Left.UNANSWERED, 0.0, LEFT_LOAD),
        (Tier.LOADING, Left.UNANSWERED, 0.5, LEFT_LOAD),
        (Tier.LOADING, Left.UNANSWERED, 2.0, LEFT_QUEUE),
        (Tier.LOADED, Left.UNANSWERED, 2.0, LEFT_QUEUE),
        (Tier.LOADED, Left.UNANSWERED, 0.5, None),
        (None, Left.UNANSWERED, 0.0, None),
        (Tier.LOADED, Left.BEFORE, 0.0, LEFT_QUEUE),
        (Tier.ROOM, Left.ANSWERED, 2.0, None),
        (Tier.ROOM, None, 2.0, None),
    ],
)
def test_clients_that_leave(tier, left, held_s, cause):
    """The one below was granted its slot a second ago."""
    unserved = Unserved()
    unserved.left(Grant("r1", "g0", A, 0.0, tier), Ending(-0.001, 0.0, is_whole=False, left=left), held_s, 1.0)
    assert list(unserved.lately(1.0)) == ([] if cause is None else [cause])


def test_an_agent_counts_who_waited_in_vain_and_who_left():
    rig = Held(slots=1)
    rig.ask("runs", "leaves", "falls back", "waits")
    rig.agent.ended("leaves", "<NOSRV>", Ending(-0.001, 0.0, is_whole=False, left=Left.BEFORE))
    # HAProxy's patience was over: it was served all the same.
    rig.agent.ended("falls back", "g0", Ending(0.1, 1.0, is_whole=True))
    rig.clock.now_s += 61.0
    rig.agent.tick()
    lately = rig.agent.record.unserved.lately(rig.clock())
    assert {cause: one.requests for cause, one in lately.items()} == {LEFT_QUEUE: 1, Reason.HOLD_TIMEOUT: 1}
