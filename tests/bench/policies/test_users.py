from __future__ import annotations

import pytest

from bench.policies.users import THINK_S, USERS, in_turns
from spoe_agent.simulator.virtual.requests import Request
from tests.simulator.virtual.builders import request


def asked() -> tuple[Request, ...]:
    return in_turns([request(number) for number in range(20 * USERS)], seed=1)


def test_every_user_asks_one_thing_at_a_time() -> None:
    by_id = {one.work.id: one for one in asked()}
    later = [one for one in by_id.values() if one.after is not None]

    assert len(later) == len(by_id) - USERS and len({one.after for one in later}) == len(later)
    for one in later:
        before = by_id[one.after]
        assert one.at_s == pytest.approx(before.at_s + before.solo_s + one.think_s)
    assert sum(one.think_s for one in later) / len(later) == pytest.approx(THINK_S, rel=0.1)


def test_the_order_stays_and_a_seed_gives_the_same_again() -> None:
    requests = asked()

    assert [one.work.id for one in requests] == list(range(len(requests)))
    assert [one.at_s for one in requests] == sorted(one.at_s for one in requests)
    assert requests == asked()
