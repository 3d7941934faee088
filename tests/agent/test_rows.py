"""Rows of the decision log: one for each request, joined with its end; nothing of a prompt, nothing without bound."""

import json

import pytest

from spoe_agent.agent.ending import Ending, Line
from spoe_agent.agent.rows import Rows
from spoe_agent.routing import Action, InstanceLoad, Kind
from spoe_agent.routing.wishes import Wishes
from tests.rigs import NEW, Held, Rig, asks

LINE = {"status": 200, "kind": Kind.INFERENCE, "name": "job-1", "size_bytes": 70, "begun_at_s": 1000.5}


def line(request_id, **fields):
    return Line(request_id, "g0", Ending(0.25, 2.0, is_whole=True), **{**LINE, **fields})


def ask(rig, request_id, **fields):
    rig.agent.decide(asks(request_id=request_id, **fields))


def rows(rig):
    return [json.loads(row) for row in rig.agent.record.rows.take()]


def wanted(rig):
    rig.agent.record.rows.is_wanted, rig.agent.record.rows.wall_offset_s = True, 900.0
    return rig


def test_a_request_is_one_row_with_its_decision_and_its_end():
    rig = wanted(Rig())
    loads = {"g0": InstanceLoad(3, 1, is_up=True), "g1": InstanceLoad(0, 0, is_up=False)}
    asked = {
        "loads": loads,
        "body_bytes": 400,
        "num_ctx": 8192,
        "caller": "10.0.0.5",
        "prefix": "abc",
        "process": "7-x",
    }
    ask(rig, "r1", **asked, wishes=Wishes(priority=3))
    assert rows(rig) == []
    rig.agent.record.ended(line("r1", queue_s=0.5))
    (row,) = rows(rig)
    assert {key: row[key] for key in ("id", "time", "model", "caller", "action", "instance", "num_ctx")} == {
        "id": "r1", "time": 1000.0, "model": "a:latest", "caller": "10.0.0.5", "action": "route", "instance": "g0",
        "num_ctx": 8192,
    }  # fmt: skip
    assert row["counts"] == {"g0": [3, 1, True], "g1": [0, 0, False]}
    assert (row["body_bytes"], row["wants_priority"], row["held_s"], row["predicted_s"]) == (400, 3, None, None)
    assert row["conversation"] not in ("", "abc")
    assert row["candidates"]["g1"]["excluded"] == "down"
    ended = {"server": "g0", "status": 200, "termination": "--", "queue_s": 0.5, "first_byte_s": 0.25, "total_s": 2.0}
    assert row["ended"] == {
        **ended, "is_whole": True, "bytes": 70, "fell_back": False, "request_id": "job-1", "begun": 1000.5,
    }  # fmt: skip


def test_nothing_is_made_that_nobody_wants():
    rig = Rig()
    ask(rig, "r1")
    rig.agent.record.ended(line("r1"))
    rig.agent.record.leave()
    assert rows(rig) == []


def test_who_is_pushed_out_before_its_end_has_two_rows():
    rig = wanted(Rig())
    for number in range(1001):
        ask(rig, f"r{number}")
    (row,) = rows(rig)
    assert (row["id"], row["instance"], row["ended"]) == ("r0", "g0", None)
    rig.agent.record.ended(line("r0"))
    (end,) = rows(rig)
    assert (end.keys(), end["id"], end["ended"]["first_byte_s"]) == ({"id", "ended"}, "r0", 0.25)


def test_an_agent_that_leaves_writes_what_is_under_way_once():
    rig = wanted(Rig())
    for name in ("r1", "r2"):
        ask(rig, name)
    rig.agent.record.ended(line("r1"))
    rig.agent.record.leave()
    rig.agent.record.leave()
    assert [(row["id"], row["ended"] is None) for row in rows(rig)] == [("r1", False), ("r2", True)]
    rig.agent.record.ended(line("r2"))
    assert [row.keys() for row in rows(rig)] == [{"id", "ended"}]


def test_an_agent_that_leaves_writes_refusals_that_have_not_ended():
    rig = wanted(Rig())
    choice = rig.agent.decide(asks(model=NEW, request_id="r1"))
    assert choice.action is Action.REJECT
    rig.agent.record.leave()
    assert [(row["id"], row["action"], row["ended"]) for row in rows(rig)] == [("r1", "reject", None)]


@pytest.mark.parametrize("value", [0, 3])
def test_a_wish_for_nothing_is_written(value):
    rig = wanted(Rig())
    ask(rig, "r1", wishes=Wishes(priority=value, wait_s=float(value)))
    rig.agent.record.ended(line("r1"))
    (row,) = rows(rig)
    assert (row["wants_priority"], row["wants_wait_s"]) == (value, float(value))
    assert row.keys().isdisjoint({"only_loads", "embeds", "num_ctx", "tried", "conversation", "wants_instance"})


def test_a_held_request_is_the_next_agents_to_write():
    rig = wanted(Held())
    rig.ask("r1", "r2")
    rig.agent.record.leave()
    assert [row["id"] for row in rows(rig)] == ["r1"]
    following = wanted(Held())
    following.clock.now_s = 130.0
    following.agent.take(rig.agent.hold, ())
    following.agent.ask("r2", following.told)
    following.agent.release()
    following.agent.record.ended(line("r2"))
    (row,) = rows(following)
    assert (row["id"], row["instance"], row["held_s"], row["time"]) == ("r2", "g0", 30.0, 1000.0)


@pytest.mark.parametrize(("kind", "is_written"), [(Kind.INFERENCE, True), (Kind.LIST, False)])
def test_an_end_that_nobody_decided_is_written_if_it_ran_a_model(kind, is_written):
    rig = wanted(Rig())
    rig.agent.record.ended(line("r9", kind=kind, fell_back=True))
    assert [row["ended"]["fell_back"] for row in rows(rig)] == [True] * is_written


def test_rows_that_nobody_takes_are_counted_and_take_no_memory():
    rig = Rig()
    rig.agent.record.rows = Rows(2000)
    wanted(rig)
    for number in range(50):
        ask(rig, f"r{number}")
        rig.agent.record.ended(line(f"r{number}"))
    kept = rows(rig)
    assert 0 < len(kept) < 50
    assert rig.agent.record.rows.lost == 50 - len(kept)
    rig.agent.record.ended(line("r9"))
    assert len(rows(rig)) == 1


@pytest.mark.parametrize(
    ("log_caller", "caller"),
    [("name", "10.0.0.5"), ("hash", "0546412D61BA57F1"), ("none", "")],
    ids=["name", "hash", "none"],
)
def test_callers_are_written_as_haproxys_log_has_them(log_caller, caller):
    rig = wanted(Rig())
    rig.agent.record.rows.log_caller = log_caller
    ask(rig, "r1", caller="10.0.0.5")
    rig.agent.record.ended(line("r1"))
    assert rows(rig)[0]["caller"] == caller
