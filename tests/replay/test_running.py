"""A replay: against its own fleet file it is what was, and another fleet makes the difference that it would make."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spoe_agent.fleet import specs
from spoe_agent.replay.recorded import NoLog, Recorded, RecordedFleet, read
from spoe_agent.replay.report import ALL, figures, rows
from spoe_agent.replay.running import Replay, learned, replay
from spoe_agent.routing.names import canonical
from spoe_agent.routing.specs import Weights
from tests.replay.rig import COUNT, fleet, record

WITHIN = 0.05
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
    assert (was.loads, would.loads) == (8, 8)
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


def test_the_agent_begins_with_what_the_recorded_one_had_learned() -> None:
    means = {kind: [("a:latest", "g0", 2.0, 5), ("a:latest", "gone", 9.0, 5)] for kind in ("service_s", "first_byte_s")}
    known = RecordedFleet.model_validate(
        {
            "time": 1.0,
            "instances": {},
            "stores": {"s": {"a:latest": 47, "b:latest": 90}, "t": {"c:latest": 16}},
            "cached": {"s": ["b:latest", "deleted:latest"]},
            "learned": {**means, "load_s": [("b:latest", "g1", 7.0, 2)], "from_disk": {"s": [1.5, 3]}},
        }
    )
    a, b = canonical("a"), canonical("b")
    found = learned(known, specs(fleet()))
    assert found.cached == {"s": {b: 90}}
    assert [(pair, mean.samples) for pair, mean in found.load.items()] == [((b, "g1"), 2)]
    for means_of in (found.service, found.first_byte):
        assert [(pair, mean.samples) for pair, mean in means_of.items()] == [((a, "g0"), 5)]
    assert found.warm_s(a, "g0") == pytest.approx(2.0)
    assert found.from_disk["s"].seconds == pytest.approx(1.5)
    assert found.from_disk["s"].samples == 3


def test_a_log_without_requests_is_refused(recorded: Recorded) -> None:
    with pytest.raises(NoLog, match="no request"):
        replay(Recorded([], recorded.known), fleet(), Weights())
