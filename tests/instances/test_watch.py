"""Evidence from polls, lines, grants and probes, and what the agent is told."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from spoe_agent.agent.ending import Ending
from spoe_agent.agent.grant import Grant
from spoe_agent.agent.statefile import Kept
from spoe_agent.fleet import HealthPolicy, loads, specs
from spoe_agent.instances.lists import InstalledModel
from spoe_agent.instances.reading import PollResult, Reading
from spoe_agent.instances.watch import Watch
from spoe_agent.routing import Action, Exclusion, Health, Kind, LoadedModel, Tier
from spoe_agent.routing.names import canonical
from tests.instances.bench import EARLY, FLEET, NONE, A, B, Bench


@pytest.mark.asyncio
@pytest.mark.parametrize(("outcome", "state"), [("answered 500", "suspect"), ("", "up")])
async def test_a_probe_of_the_model_that_failed_tells(outcome, state):
    bench = Bench()
    bench.poll("g0", {A: LoadedModel(7, 7), B: LoadedModel(1, 1)})
    bench.fail_twice()
    bench.outcome = outcome
    await bench.probe_all()
    assert (bench.probed, str(bench.state())) == ([("g0", A, False)], state)
    assert bench.ask("next").instance == ("g1" if outcome else "g0")


@pytest.mark.parametrize("loaded", [{}, {A: LoadedModel(1, 1)}])
def test_who_fails_everywhere_condemns_nobody(loaded):
    """A client's `num_ctx: "abc"`, or a model's file that was cut short."""
    bench = Bench()
    for name in ("g0", "g1"):
        bench.poll(name, loaded)
    with capture_logs() as logs:
        where = []
        for number in range(7):
            where.append(bench.ask(number).instance)
            bench.end(number, where[-1], EARLY, status=500)
    assert set(where) == {"g0", "g1"}
    assert {bench.state(name) for name in ("g0", "g1")} == {Health.UP}
    assert (list(bench.watch.due()), bench.board.state("g0").avoided, bench.board.state("g1").avoided) == ([], {}, {})
    said = [line for line in logs if line["event"] == "a model fails wherever it is asked"]
    assert ([line["model"] for line in said], len(bench.watch.faulty())) == (["a:latest"], 1)
    bench.later(61)
    assert bench.watch.faulty() == []


def test_what_others_answer_is_the_instances_fault():
    bench = Bench()
    bench.fail_twice()
    assert bench.ask("elsewhere").instance == "g1"
    bench.end("elsewhere", "g1")
    bench.later(2)
    bench.poll("g1", {})
    assert bench.ask("again").instance == "g0"
    bench.end("again", ending=EARLY, status=500)
    assert bench.state() is Health.SUSPECT


@pytest.mark.parametrize(
    ("status", "other_model"), [(503, "g1"), (404, "g0"), (429, "g0")], ids=["full", "not there", "not allowed"]
)
def test_who_turns_away_at_once_is_passed_over_for_a_while_and_longer_each_time(status, other_model):
    """Only a full queue is everybody's."""
    bench = Bench()
    bench.poll("g0", {A: LoadedModel(1, 1), B: LoadedModel(1, 1)})
    for turn, pause_s in enumerate((1, 2, 4)):
        for number in (f"{turn}a", f"{turn}b"):
            bench.agent.board.end(f"r{number}")
        bench.ask(f"{turn}a")
        bench.end(f"{turn}a", ending=EARLY, status=status)
        against = bench.ask(f"{turn}b")
        assert (against.instance, str(status) in against.candidates[0].detail) == ("g1", True)
        assert bench.ask(f"{turn}c", "b").instance == other_model
        for ended in (f"{turn}b", f"{turn}c"):
            bench.agent.board.end(f"r{ended}")
        bench.later(pause_s - 0.1)
        assert bench.board.state("g0").avoided
        bench.later(0.2)
        bench.poll("g0", {A: LoadedModel(1, 1), B: LoadedModel(1, 1)})
        bench.poll("g1", {})
        assert bench.state() is Health.UP
    bench.ask("well")
    bench.end("well")
    bench.ask("a")
    bench.end("a", ending=EARLY, status=status)
    assert bench.board.state("g0").avoided["" if status == 503 else A].until_s == bench.clock() + 1


def test_a_doubted_instance_is_passed_over_and_comes_back_with_an_answer():
    bench = Bench()
    bench.ask("late")
    for number in range(2):
        bench.ask(number)
        bench.end(number, ending=NONE, status=500)
    choice = bench.ask("next")
    assert choice.instance == "g1"
    against = choice.candidates[0]
    assert (against.exclusion, "answered 500" in against.detail) == (Exclusion.SUSPECT, True)
    bench.end("late")
    assert bench.state() is Health.UP


def test_nobody_who_waits_gets_the_slot_of_the_second_who_failed():
    """Both instances are full; the slots of g0 come free because its requests fail."""
    bench = Bench()
    granted = []
    bench.agent.fleet = replace(bench.agent.fleet, policy=replace(bench.agent.fleet.policy, hold_s=60.0))
    bench.poll("g1", {A: LoadedModel(1, 1)})
    where = {number: bench.ask(number).instance for number in range(4)}
    assert [bench.ask(number).action for number in (4, 5)] == [Action.HOLD] * 2
    for number in (4, 5):
        assert bench.agent.ask(f"r{number}", lambda _, facts: granted.append(facts.request_id))
    for number in [number for number, name in where.items() if name == "g0"]:
        bench.end(number, ending=NONE, status=500)
    assert (bench.state(), granted) == (Health.UP, ["r4"])


def test_with_everybody_in_doubt_all_are_used():
    bench = Bench()
    for name in ("g0", "g1"):
        bench.watch.health[name].stalled("silent", True, bench.clock())
        bench.poll(name, {A: LoadedModel(1, 1)})
    assert bench.ask(1).action is Action.ROUTE


async def test_silence_with_a_free_slot_is_settled_by_a_probe_of_that_model():
    bench = Bench()
    bench.poll("g0", {A: LoadedModel(9, 9), B: LoadedModel(1, 1)})
    bench.ask(1)
    bench.later(9.0)
    await bench.probe_all()
    assert bench.probed == []
    bench.later(2.0)
    await bench.probe_all()
    assert (bench.probed, bench.state()) == ([("g0", A, False)], Health.UP)
    bench.outcome = "gave no token"
    bench.later(11.0)
    await bench.probe_all()
    assert bench.state() is Health.SUSPECT
    assert "gave no token" in bench.watch.health["g0"].evidence


async def test_one_long_answer_makes_the_next_no_evidence_and_is_forgotten():
    """Both slots are taken, so no probe would tell; usual are 2 s."""
    bench = Bench()
    bench.refuse("g1")

    def stalls(seconds):
        bench.poll("g0", {A: LoadedModel(1, 1)})
        for number in range(2):
            assert bench.ask(number).instance == "g0"
        bench.later(seconds)
        found = bench.state() is Health.SUSPECT
        for number in range(2):
            bench.end(number)
        bench.poll("g0", {A: LoadedModel(1, 1)})
        return found

    def usual(times):
        for _ in range(times):
            bench.ask("usual")
            bench.end("usual")

    usual(50)
    assert stalls(40.0)
    bench.ask("long")
    bench.end("long", ending=Ending(0.5, 60.0, is_whole=True))
    assert not stalls(100.0)
    usual(200)
    assert stalls(100.0)


def test_a_load_that_does_not_end_keeps_loads_away_but_not_requests():
    bench = Bench()
    # The load can only go to g0.
    bench.refuse("g1")
    assert bench.ask("b", "b").instance == "g0"
    bench.later(19.0)
    assert bench.state() is Health.UP
    bench.later(1000.0)
    assert bench.watch.health["g0"].loads_in_doubt
    bench.poll("g0", {A: LoadedModel(1, 1)})
    bench.poll("g1", {})
    assert bench.ask(1).instance == "g0"
    bench.poll("g0", {A: LoadedModel(1, 1), B: LoadedModel(1, 1)})
    assert bench.state() is Health.UP


def test_a_load_that_was_answered_for_is_not_doubted_while_lists_do_not_come():
    bench = Bench()
    bench.refuse("g1")
    bench.ask("b1", "b")
    bench.later(2.0)
    bench.end("b1")
    bench.ask("b2", "b")
    bench.later(1000.0)
    assert not bench.watch.health["g0"].loads_in_doubt


async def test_who_was_down_is_probed_with_the_smallest_model_when_nothing_is_loaded():
    bench = Bench()
    bench.refuse("g0")
    bench.poll("g0", {})
    assert bench.state() is Health.RECOVERING
    assert bench.ask(1).instance == "g1"
    await bench.probe_all()
    assert (bench.probed, bench.state()) == ([("g0", A, True)], Health.UP)


def test_a_drain_by_hand_is_said_once_and_obeyed():
    bench = Bench()
    with capture_logs() as logs:
        bench.watch.drain("g0")
        bench.watch.drain("g0")
        bench.poll("g0", {A: LoadedModel(1, 1)})
    (line,) = logs
    assert (line["before"], line["after"], line["evidence"]) == ("up", "drained", "by hand")
    assert bench.ask(1).candidates[0].exclusion is Exclusion.DRAINED
    bench.watch.ready("g0")
    assert bench.ask(2).instance == "g0"


def test_a_drain_by_hand_outlives_the_agent_and_is_said_once():
    bench = Bench()
    with capture_logs() as logs:
        bench.watch.restore(Kept(drained=frozenset({"g1", "gone"})))
        bench.poll("g1", {})
    assert bench.watch.drained == {"g1"}
    said = [(line["log_level"], line["instance"], line.get("after")) for line in logs]
    assert said == [("warning", "g1", "drained"), ("warning", "gone", None)]
    assert "before the agent was restarted" in logs[0]["evidence"]
    bench.watch.ready("g1")
    assert bench.watch.drained == set()


def test_who_may_have_something_else_loaded_than_when_it_was_read():
    bench = Bench()
    assert bench.watch.used() == []
    bench.ask(1)
    assert bench.watch.used() == ["g0"]
    bench.poll("g0", {A: LoadedModel(1, 1)})
    assert bench.watch.used() == ["g0"]
    bench.end(1, kind=Kind.INFERENCE)
    assert bench.watch.used() == ["g0"]
    bench.clock.now_s += 1
    bench.poll("g0", {A: LoadedModel(1, 1)})
    assert bench.watch.used() == []
    bench.watch.touched("g1", A)
    assert bench.watch.used() == ["g1"]
    bench.refuse("g1")
    assert bench.watch.used() == []


def test_who_goes_down_by_requests_is_asked_for_lists_at_once():
    """It may be back before the next poll, with other models."""
    bench = Bench()
    for number in range(2):
        assert bench.listed == []
        bench.ask(number)
        bench.end(number, termination="SC", status=503, ending=NONE)
    assert bench.listed == [["g0"]]


def test_names_that_one_runner_serves_are_one_model():
    """`/api/ps` shows the runner under the name that was asked for first, whatever is asked for now."""
    bench, c = Bench(), canonical("c")
    installed = {A: InstalledModel(10, "d1"), B: InstalledModel(10, "d1"), c: InstalledModel(10, "d2")}
    for name in ("g0", "g1"):
        bench.watch.published(name, Reading(bench.clock(), installed=installed))
    bench.clock.now_s += 1
    bench.watch.published("g0", Reading(bench.clock(), loaded={B: LoadedModel(1, 1)}))
    assert set(bench.board.state("g0").loaded) == {A}
    for number, (model, reason) in enumerate((("a", "loaded"), ("b", "loaded"), ("c", "room"))):
        assert bench.ask(number, model).reason == reason
    assert bench.board.find("r1").model == A
    assert set(bench.agent.learner.rates) == {A, c}
    assert not bench.board.state("g0").others


ONE = LoadedModel(1, 1)

RESTARTS = {
    # polls of g0 after one with A loaded: what was loaded, or how it failed -> whether A is loaded again
    "refused": ([PollResult.REFUSED, {}], True),
    "down": ([PollResult.REFUSED, PollResult.REFUSED, {}], True),
    "silent while it started": ([PollResult.SILENT, {}], True),
    "it was idle for long": ([{}], False),
    "it was slow while that went": ([PollResult.SLOW, {}], False),
    "it hung after that": ([{}, PollResult.SILENT, {}], False),
    "it has it still": ([PollResult.SLOW, {A: ONE}], False),
    "it has another now": ([PollResult.SILENT, {B: ONE}], False),
    "twice": ([PollResult.REFUSED, {}, PollResult.REFUSED, {}], True),
}


@pytest.mark.parametrize(("polls", "expected"), RESTARTS.values(), ids=RESTARTS)
def test_an_instance_that_was_started_anew_gets_its_models_back(polls, expected):
    bench = Bench()
    bench.clock.now_s += 1
    for poll in polls:
        if isinstance(poll, dict):
            bench.poll("g0", poll)
        else:
            bench.fail("g0", poll, "why")
    load = bench.agent.preload.due(bench.clock())
    assert (load is not None and (load.instance, load.model) == ("g0", A)) is expected


HANGS = {
    # how a poll of g0 failed after one with nothing loaded -> whether what is pinned to it is loaded
    "refused": (PollResult.REFUSED, True),
    "silent": (PollResult.SILENT, False),
    "slow": (PollResult.SLOW, False),
}


@pytest.mark.parametrize(("outcome", "expected"), HANGS.values(), ids=HANGS)
def test_a_pinned_model_that_was_stopped_comes_back_after_a_restart_only(outcome, expected):
    bench = Bench()
    bench.agent.adopt(specs(loads(FLEET + "models: [{match: a, instances: [g0]}]\n")))
    bench.poll("g0", {})
    bench.fail("g0", outcome, "why")
    bench.poll("g0", {})
    assert (bench.agent.preload.due(bench.clock()) is not None) is expected


@pytest.mark.parametrize(("loaded", "expected"), [({}, True), ({B: ONE}, False), (None, True)])
def test_so_does_one_that_was_started_while_the_agent_was_away(loaded, expected):
    """None: it answers only later."""
    bench = Bench()
    before = Kept(loaded=bench.watch.loaded())
    assert before.loaded == {"g0": [A]}
    after = Bench()
    after.watch = Watch(after.agent, HealthPolicy(), after.probe, after.clock)
    if loaded is None:
        after.board.forget_instance("g0")
        after.watch.restore(before)
        after.poll("g0", {})
    else:
        after.poll("g0", loaded)
        after.watch.restore(before)
    load = after.agent.preload.due(after.clock())
    assert (load is not None and load.model == A) is expected


def test_what_failed_and_went_elsewhere_keeps_others_away_but_not_a_clients_mistake():
    """HAProxy does not say how it failed: on trial for a full queue it is full again, else what becomes of it elsewhere
    tells.
    """
    bench = Bench()
    bench.poll("g1", {A: LoadedModel(1, 1)})
    bench.ask("full")
    full = bench.board.find("rfull").instance
    bench.end("full", full, EARLY, status=503)
    bench.later(1.5)
    for name in ("g0", "g1"):
        bench.poll(name, {A: LoadedModel(1, 1)})
    grant = Grant("r1", full, A, bench.clock(), is_repeated=True)
    bench.board.end("r1")
    bench.watch.refused(full, grant)
    assert bench.board.state(full).avoided[""].until_s == bench.clock() + 2
    other = {"g0": "g1", "g1": "g0"}[full]
    for _ in range(2):
        bench.watch.refused(other, replace(grant, instance=other))
    assert bench.board.state(other).avoided[A].until_s == bench.clock() + 1
    assert {bench.state("g0"), bench.state("g1")} == {Health.UP}


def test_a_repeat_that_was_granted_elsewhere_is_a_refusal_where_it_failed():
    bench = Bench()
    grant = Grant("r1", "g0", A, bench.clock(), is_repeated=True)
    for _ in range(2):
        bench.watch.refused("g1", grant)
    assert (bench.state("g0"), bench.state("g1")) == (Health.UP, Health.DOWN)


def test_no_probe_waits_in_line_behind_what_runs_beside_a_repeat():
    """Its grant has ended when it comes around: whatever is in flight is another's."""
    bench = Bench()
    for number in range(2):
        bench.board.grant(Grant(f"long {number}", "g0", A, bench.clock(), Tier.LOADED))
    for number in range(2):
        bench.watch.refused("g0", Grant(f"r{number}", "g0", A, bench.clock(), Tier.LOADED, is_repeated=True))
    assert bench.board.state("g0").avoided
    assert list(bench.watch.due()) == []
