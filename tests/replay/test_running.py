"""A replay: against its own fleet file it is what was, and another fleet makes the difference that it would make."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spoe_agent.replay.recorded import NoLog, Recorded, read
from spoe_agent.replay.report import ALL, figures, rows
from spoe_agent.replay.running import Replay, replay
from spoe_agent.routing.specs import Weights
from tests.replay.rig import COUNT, fleet, record

WITHIN = 0.15
"""Of mean times to the first token."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    file = tmp_path_factory.mktemp("log") / "d.jsonl"
    file.write_text("\n".join(record(fleet())) + "\n")
    return read([file])


@pytest.fixture(scope="module")
def same(recorded: Recorded) -> Replay:
    return replay(recorded, fleet(), Weights())


def test_against_its_own_fleet_file_it_is_what_was(same: Replay) -> None:
    was, would = rows(same)[ALL]
    assert (was.requests, would.requests, was.failed, would.failed) == (COUNT, COUNT, 0, 0)
    assert was.loads > 2
    assert would.first_mean_s == pytest.approx(was.first_mean_s, rel=WITHIN)


def test_with_more_instances_requests_wait_less_and_less_is_loaded(recorded: Recorded, same: Replay) -> None:
    one, two, four = (figures(of.would) for of in (replay(recorded, fleet(1), Weights()), same, _four(recorded)))
    assert one.first_mean_s > two.first_mean_s > four.first_mean_s
    assert one.waited_mean_s > four.waited_mean_s
    assert one.loads > two.loads


def _four(recorded: Recorded) -> Replay:
    return replay(recorded, fleet(4), Weights())


def test_rules_of_the_fleet_file_hold(recorded: Recorded, same: Replay) -> None:
    pinned = replay(recorded, fleet(2, "models: [{match: '*', instances: [g1]}]"), Weights())
    assert figures(pinned.would).first_mean_s > figures(same.would).first_mean_s
    assert pinned.was == same.was


def test_weights_change_decisions(recorded: Recorded, same: Replay) -> None:
    assert replay(recorded, fleet(), replace(Weights(), load=0.0, share=5.0)).would != same.would


def test_a_log_without_requests_is_refused(recorded: Recorded) -> None:
    with pytest.raises(NoLog, match="no request"):
        replay(Recorded([], recorded.known), fleet(), Weights())
