from dataclasses import replace

import pytest

from spoe_agent.routing import Exclusion, Health, InstanceState, Kind, ModelRule, choose
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.snapshot import Avoided, GpuDoubt, GpuGroup
from tests.routing.builders import CLOUD, NOW_S, A, B, asks, counts, fleet, moment, only, spec, state

INFERENCE, DESCRIBE, MANAGE, LIST, UNLOAD = Kind
SMALL = spec("g0", vram_bytes=2 * GIB)
PINNED_AWAY = [ModelRule("a", instances=("g1", "g2"))]
NOT_HERE = state(installed=(B,))
DOWN = state(health=Health.DOWN)

# what the request is, the instance, the rules, its readings, HAProxy's counts -> why it is excluded, what is said
TABLE = {
    "serves": (asks(), "g0", [], state(), {}, None, ""),
    "never heard of": (asks(), "g0", [], InstanceState(), {}, None, ""),
    "not judged yet": (asks(), "g0", [], state(health=Health.UNKNOWN), {}, None, ""),
    "pinned here": (asks(), "g0", [ModelRule("a", instances=("g0",))], state(), {}, None, ""),
    "pinned elsewhere": (asks(), "g0", PINNED_AWAY, state(), {}, Exclusion.NOT_PINNED, "pinned to g1, g2"),
    "pin of another model": (asks(B), "g0", PINNED_AWAY, state(), {}, None, ""),
    "pins bind descriptions too": (asks(kind=DESCRIBE), "g0", PINNED_AWAY, state(), {}, Exclusion.NOT_PINNED, "pinned"),
    "not installed": (asks(), "g0", [], NOT_HERE, {}, Exclusion.NOT_INSTALLED, "does not list a:latest"),
    "loaded though its list is older": (asks(), "g0", [], state(A, installed=()), {}, None, ""),
    "loaded and deleted since": (
        asks(),
        "g0",
        [],
        state(A, installed=(B,), deleted=frozenset([A])),
        {},
        Exclusion.NOT_INSTALLED,
        "does not list a:latest",
    ),
    "description, not installed": (asks(kind=DESCRIBE), "g0", [], NOT_HERE, {}, Exclusion.NOT_INSTALLED, "a:latest"),
    "cannot fit": (asks(), SMALL, [], state(), {}, Exclusion.CANNOT_FIT, "of 2.0 GiB"),
    "cannot fit by the fleet file's word": (
        asks(),
        spec("g0", vram_bytes=8 * GIB),
        [ModelRule("a", vram_bytes=9 * GIB)],
        state(),
        {},
        Exclusion.CANNOT_FIT,
        "needs 9.0 GiB of 8.0 GiB",
    ),
    "may fit when Ollama cuts the context": (asks(), spec("g0", vram_bytes=5 * GIB), [], state(), {}, None, ""),
    "fits, as it is loaded": (asks(), SMALL, [], state(A), {}, None, ""),
    "a description needs no room": (asks(kind=DESCRIBE), SMALL, [], state(), {}, None, ""),
    "refuses connections": (asks(), "g0", [], DOWN, {}, Exclusion.DOWN, "refuses connections"),
    "HAProxy's check failed": (asks(), "g0", [], state(), {"g0": counts(is_up=False)}, Exclusion.DOWN, "health check"),
    "drained by hand": (asks(), "g0", [], state(A, health=Health.DRAINED), {}, Exclusion.DRAINED, "by hand"),
    "list, drained, but the only one": (asks(None, LIST), "g0", [], state(health=Health.DRAINED), {}, None, ""),
    "in doubt, but the only one": (asks(), "g0", [], state(health=Health.SUSPECT), {}, None, ""),
    "loads in doubt, but the only one": (asks(), "g0", [], state(loads_in_doubt=True), {}, None, ""),
    "another is down": (asks(), "g0", [], state(), {"g1": counts(is_up=False)}, None, ""),
    "pins are told before down": (asks(), "g0", PINNED_AWAY, DOWN, {}, Exclusion.NOT_PINNED, ""),
    "missing is told before down": (
        asks(),
        "g0",
        [],
        state(installed=(B,), health=Health.DOWN),
        {},
        Exclusion.NOT_INSTALLED,
        "",
    ),
    "cloud models are installed nowhere": (asks(CLOUD), SMALL, [], NOT_HERE, {}, None, ""),
    "a cloud model needs a live instance": (asks(CLOUD), "g0", [], DOWN, {}, Exclusion.DOWN, ""),
    "list": (asks(None, LIST), "g0", [], NOT_HERE, {}, None, ""),
    "list, down": (asks(None, LIST), "g0", [], DOWN, {}, Exclusion.DOWN, ""),
    "manage": (asks(None, MANAGE), "g0", [], NOT_HERE, {}, None, ""),
    "manage, down": (asks(None, MANAGE), "g0", [], DOWN, {}, Exclusion.DOWN, ""),
}


@pytest.mark.parametrize(("facts", "where", "rules", "reading", "loads", "why", "said"), TABLE.values(), ids=TABLE)
def test_who_may_serve(facts, where, rules, reading, loads, why, said):
    of = fleet(where, rules=rules)
    facts = asks(facts.model, facts.kind, loads=loads)
    candidate = only(choose(facts, of, moment(g0=reading)), "g0")
    assert candidate.exclusion is why
    assert said in candidate.detail
    assert bool(candidate.detail) is (why is not None)


HERE = spec("g0", tag="1a2b")
FRONTS = {
    # what HAProxy has, the instance's readings -> why it is excluded, what is said
    "the front end does not tell": ({}, state(), None, ""),
    "HAProxy has it": ({"g0": counts(tag="1a2b"), "g1": counts()}, state(), None, ""),
    "HAProxy does not tell where": ({"g0": counts()}, state(), None, ""),
    "added": ({"g1": counts()}, state(), Exclusion.NOT_IN_HAPROXY, "since it was added"),
    "moved": ({"g0": counts(tag="ffff")}, state(), Exclusion.NOT_IN_HAPROXY, "since its url changed"),
    "added and down": ({"g1": counts()}, DOWN, Exclusion.NOT_IN_HAPROXY, ""),
    "missing is told before that": ({"g1": counts()}, NOT_HERE, Exclusion.NOT_INSTALLED, ""),
}


@pytest.mark.parametrize(("servers", "reading", "why", "said"), FRONTS.values(), ids=FRONTS)
def test_what_haproxy_cannot_reach_is_not_chosen(servers, reading, why, said):
    choice = choose(asks(servers=servers), fleet(HERE), moment(g0=reading))
    candidate = only(choice, "g0")
    assert (candidate.exclusion, said in candidate.detail) == (why, True)
    if why is Exclusion.NOT_IN_HAPROXY:
        assert (choice.status, choice.retry_after_s) == (503, 5)
        assert "is in HAProxy yet" in choice.message


def test_what_the_fleet_file_lost_is_not_chosen_although_haproxy_has_it():
    choice = choose(asks(servers={"g0": counts(), "g1": counts()}), fleet("g0"), moment(g0=state(), g1=state(A)))
    assert (choice.instance, len(choice.candidates)) == ("g0", 1)


TRIED = {
    # who did not take the request before -> where it goes, what its answer says
    "nobody": ((), "g0", "loaded"),
    "an answer did not arrive": (("",), "g0", "loaded"),
    "the loaded one": (("g0",), "g1", "again: g0 failed"),
    "another": (("g1",), "g0", "again: g1 failed"),
    "an answer, then the loaded one": (("", "g0"), "g1", "again: g0 failed"),
    "both": (("g0", "g1"), None, "no instance up"),
}


@pytest.mark.parametrize(("tried", "instance", "reason"), TRIED.values(), ids=TRIED)
def test_who_did_not_take_a_request_is_not_asked_again(tried, instance, reason):
    """g2 has not the model, g3 is not among its pins: they are not asked either."""
    of = fleet("g0", "g1", "g2", "g3", rules=[ModelRule("a", instances=("g0", "g1", "g2"))])
    choice = choose(asks(tried=tried), of, moment(g0=state(A), g1=state(), g2=NOT_HERE, g3=state(A)))
    assert (choice.instance, choice.reason_text) == (instance, reason)
    if instance is None:
        assert (choice.status, choice.retry_after_s) == (503, 5)


SUSPECT, RECOVERING = state(A, health=Health.SUSPECT), state(A, health=Health.RECOVERING)
SOON = Avoided(NOW_S + 1, "answered 503")
DOUBTS = {
    # what the request is, what is known of one instance, its GPUs -> why it is passed over for the other, what is said
    "nothing is against it": (asks(), state(A), "", None, ""),
    "suspect": (asks(), SUSPECT, "", Exclusion.SUSPECT, "suspect"),
    "suspect, with its evidence": (asks(), replace(SUSPECT, why="7 s"), "", Exclusion.SUSPECT, "7 s"),
    "recovering": (asks(), RECOVERING, "", Exclusion.SUSPECT, "recovering"),
    "suspect, for a list": (asks(None, LIST), SUSPECT, "", Exclusion.SUSPECT, "suspect"),
    "it cannot load": (asks(), state(loads_in_doubt=True), "", Exclusion.SUSPECT, "loads do not come"),
    "it cannot load, and why": (asks(), state(loads_in_doubt=True, why="180 s"), "", Exclusion.SUSPECT, "180 s"),
    "it cannot load, but it has it": (asks(), state(A, loads_in_doubt=True), "", None, ""),
    "it cannot load, and need not": (asks(kind=DESCRIBE), state(loads_in_doubt=True), "", None, ""),
    "passed over for all": (asks(), state(A, avoided={"": SOON}), "", Exclusion.SUSPECT, "answered 503"),
    "passed over for a model": (asks(), state(A, avoided={A: SOON}), "", Exclusion.SUSPECT, "answered 503"),
    "passed over for its other name": (asks(B, namesake=A), state(A, avoided={A: SOON}), "", Exclusion.SUSPECT, "503"),
    "passed over for a cloud model": (asks(CLOUD), state(avoided={CLOUD: SOON}), "", Exclusion.SUSPECT, "answered 503"),
    "passed over for another": (asks(), state(A, avoided={B: SOON}), "", None, ""),
    "was passed over": (asks(), state(A, avoided={"": Avoided(NOW_S, "answered 503")}), "", None, ""),
    "passed over, but need not run": (asks(kind=DESCRIBE), state(A, avoided={"": SOON}), "", None, ""),
    "a GPU is lost": (asks(), state(A), "GPU 3 is lost", Exclusion.GPU, "GPU 3 is lost"),
    "its Ollama has lost its GPUs": (asks(), state(A, lost_gpus="a on the CPU"), "", Exclusion.GPU, "a on the CPU"),
    "doubt beside what is certain": (asks(), state(health=Health.DOWN), "lost", Exclusion.DOWN, "refuses"),
}


@pytest.mark.parametrize(("facts", "reading", "broken", "why", "said"), DOUBTS.values(), ids=DOUBTS)
def test_who_is_passed_over_while_another_may_serve(facts, reading, broken, why, said):
    gpus = {"g0": GpuGroup(doubt=GpuDoubt(broken=broken))}
    choice = choose(facts, fleet("g0", "g1"), replace(moment(g0=reading, g1=state(A)), gpus=gpus))
    candidate = only(choice, "g0")
    assert candidate.exclusion is why
    assert said in candidate.detail
    assert only(choice, "g1").exclusion is None
    assert choice.instance == "g1" or why is None


def test_doubt_is_no_reason_when_nobody_is_certain():
    gpus = {"g1": GpuGroup(doubt=GpuDoubt(broken="lost"))}
    choice = choose(asks(), fleet("g0", "g1", "g2"), replace(moment(g0=SUSPECT, g1=state(A), g2=DOWN), gpus=gpus))
    assert [one.exclusion for one in choice.candidates] == [None, None, Exclusion.DOWN]


LATER = Avoided(NOW_S + 3, "answered 429")
SOON_HERE = state(A, avoided={"": SOON})
ALL_IN_DOUBT = {
    # three instances -> which are still passed over
    "for as long": ((SOON_HERE, SOON_HERE, SOON_HERE), ""),
    "one for longer": ((SOON_HERE, state(A, avoided={A: LATER}), SOON_HERE), "g1"),
    "one for longer, for two reasons": ((SOON_HERE, state(A, avoided={"": SOON, A: LATER}), SOON_HERE), "g1"),
    "all but one": ((state(A, avoided={A: LATER}), SOON_HERE, state(A, avoided={A: LATER})), "g0 g2"),
    "one for longer, one ill": ((SUSPECT, SOON_HERE, state(A, avoided={A: LATER})), "g2"),
    "the only one that is up": ((DOWN, DOWN, state(A, avoided={A: LATER})), ""),
    "one is ill, one passed over": ((SUSPECT, DOWN, SOON_HERE), ""),
}


@pytest.mark.parametrize(("states", "over"), ALL_IN_DOUBT.values(), ids=ALL_IN_DOUBT)
def test_of_all_in_doubt_who_has_refused_last_is_asked_last(states, over):
    """Its answers come at once, so it is the emptiest and would be sent everything."""
    choice = choose(asks(), fleet("g0", "g1", "g2"), moment(g0=states[0], g1=states[1], g2=states[2]))
    assert [c.instance for c in choice.candidates if c.exclusion is Exclusion.SUSPECT] == over.split()
    assert choice.instance not in over.split()


def test_a_server_that_has_just_started_is_waited_for():
    starting = state(installed=(), is_starting=True)
    choice = choose(asks(), fleet("g0", "g1"), moment(g0=starting, g1=NOT_HERE))
    assert [candidate.exclusion for candidate in choice.candidates] == [Exclusion.NO_LISTS, Exclusion.NOT_INSTALLED]
    assert (choice.status, choice.reason, choice.retry_after_s) == (503, "no lists yet", 5)
    assert choose(asks(), fleet("g0", "g1"), moment(g0=starting, g1=state())).instance == "g1"
