"""What is read of a log: rows joined, whatever is no row left out."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from spoe_agent.replay.recorded import NoLog, read
from spoe_agent.replay.requests import told
from tests.replay.rig import MODELS, WALL_S, profile

KNOWN = {"known": {"time": WALL_S, "instances": {}, "stores": {"s": {"a:latest": 47}}}}
ENDED = {
    "server": "g0", "status": 200, "termination": "--", "queue_s": 0.5, "first_byte_s": 1.0, "total_s": 3.0,
    "is_whole": True, "bytes": 7, "fell_back": False,
}  # fmt: skip
DECISION = {
    "id": "r1", "time": WALL_S + 5, "kind": "inference", "model": "a:latest", "action": "route", "instance": "g0",
    "reason": "room", "candidates": {"g0": {"state": "room", "evicts": ["b:latest"]}, "g1": {"excluded": "down"}},
    "body_bytes": 400, "held_s": 2.0,
}  # fmt: skip


def log(folder: Path, *rows: object, name: str = "d.jsonl") -> Path:
    file = folder / name
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return file


@pytest.mark.parametrize(
    "rows",
    [
        [{**DECISION, "ended": ENDED}],
        [{**DECISION, "ended": None}, {"id": "r1", "ended": ENDED}],
        [{"id": "r1", "ended": ENDED}, {**DECISION, "ended": None}],
    ],
    ids=["one row", "two rows", "two rows, the other way"],
)
def test_a_decision_and_its_end_are_joined(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    (one,) = read([log(tmp_path, KNOWN, *rows)]).decisions
    assert (one.tier, one.victims, one.waited_s, one.begins_load) == ("room", ["b:latest"], 2.5, True)
    assert one.ended is not None and one.ended.total_s == 3.0


def test_of_two_decisions_the_later_one_holds(tmp_path: Path) -> None:
    later = {**DECISION, "instance": "g1", "candidates": {"g1": {"state": "loaded"}}, "held_s": None}
    (one,) = read([log(tmp_path, KNOWN, {**DECISION, "ended": ENDED}, {**later, "ended": None})]).decisions
    assert (one.instance, one.tier, one.waited_s) == ("g1", "loaded", 0.5)


def test_a_log_takes_little_of_the_memory_that_its_text_would(tmp_path: Path) -> None:
    others = {f"g{number}": {"state": "room", "evicts": ["b:latest"]} for number in range(1000)}
    row = {**DECISION, "candidates": others, "ended": ENDED}
    file = log(tmp_path, KNOWN, *({**row, "id": f"r{number}"} for number in range(100)))
    tracemalloc.start()
    try:
        found = read([file])
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(found.decisions), {one.tier for one in found.decisions}) == (100, {"room"})
    assert peak_bytes < file.stat().st_size / 4


def test_what_is_no_row_is_counted(tmp_path: Path) -> None:
    rows = ["{half", "[]", {"id": 5}, {**DECISION, "ended": ENDED, "time": "soon"}, {"id": "r2", "ended": ENDED}]
    found = read([log(tmp_path, KNOWN, *rows)])
    assert (found.unread, found.undecided, found.decisions) == (4, 1, [])
    assert found.sizes() == {"a:latest": 47}


def test_what_was_put_aside_is_read_first(tmp_path: Path) -> None:
    log(tmp_path, KNOWN, {**DECISION, "ended": ENDED}, name="d.jsonl.1")
    file = log(tmp_path, {**DECISION, "id": "r0", "time": WALL_S, "ended": ENDED})
    assert [one.id for one in read([file]).decisions] == ["r0", "r1"]


@pytest.mark.parametrize(("rows", "why"), [(None, "no such file"), ([DECISION], "no line `known`")])
def test_what_is_no_log_is_refused(tmp_path: Path, rows: list[object] | None, why: str) -> None:
    with pytest.raises(NoLog, match=why):
        read([tmp_path / "none" if rows is None else log(tmp_path, *rows)])


def test_times_of_a_faster_fleet_are_the_fleets(tmp_path: Path) -> None:
    rows = [{**DECISION, "ended": ENDED}, {**DECISION, "id": "r2", "time": WALL_S + 6, "ended": ENDED}]
    recorded = read([log(tmp_path, KNOWN, *rows)])
    first, second = told(recorded, {"a:latest": MODELS[0]}, profile(), 20.0, lead_s=7.0)
    assert (first.at_s, second.at_s) == (7.0, 27.0)
    assert (first.waited_s, first.first_s, first.total_s) == (50.0, 70.0, 110.0)


@pytest.mark.parametrize(
    ("change", "is_replayed"),
    [
        ({}, True),
        ({"kind": "describe"}, False),
        ({"model": None}, False),
        ({"ended": None}, False),
        ({"ended": {**ENDED, "server": "g1"}}, False),
        ({"action": "reject", "reason": "not found", "instance": None}, False),
        ({"action": "reject", "reason": "hold timeout", "instance": None}, True),
    ],
)
def test_what_is_replayed(tmp_path: Path, change: dict[str, object], is_replayed: bool) -> None:
    recorded = read([log(tmp_path, KNOWN, {**DECISION, "ended": ENDED, **change})])
    assert len(told(recorded, {"a:latest": MODELS[0]}, profile(), 1.0, 0.0)) == is_replayed
