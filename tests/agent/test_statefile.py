import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from spoe_agent.agent.board import Board
from spoe_agent.agent.ending import Ending
from spoe_agent.agent.grant import Grant, Ledger, Loading
from spoe_agent.agent.learner import Learner
from spoe_agent.agent.preload import Wanted
from spoe_agent.agent.statefile import Doubt, Kept, dump, parse, restore, save
from spoe_agent.routing import Health, InstanceState, LoadedModel, Tier

WANTED = Wanted(["b", "a"], 7.5, even_drained=True)
CACHED = Loading("store", 4 * 10**9, is_cached=True, begins_s=1.0)


def experienced():
    it = Learner()
    for total_s in (3.0, 4.0, 5.0, 400.0):
        it.ended(Grant("r", "g0", "a", 0.0, Tier.LOADED), Ending(0.5, total_s, is_whole=True))
    it.ended(Grant("r", "g1", "b", 0.0, Tier.ROOM, loading=CACHED), Ending(20.0, 24.0, is_whole=True))
    from_disk = CACHED._replace(is_cached=False)
    it.ended(Grant("r", "g1", "c", 0.0, Tier.ROOM, loading=from_disk), Ending(20.0, 24.0, is_whole=True))
    it.arrived("a", 1.0)
    return it


def estimates(learner):
    learned = learner.learned(1.0)
    return learned.service_s, learned.load_s


def test_what_was_learned_is_there_again(tmp_path):
    path, before = tmp_path / "learned.json", experienced()
    assert save(Kept(before), path)
    after = restore(path).learner
    assert estimates(after) == estimates(before)
    assert (after.service, after.load, after.first_byte) == (before.service, before.load, before.first_byte)
    assert (after.from_disk, after.cached) == (before.from_disk, before.cached)
    assert (list(after.from_disk), list(after.cached["store"])) == (["store"], ["b", "c"])
    assert [file.name for file in tmp_path.iterdir()] == ["learned.json"]


def test_rates_of_arrival_are_stale_by_then(tmp_path):
    path = tmp_path / "learned.json"
    assert save(Kept(experienced()), path)
    assert not restore(path).learner.rates


def test_learning_goes_on_where_it_was(tmp_path):
    path, before = tmp_path / "learned.json", experienced()
    assert save(Kept(before), path)
    after = restore(path).learner
    for it in (before, after):
        it.ended(Grant("r", "g0", "a", 0.0, Tier.LOADED), Ending(0.5, 90.0, is_whole=True))
    assert estimates(after) == estimates(before)


def test_the_first_time_there_is_no_file_and_that_is_no_fault(tmp_path):
    with capture_logs() as logs:
        assert restore(tmp_path / "none.json") == Kept()
    assert logs == []


def test_who_was_drained_is_there_again(tmp_path):
    path = tmp_path / "learned.json"
    for drained in ({"g1", "g0"}, set()):
        assert save(Kept(drained=frozenset(drained)), path)
        assert restore(path).drained == drained


def test_a_file_from_before_drains_were_kept(tmp_path):
    path = tmp_path / "learned.json"
    path.write_text(json.dumps(state(service=[ROW])))
    found = restore(path)
    assert (list(found.learner.service), found.drained) == ([("a", "g0")], frozenset())


ROW = {"model": "a", "instance": "g0", "log_s": 1.0, "samples": 3}


def state(**others):
    return {"version": 1, "service": [], "load": [], "first_byte": [], **others}


DAMAGED = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    b"{}",
    b"7",
    state(service=[{**ROW, "log_s": "NaN"}]),
    state(service=[{**ROW, "log_s": 1e6}]),
    state(service=[{**ROW, "log_s": -1e6}]),
    state(load=[{**ROW, "samples": -1}]),
    state(load=[{**ROW, "samples": 0}]),
    state(load=[{"model": "a"}]),
    state(more=1),
    state(drained="g0"),
    state(drained=[7]),
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_file_that_cannot_be_read_is_left_out_and_said_so(tmp_path, content):
    path = tmp_path / "learned.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with capture_logs() as logs:
        assert restore(path) == Kept()
    (line,) = logs
    assert (line["log_level"], line["file"]) == ("warning", str(path))
    assert "\n" not in line["why"] and "pydantic" not in line["why"]


@given(log_s=st.floats(), samples=st.integers())
def test_whatever_the_numbers_estimates_are_numbers(tmp_path_factory, log_s, samples):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(state(service=[{**ROW, "log_s": log_s, "samples": samples}])))
    with capture_logs():
        service_s, _ = estimates(restore(path).learner)
    assert all(0 < seconds < 1e9 for seconds in service_s.values())


def test_a_folder_that_cannot_be_written_to_is_said_and_nothing_else(tmp_path):
    with capture_logs() as logs:
        assert not save(Kept(experienced()), tmp_path / "missing" / "learned.json")
    (line,) = logs
    assert line["log_level"] == "warning"
    assert "missing" in line["file"]


def test_what_was_there_stays_when_writing_fails(tmp_path):
    path = tmp_path / "learned.json"
    assert save(Kept(experienced()), path)
    before = path.read_bytes()
    (tmp_path / ".learned.json.new").mkdir()
    with capture_logs():
        assert not save(Kept(), path)
    assert path.read_bytes() == before


GRANT = Grant("r1", "g0", "a", 12.5, Tier.LOADED, 4096)
LEDGER = Ledger((GRANT,), {"b": 1.5}, {"b": 8192}, {"b": 4096}, {"b": 2.5}, frozenset({"c"}), {"b": 2048}, {"b": 4096})
DOUBT = Doubt(Health.SUSPECT, "7 s", True, "180 s")


def test_what_is_in_flight_and_in_doubt_is_there_again(tmp_path):
    kept = Kept(Learner(), frozenset({"g1"}), {"g0": LEDGER}, {"g1": DOUBT}, {"g0": ["b", "a"]}, {"g0": WANTED})
    assert save(kept, tmp_path / "learned.json")
    assert restore(tmp_path / "learned.json") == kept


def test_a_victim_that_is_still_there_is_written_as_what_the_file_says_it_is():
    """Without a warning, which fails the test."""
    it, loaded = Board(), {"b": LoadedModel(1, 1)}
    it.publish("g0", InstanceState(Health.UP, loaded, 0.0))
    it.grant(Grant("r1", "g0", "a", 1.0), ("b",))
    it.publish("g0", InstanceState(Health.UP, loaded, 1.5))
    assert parse(dump(Kept(ledgers=it.ledgers())).encode()).ledgers["g0"].leaving == {"b"}


def test_text_that_has_no_form_in_utf8_is_told_of_and_the_file_stays(tmp_path):
    path = tmp_path / "learned.json"
    assert save(Kept(experienced()), path)
    before = path.read_bytes()
    with capture_logs() as logs:
        assert not save(Kept(doubts={"g0": replace(DOUBT, evidence="\ud800")}), path)
    assert (path.read_bytes(), [line["log_level"] for line in logs]) == (before, ["warning"])


def test_what_was_in_flight_before_the_machine_was_started_is_not(tmp_path):
    text = json.loads(dump(Kept(ledgers={"g0": LEDGER}, doubts={"g1": DOUBT}, to_load={"g0": WANTED})))
    assert parse(json.dumps({**text, "boot": "another"}).encode()) == Kept(doubts={"g1": DOUBT})


def test_a_folder_in_the_files_place_is_told_of_and_nothing_is_known(tmp_path):
    with capture_logs() as logs:
        assert restore(tmp_path) == Kept()
        assert not save(Kept(), tmp_path)
    assert [(line["log_level"], line["file"]) for line in logs] == [("warning", str(tmp_path))] * 2
