"""Explanations as plain data, from a real agent."""

import pytest

from spoe_agent.admin import explain
from spoe_agent.agent.ending import Ending, Line
from spoe_agent.routing.choice import Cost
from tests.metrics.rig import Rig


def ended(rig, request_id, server, first_byte_s, total_s, **fields):
    rig.end(request_id, server, first_byte_s, total_s, **fields)
    is_whole = fields.get("is_whole", True)
    rig.agent.record.ended(Line(request_id, server, Ending(first_byte_s, total_s, is_whole), name="job-1"))


def test_every_instance_has_terms_that_sum_to_its_total():
    rig = Rig()
    for number in range(3):
        rig.ask(f"r{number}")
    found = explain.one(rig.agent, "r2", rig.clock())
    assert set(found["candidates"]) == {"g0", "g1"}
    for one in found["candidates"].values():
        terms = [one.get(term, 0.0) for term in Cost._fields]
        assert sum(terms) == pytest.approx(one["total_s"], abs=0.005)
    assert min(found["candidates"], key=lambda name: found["candidates"][name]["total_s"]) == found["instance"]


def test_where_one_would_go_is_where_the_next_goes_and_nothing_is_granted():
    rig = Rig()
    for model in ("a", "b"):
        before = rig.agent.board.version, rig.agent.board.grants, len(rig.agent.record.history)
        counted = dict(rig.agent.record.counts.decisions)
        would = explain.would(rig.agent, model)
        assert (rig.agent.board.version, rig.agent.board.grants, len(rig.agent.record.history)) == before
        assert rig.agent.record.counts.decisions == counted
        choice = rig.ask(f"r{model}", model)
        assert (would["instance"], would["reason"]) == (choice.instance, str(choice.reason))
        assert would["age_s"] is None


def test_where_a_held_one_would_wait():
    rig = Rig()
    rig.watch.drain("g1")
    rig.ask("r1")
    rig.ask("r2")
    would = explain.would(rig.agent, "a")
    assert (would["action"], would["instance"]) == ("hold", "g0")
    assert len(rig.agent.hold) == 0
    assert would["candidates"]["g1"]["excluded"] == "drained"


@pytest.mark.parametrize(("log_caller", "told"), [("name", "alice"), ("hash", "2BD806C97F0E00AF"), ("none", "")])
def test_whose_a_request_is_is_told_as_the_fleet_file_says(log_caller, told):
    rig = Rig()
    rig.agent.record.rows.log_caller = log_caller
    rig.ask("r1", caller="alice")
    assert explain.one(rig.agent, "r1", rig.clock())["caller"] == told
    assert [one["caller"] for one in explain.last(rig.agent, 5, None, rig.clock())] == [told]


def test_what_was_predicted_and_what_came():
    rig = Rig()
    rig.ask("r0")
    ended(rig, "r0", "g0", 0.5, 4.0)
    rig.ask("r1", caller="10.0.0.5")
    rig.clock.now_s += 7.0
    ended(rig, "r1", "g0", 0.7, 4.0)
    for name in ("r1", "job-1"):
        found = explain.one(rig.agent, name, rig.clock())
        assert (found["id"], found["request_id"], found["caller"], found["age_s"]) == ("r1", "job-1", "10.0.0.5", 7.0)
        assert found["predicted_s"] == pytest.approx(0.5)
        assert found["ended"] == {
            "server": "g0",
            "status": 200,
            "termination": "--",
            "first_byte_s": 0.7,
            "total_s": 4.0,
            "is_whole": True,
        }
    assert explain.one(rig.agent, "nobody's", rig.clock()) is None


def test_the_latest_of_a_model():
    rig = Rig()
    for number, model in enumerate(("a", "b", "nobody", "a")):
        rig.ask(f"r{number}", model)
    assert [one["id"] for one in explain.last(rig.agent, 3, None, 0.0)] == ["r3", "r2", "r1"]
    assert [one["id"] for one in explain.last(rig.agent, 9, "a:latest", 0.0)] == ["r3", "r0"]


@pytest.mark.parametrize("name", ["", " ", "a:b:c/", "http://x y"])
def test_what_is_no_name_of_a_model(name):
    rig = Rig()
    with pytest.raises(ValueError):
        explain.would(rig.agent, name)
