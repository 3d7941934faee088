from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spoe_agent.routing import (
    Action,
    Activity,
    Exclusion,
    Health,
    Kind,
    ModelRule,
    Policy,
    RequestProblem,
    Snapshot,
    Tier,
    choose,
)
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.snapshot import Learned
from tests.routing.builders import (
    CLOUD,
    NOW_S,
    A,
    B,
    C,
    asks,
    counts,
    fleet,
    fleets,
    holding,
    moment,
    moments,
    only,
    situations,
    situations_with_an_idle_warm_instance,
    spec,
    state,
    untimed,
)

DOWN = state(A, health=Health.DOWN)
TWO = fleet("g0", "g1")
SMALL = fleet(
    spec("g0", vram_bytes=12 * GIB), spec("g1", vram_bytes=12 * GIB), rules=[ModelRule("*", vram_bytes=5 * GIB)]
)


def busy(**in_flight):
    """Each instance's requests for A, as the board has them."""
    return {name: Activity(in_flight={A: number}) for name, number in in_flight.items()}


ROUTES = {
    # request, fleet, snapshot -> instance, reason
    "where it is loaded": (asks(), TWO, moment(g0=state(), g1=state(A)), "g1", "loaded"),
    "where there is room": (asks(), SMALL, moment(g0=state(B, C), g1=state(B)), "g1", "room"),
    "where it is loading": (
        asks(),
        TWO,
        moment({"g1": Activity(in_flight={A: 1}, loading={A: NOW_S - 1})}, g0=state(B), g1=state(B)),
        "g1",
        "loading",
    ),
    "where it loaded a moment ago, as an answer told, whatever a copy would save": (
        asks(),
        TWO,
        moment(
            {"g1": Activity(loading={A: NOW_S - 1}, answered={A: NOW_S}, mean_in_flight=9.0)},
            learned=Learned(rate_per_s={A: 9.0}),
            g0=state(),
            g1=state(),
        ),
        "g1",
        "loading",
    ),
    "where the victim is idle": (
        asks(),
        SMALL,
        moment({"g0": Activity(in_flight={B: 1, C: 1})}, g0=state(B, C), g1=state(B, C)),
        "g1",
        "evict",
    ),
    "where nothing else loads": (
        asks(),
        TWO,
        moment({"g0": Activity(in_flight={B: 1}, loading={B: NOW_S})}, g0=state(), g1=state()),
        "g1",
        "room",
    ),
    "where fewer run": (asks(), TWO, moment(busy(g0=2, g1=1), g0=state(A), g1=state(A)), "g1", "loaded"),
    "queueing a little beats loading": (asks(), TWO, moment(busy(g0=1), g0=state(A), g1=state()), "g0", "loaded"),
    "a burst joins the load under way": (
        asks(),
        fleet(spec("g0", num_parallel=4), spec("g1", num_parallel=4)),
        moment({"g0": Activity(in_flight={A: 3}, loading={A: NOW_S})}, g0=state(), g1=state()),
        "g0",
        "loading",
    ),
    "a burst beyond the slots pays for another load": (
        asks(),
        TWO,
        moment({"g0": Activity(in_flight={A: 9}, loading={A: NOW_S})}, g0=state(), g1=state()),
        "g1",
        "room",
    ),
    "not where its victim is busy": (
        asks(),
        SMALL,
        moment({"g0": Activity(in_flight={B: 1, C: 1})}, g0=state(B, C), g1=state(B, C)),
        "g1",
        "evict",
    ),
    "where it has the context that is asked for": (
        asks(num_ctx=8192),
        TWO,
        moment(g0=state(A, context=4096), g1=state(A, context=8192)),
        "g1",
        "loaded",
    ),
    "loading again beats evicting": (
        asks(num_ctx=8192),
        fleet("g0", spec("g1", max_loaded_models=1)),
        moment(g0=state(A, context=4096), g1=state(B)),
        "g0",
        "reload",
    ),
    "where the conversation was": (
        asks(body_bytes=100_000),
        TWO,
        moment(home="g1", g0=state(A), g1=state(A)),
        "g1",
        "loaded",
    ),
    "where the conversation was, though another runs there": (
        asks(body_bytes=1_000_000),
        fleet(spec("g0", num_parallel=2), spec("g1", num_parallel=2)),
        moment(busy(g1=1), home="g1", g0=state(A), g1=state(A)),
        "g1",
        "loaded",
    ),
    "not where the conversation was, when no slot is free there": (
        asks(body_bytes=1_000_000),
        TWO,
        moment(busy(g1=1), home="g1", g0=state(A), g1=state(A)),
        "g0",
        "loaded",
    ),
    "not where the conversation was, when the model is gone there": (
        asks(body_bytes=1_000_000),
        TWO,
        moment(home="g1", g0=state(A), g1=state()),
        "g0",
        "loaded",
    ),
    "not where loads come to nothing": (
        asks(),
        TWO,
        moment(g0=state(loads_in_doubt=True), g1=state()),
        "g1",
        "room",
    ),
    "loading beats queueing long": (asks(), TWO, moment(busy(g0=9), g0=state(A), g1=state()), "g1", "room"),
    "a pin beats warmth": (
        asks(),
        fleet("g0", "g1", rules=[ModelRule("a", instances=("g0",))]),
        moment(g0=state(), g1=state(A)),
        "g0",
        "room",
    ),
    "not where it is down": (asks(), TWO, moment(g0=DOWN, g1=state()), "g1", "room"),
    "not where HAProxy says down": (
        asks(loads={"g0": counts(is_up=False), "g1": counts()}),
        TWO,
        moment(g0=state(A), g1=state()),
        "g1",
        "room",
    ),
    "all telemetry lost": (
        asks(),
        TWO,
        moment(g0=state(A, age_s=999), g1=state(B, age_s=999)),
        "g0",
        "loaded",
    ),
    "a fresh reading beats an old one": (asks(), TWO, moment(g0=state(A, age_s=60), g1=state(A)), "g1", "loaded"),
    "before anything was heard": (asks(), fleet("g0"), moment(), "g0", "room"),
    "description, where installed": (
        asks(kind=Kind.DESCRIBE),
        TWO,
        moment(g0=state(installed=(B,)), g1=state()),
        "g1",
        "describe",
    ),
    "unloading, where it is loaded": (
        asks(kind=Kind.UNLOAD),
        TWO,
        moment(busy(g1=9), g0=state(), g1=state(A)),
        "g1",
        "unload",
    ),
    "unloading, where it loads": (
        asks(kind=Kind.UNLOAD),
        TWO,
        moment({"g1": Activity(in_flight={A: 1}, loading={A: NOW_S})}, g0=state(), g1=state()),
        "g1",
        "unload",
    ),
    "unloading what is loaded nowhere": (
        asks(kind=Kind.UNLOAD),
        TWO,
        moment(g0=state(B, installed=(B,)), g1=state(B)),
        "g1",
        "unload",
    ),
    "list, where least goes on": (
        asks(None, Kind.LIST),
        TWO,
        moment(busy(g0=1), g0=state(), g1=state()),
        "g1",
        "list",
    ),
    "cloud, where least goes on": (
        asks(CLOUD),
        TWO,
        moment(busy(g0=1), g0=state(), g1=state()),
        "g1",
        "inference",
    ),
    "manage, always the first": (
        asks(None, Kind.MANAGE),
        TWO,
        moment(busy(g0=9), g0=state(), g1=state()),
        "g0",
        "manage",
    ),
    "manage, the first that is up": (asks(None, Kind.MANAGE), TWO, moment(g0=DOWN, g1=state()), "g1", "manage"),
}


@pytest.mark.parametrize(("facts", "of", "snapshot", "instance", "reason"), ROUTES.values(), ids=ROUTES)
def test_routed(facts, of, snapshot, instance, reason):
    choice = choose(facts, of, snapshot)
    assert (choice.action, choice.instance, choice.reason) == (Action.ROUTE, instance, reason)
    assert choice.tier is only(choice, instance).tier


UNLOADS = {
    # fleet, snapshot -> instances that are to unload it beside the one that is asked
    "nobody else": (TWO, moment(g0=state(A), g1=state(B)), []),
    "every copy": (fleet("g0", "g1", "g2"), moment(g0=state(A), g1=state(B, A), g2=state(A)), ["g1", "g2"]),
    "who loads it": (TWO, moment({"g1": Activity(loading={A: NOW_S})}, g0=state(A), g1=state()), ["g1"]),
    "not who is to unload it": (TWO, moment({"g1": Activity(leaving=frozenset({A}))}, g0=state(A), g1=state(A)), []),
    "also who is not to serve it": (
        fleet("g0", "g1", "g2", rules=[ModelRule("a", instances=("g0",))]),
        moment(g0=state(A), g1=state(A), g2=state(A, health=Health.DRAINED)),
        ["g1", "g2"],
    ),
    "nobody who is down": (TWO, moment(g0=state(A), g1=state(A, health=Health.DOWN)), []),
}


@pytest.mark.parametrize(("of", "snapshot", "expected"), UNLOADS.values(), ids=UNLOADS)
def test_unloaded_too(of, snapshot, expected):
    choice = choose(asks(kind=Kind.UNLOAD), holding(of), snapshot)
    assert (choice.action, choice.instance, choice.victims) == (Action.ROUTE, "g0", ())
    assert choice.unloads == tuple((A, name) for name in expected)


HOLDS = {
    # request, fleet, snapshot -> the instance where it would wait least, reason; None: it is not held
    "its one slot is taken": (asks(), TWO, moment(busy(g0=1, g1=2), g0=state(A), g1=state(A)), "g0", "loaded"),
    "a slot is free": (asks(), TWO, moment(busy(g0=1), g0=state(A), g1=state(A)), None, "loaded"),
    "a slot is free, and somebody waits for it": (
        asks(),
        TWO,
        moment(busy(g0=1), waiting=1, g0=state(A), g1=state(A, installed=())),
        "g1",
        "loaded",
    ),
    "nobody waits for an instance that has yet to load": (asks(), TWO, moment(waiting=3, g0=state()), None, "room"),
    "loading, and its one slot is promised": (
        asks(),
        fleet("g0"),
        moment({"g0": Activity(in_flight={A: 1}, loading={A: NOW_S})}, g0=state()),
        "g0",
        "loading",
    ),
    "its victim is busy": (
        asks(),
        fleet(spec("g0", max_loaded_models=1)),
        moment({"g0": Activity(in_flight={B: 1})}, g0=state(B)),
        "g0",
        "evict",
    ),
    "somebody uses the other context": (
        asks(num_ctx=8192),
        fleet(spec("g0", num_parallel=4)),
        moment(busy(g0=1), g0=state(A, context=4096)),
        "g0",
        "reload",
    ),
    "no connection is left": (
        asks(loads={"g0": counts(2)}),
        fleet(spec("g0", 2)),
        moment(g0=state(B)),
        "g0",
        "room",
    ),
    "embeddings come one by one": (
        asks(embeds=True),
        fleet(spec("g0", num_parallel=4)),
        moment(busy(g0=1), g0=state(A)),
        "g0",
        "loaded",
    ),
    "so do some families": (
        asks(),
        fleet(spec("g0", num_parallel=4)),
        moment(busy(g0=1), g0=state(A, one_by_one=frozenset({A}))),
        "g0",
        "loaded",
    ),
    "others do not": (
        asks(),
        fleet(spec("g0", num_parallel=4)),
        moment(busy(g0=1), g0=state(A, one_by_one=frozenset({B}))),
        None,
        "loaded",
    ),
    "as many run as may": (
        asks(),
        fleet("g0", "g1", rules=[ModelRule("a", max_concurrent=2)]),
        moment(busy(g0=1, g1=1), g0=state(A), g1=state(A)),
        "g0",
        "loaded",
    ),
    "as many run as may, though a slot is free": (
        asks(),
        fleet(spec("g0", num_parallel=4), rules=[ModelRule("a", max_concurrent=2)]),
        moment(busy(g0=2), g0=state(A)),
        "g0",
        "loaded",
    ),
    "one less runs than may": (
        asks(),
        fleet(spec("g0", num_parallel=4), rules=[ModelRule("a", max_concurrent=2)]),
        moment(busy(g0=1), g0=state(A)),
        None,
        "loaded",
    ),
    "a description needs no slot": (asks(kind=Kind.DESCRIBE), TWO, moment(busy(g0=9), g0=state(A)), None, "describe"),
    "nor does a cloud model": (asks(CLOUD), TWO, moment({"g0": Activity({CLOUD: 9})}, g0=state()), None, "inference"),
    "nor does a pull": (asks(None, Kind.MANAGE), TWO, moment(busy(g0=9), g0=state(A)), None, "manage"),
    "loading elsewhere beats waiting long": (asks(), TWO, moment(busy(g0=30), g0=state(A), g1=state()), None, "room"),
}  # fmt: skip


@pytest.mark.parametrize(("facts", "of", "snapshot", "instance", "reason"), HOLDS.values(), ids=HOLDS)
def test_held(facts, of, snapshot, instance, reason):
    choice = choose(facts, holding(of), snapshot)
    assert (choice.action, choice.reason) == (Action.ROUTE if instance is None else Action.HOLD, reason)
    if instance is not None:
        assert only(choice, instance).cost == only(choice, choice.instance).cost
    assert (choice.status, choice.message, choice.retry_after_s) == (0, "", None)
    assert choose(facts, of, snapshot).action is Action.ROUTE  # where nothing is held it goes there all the same


NOWHERE = state(installed=(B,))
PINNED = fleet("g0", "g1", rules=[ModelRule("a", instances=("g0",))])
TINY = fleet(spec("g0", vram_bytes=2 * GIB), spec("g1", vram_bytes=3 * GIB), rules=[ModelRule("*", vram_bytes=5 * GIB)])

REJECTS = {
    # request, fleet, snapshot -> status, reason, message, Retry-After
    "not found": (asks(), TWO, moment(g0=NOWHERE, g1=NOWHERE), 404, "not found", "model 'a:latest' not found", None),
    "all down": (
        asks(),
        TWO,
        moment(g0=DOWN, g1=DOWN),
        503,
        "no instance up",
        "no Ollama instance that serves model 'a:latest' is up; try again shortly",
        5,
    ),
    "the one that has it is down": (asks(), TWO, moment(g0=NOWHERE, g1=DOWN), 503, "no instance up", "'a:latest'", 5),
    "the one it is pinned to is down": (asks(), PINNED, moment(g0=DOWN), 503, "no instance up", "'a:latest'", 5),
    "the one it is pinned to does not have it": (
        asks(),
        PINNED,
        moment(g0=NOWHERE),
        404,
        "not found",
        "not found",
        None,
    ),
    "too big for all": (
        asks(),
        TINY,
        moment(),
        400,
        "cannot fit",
        "model 'a:latest' does not fit the GPU memory of any instance: "
        "g0 needs 5.0 GiB of 2.0 GiB; g1 needs 5.0 GiB of 3.0 GiB",
        None,
    ),
    "too big for one, missing on the other": (
        asks(),
        TINY,
        moment(g1=NOWHERE),
        400,
        "cannot fit",
        "model 'a:latest' does not fit the GPU memory of any instance: g0 needs 5.0 GiB of 2.0 GiB",
        None,
    ),
    "too big for one, the other is down": (
        asks(),
        fleet(
            spec("g0", vram_bytes=2 * GIB), spec("g1", vram_bytes=9 * GIB), rules=[ModelRule("*", vram_bytes=5 * GIB)]
        ),
        moment(g1=DOWN),
        503,
        "no instance up",
        "no Ollama instance that serves model 'a:latest' is up; try again shortly",
        5,
    ),
    "list, all down": (
        asks(None, Kind.LIST),
        TWO,
        moment(g0=DOWN, g1=DOWN),
        503,
        "no instance up",
        "no Ollama instance is up; try again shortly",
        5,
    ),
    "drained by hand is not for good": (
        asks(),
        TWO,
        moment(g0=state(A, health=Health.DRAINED), g1=NOWHERE),
        503,
        "no instance up",
        "no Ollama instance that serves model 'a:latest' takes requests: drained by hand; try again shortly",
        5,
    ),
    "manage, all down": (asks(None, Kind.MANAGE), TWO, moment(g0=DOWN, g1=DOWN), 503, "no instance up", "is up", 5),
    "cloud, all down": (asks(CLOUD), TWO, moment(g0=DOWN, g1=DOWN), 503, "no instance up", "instance is up", 5),
    "unreadable": (
        asks(None, problem=RequestProblem.UNREADABLE, detail="missing request body"),
        TWO,
        moment(),
        400,
        "unreadable",
        "missing request body",
        None,
    ),
    "bad name": (
        asks(None, problem=RequestProblem.BAD_NAME, detail="invalid model name"),
        TWO,
        moment(),
        400,
        "bad model name",
        "invalid model name",
        None,
    ),
    "too large": (
        asks(None, problem=RequestProblem.TOO_LARGE),
        fleet("g0", policy=Policy(max_inspected_bytes=1234)),
        moment(),
        413,
        "too large",
        "larger than 1234 bytes",
        None,
    ),
}


@pytest.mark.parametrize(
    ("facts", "of", "snapshot", "status", "reason", "message", "retry_after_s"), REJECTS.values(), ids=REJECTS
)
def test_rejected(facts, of, snapshot, status, reason, message, retry_after_s):
    choice = choose(facts, of, snapshot)
    assert (choice.action, choice.instance) == (Action.REJECT, None)
    assert (choice.status, choice.reason, choice.retry_after_s) == (status, reason, retry_after_s)
    assert message in choice.message


def test_errors_name_the_model_as_the_caller_did():
    facts = asks(None).naming("A")
    assert choose(facts, TWO, moment(g0=NOWHERE, g1=NOWHERE)).message == "model 'A' not found"
    assert "'A'" in choose(facts, TWO, moment(g0=DOWN, g1=DOWN)).message


def test_how_long_to_wait_is_policy():
    of = fleet("g0", policy=Policy(retry_after_s=42))
    assert choose(asks(), of, moment(g0=DOWN)).retry_after_s == 42


def test_every_instance_says_why():
    of = fleet("warm", "cold", "missing", "pinned_away", "down", rules=[ModelRule("a")])
    of = replace(of, rules=(ModelRule("a", instances=("warm", "cold", "missing", "down")),))
    choice = choose(asks(), of, moment(warm=state(A), cold=state(), missing=NOWHERE, pinned_away=state(A), down=DOWN))
    assert choice.instance == "warm"
    assert [(one.instance, one.exclusion, one.tier) for one in choice.candidates] == [
        ("warm", None, Tier.LOADED),
        ("cold", None, Tier.ROOM),
        ("missing", Exclusion.NOT_INSTALLED, None),
        ("pinned_away", Exclusion.NOT_PINNED, None),
        ("down", Exclusion.DOWN, None),
    ]
    assert only(choice, "cold").cost.total_s > only(choice, "warm").cost.total_s == 0


@untimed
@given(situations())
def test_a_choice_is_whole_and_right(situation):
    facts, of, snapshot = situation
    choice = choose(facts, of, snapshot)
    assert [candidate.instance for candidate in choice.candidates] == [one.name for one in of.instances]
    eligible = [candidate for candidate in choice.candidates if candidate.exclusion is None]
    if choice.action is Action.REJECT:
        assert not eligible
        assert choice.instance is None
        why = {candidate.exclusion for candidate in choice.candidates}
        waiting_helps = bool(why & {Exclusion.DOWN, Exclusion.DRAINED})
        assert choice.status == (503 if waiting_helps else 400 if Exclusion.CANNOT_FIT in why else 404)
        assert (choice.retry_after_s is not None) is waiting_helps
        assert choice.message
    else:
        assert choice.instance in [candidate.instance for candidate in eligible]
        assert choice.tier is only(choice, choice.instance).tier
        least_s = min(candidate.cost.total_s for candidate in eligible)
        assert facts.kind is Kind.MANAGE or only(choice, choice.instance).cost.total_s == least_s
        assert (choice.status, choice.message, choice.retry_after_s) == (0, "", None)
    assert all(candidate.detail for candidate in choice.candidates if candidate.exclusion is not None)


def _lists(one, facts, snapshot):
    """Tell whether it is surely fit to be asked for lists."""
    load = facts.loads.get(one.name)
    return (load is None or load.is_up) and snapshot.state(one.name).health is Health.UP


@untimed
@given(situations())
def test_nothing_goes_where_it_must_not(situation):
    """Judged from the situation itself, not from what the Choice says of it."""
    facts, of, snapshot = situation
    choice = choose(facts, of, snapshot)
    if choice.instance is None:
        return
    (where,) = [one for one in of.instances if one.name == choice.instance]
    reading, load = snapshot.state(where.name), facts.loads.get(where.name)
    assert load is None or load.is_up
    assert reading.health is not Health.DOWN
    if facts.kind is Kind.LIST:
        assert reading.health is not Health.DRAINED or not [one for one in of.instances if _lists(one, facts, snapshot)]
        return
    assert reading.health is not Health.DRAINED
    if facts.model is None or facts.model == CLOUD:
        return
    rule = of.rule(facts.model)
    assert rule.instances is None or where.name in rule.instances
    assert facts.model in reading.loaded or facts.model in reading.installed or reading.installed_at_s is None
    if facts.kind is Kind.INFERENCE and facts.model not in reading.loaded and where.vram_bytes is not None:
        known = [one.installed.get(facts.model) for one in snapshot.instances.values()]
        size = rule.size_bytes or next((size for size in known if size), 0)
        assert (rule.vram_bytes or size) <= where.vram_bytes


@untimed
@given(situations())
def test_who_is_in_doubt_serves_only_when_nobody_else_may(situation):
    facts, of, snapshot = situation
    choice = choose(facts, of, snapshot)
    in_doubt = [c.instance for c in choice.candidates if c.exclusion in (Exclusion.SUSPECT, Exclusion.GPU)]
    if in_doubt:
        assert choice.action is not Action.REJECT
        assert choice.instance not in in_doubt
        assert not snapshot.gpu(choice.instance).doubt.broken
        assert snapshot.state(choice.instance).health not in (Health.SUSPECT, Health.RECOVERING)


@untimed
@given(situations())
def test_what_is_held_has_no_slot_or_others_wait_or_as_many_run_as_may(situation):
    facts, of, snapshot = situation
    choice = choose(facts, of, snapshot)
    if choice.action is not Action.HOLD:
        return
    assert of.policy.hold_s > 0
    assert facts.kind is Kind.INFERENCE
    limit = of.rule(facts.model).max_concurrent
    running = sum(one.in_flight.get(facts.model, 0) for one in snapshot.activity.values())
    assert not only(choice, choice.instance).has_slot or snapshot.waiting or (limit is not None and running >= limit)


@untimed
@given(situations())
def test_holding_changes_only_when_a_request_goes_never_where(situation):
    facts, of, snapshot = situation
    held, bound = (choose(facts, replace(of, policy=Policy(hold_s=hold_s)), snapshot) for hold_s in (60.0, 0.0))
    assert bound.action is not Action.HOLD
    assert replace(held, action=bound.action) == bound


@untimed
@given(situations(), st.sampled_from(RequestProblem))
def test_nothing_is_routed_on_a_guess(situation, problem):
    facts, of, snapshot = situation
    choice = choose(replace(facts, model=None, problem=problem, detail="why"), of, snapshot)
    assert choice.action is Action.REJECT
    assert choice.instance is None
    assert choice.status in (400, 404, 413)


@untimed
@given(situations())
def test_equal_inputs_give_equal_answers(situation):
    facts, of, snapshot = situation
    assert choose(facts, of, snapshot) == choose(replace(facts), replace(of), replace(snapshot))


@untimed
@given(situations(), st.integers(-1_000_000, 1_000_000))
def test_only_ages_matter_never_the_time(situation, shift_s):
    """Whatever moment the monotonic clock counts from, the decision is the same. Whole seconds add up exactly."""
    facts, of, snapshot = situation

    def at(shift_s):
        instances = {
            name: replace(
                one,
                loaded_at_s=None if one.loaded_at_s is None else round(one.loaded_at_s) + shift_s,
                avoided={
                    model: term._replace(until_s=round(term.until_s) + shift_s) for model, term in one.avoided.items()
                },
            )
            for name, one in snapshot.instances.items()
        }
        activity = {
            name: replace(one, loading={model: round(since) + shift_s for model, since in one.loading.items()})
            for name, one in snapshot.activity.items()
        }
        return replace(snapshot, at_s=snapshot.at_s + shift_s, instances=instances, activity=activity)

    here, there = choose(facts, of, at(0)), choose(facts, of, at(shift_s))
    assert (here.action, here.status) == (there.action, there.status)
    for one, other in zip(here.candidates, there.candidates, strict=True):
        assert one[:4] == other[:4]
        assert one.cost.total_s == pytest.approx(other.cost.total_s, abs=1e-6)


@untimed
@given(situations_with_an_idle_warm_instance())
def test_an_idle_loaded_instance_is_preferred_to_every_cold_one_and_nothing_is_held(situation):
    facts, of, snapshot = situation
    choice = choose(facts, of, snapshot)
    assume(only(choice, "g0").exclusion is None)
    if of.rule(A).max_concurrent is None:
        assert choice.action is Action.ROUTE
    assert choice.tier in (Tier.LOADED, Tier.LOADING)
    assert only(choice, choice.instance).has_slot


@untimed
@given(fleets(), st.data())
def test_a_warm_instance_is_not_chosen_without_bound(of, data):
    """However dear the load: at some number of requests on the warm instance the cold one takes over, for good."""
    snapshot = data.draw(moments(of))
    cold = spec("cold", vram_bytes=data.draw(st.none() | st.just(200 * GIB)))
    warm = replace(of.instances[0], name="warm")
    of = replace(of, instances=(warm, cold), rules=())
    usable = {"health": Health.UP, "installed": {A: 1}, "loads_in_doubt": False, "avoided": {}}
    readings = {"warm": state(A), "cold": replace(snapshot.state("g0"), **usable)}
    snapshot = replace(snapshot, gpus={})
    chosen = []
    for number in (0, 1, 10, 100, 1000, 10_000):
        activity = {"warm": Activity(in_flight={A: number}), "cold": snapshot.active("g0")}
        loads = {"warm": counts(number), "cold": counts()}
        chosen.append(choose(asks(loads=loads), of, replace(snapshot, instances=readings, activity=activity)).instance)
    assert chosen[-1] == "cold"
    assert sorted(chosen, key=["warm", "cold"].index) == chosen


@pytest.mark.parametrize("number", range(2, 9))
@pytest.mark.parametrize("prefix", ["g", "gpu", "ollama-"])
def test_equals_are_spread_evenly(number, prefix):
    of = fleet(*(f"{prefix}{i}" for i in range(number)))
    ids = [f"{i:08x}-0000-4000-8000-{i * 7919:012x}" for i in range(300 * number)]
    won = Counter(choose(asks(request_id=one), of, moment()).instance for one in ids)
    assert len(won) == number
    assert 0.75 * 300 < min(won.values()) <= max(won.values()) < 1.25 * 300


NEAR = [
    # seconds that a request takes on g0 and g1; requests there; models in use; whose last grant is older -> who
    ((5.0, 5.0), (1, 1), (A,), "g0", "g0"),
    ((5.0, 5.0), (1, 1), (A,), "g1", "g1"),
    ((5.0, 5.9), (1, 1), (A,), "g1", "g1"),
    ((5.0, 5.9), (1, 1), (A, B), "g1", "g1"),
    ((5.0, 5.9), (1, 1), (A,), "g0", "g0"),
    ((5.0, 6.1), (1, 1), (A,), "g1", "g0"),
    ((5.0, 5.9), (1, 1), (A, B, C), "g1", "g0"),  # C would need the place of another
    ((5.0, 5.0), (1, 1), (A, B, C), "g1", "g1"),
    ((5.0, 4.9), (6, 7), (A,), "g1", "g0"),
    ((5.0, 5.9), (8, 8), (A,), "g1", "g0"),  # no slot
]


@pytest.mark.parametrize(("service_s", "running", "in_use", "older", "chosen"), NEAR)
def test_of_two_that_are_alike_the_one_is_taken_whose_last_request_is_older(service_s, running, in_use, older, chosen):
    names = ("g0", "g1")
    learned = Learned({(A, name): s for name, s in zip(names, service_s, strict=True)}, {}, dict.fromkeys(in_use, 1.0))
    activity, loads = {}, {}
    for name, number in zip(names, running, strict=True):
        activity[name] = Activity({A: number}, granted_at_s=NOW_S - (2.0 if name == older else 1.0))
        loads[name] = counts(number)
    of = fleet(*(spec(name, num_parallel=8, max_loaded_models=2) for name in names))
    snapshot = Snapshot(NOW_S, dict.fromkeys(names, state(A)), activity, learned)
    found = {choose(asks(request_id=f"r{number}", loads=loads), of, snapshot).instance for number in range(10)}
    assert found == {chosen}


@given(st.text(max_size=20, alphabet=st.characters(exclude_categories=["Cs"])))
def test_the_same_request_always_wins_the_same_tie(request_id):
    of = fleet("g0", "g1", "g2")
    assert choose(asks(request_id=request_id), of, moment()) == choose(asks(request_id=request_id), of, moment())


OTHERS = {
    # what g0 and g1 read, slots -> where a request for A goes
    "loaded on both": ((state(A, others={A: 5.0}), state(A)), 1, "g1"),
    "others are at another model there": ((state(A, B, others={B: 5.0}), state(A)), 4, "g1"),
    "the only slot is taken for long, and there is room": ((state(A, others={A: 60.0}), state()), 1, "g1"),
    "a slot is left": ((state(A, others={A: 60.0}), state()), 2, "g0"),
    "theirs are over soon": ((state(A, others={A: 0.1}), state(B, C, installed=(B, C))), 1, "g0"),
}


@pytest.mark.parametrize(("readings", "slots", "expected"), OTHERS.values(), ids=OTHERS)
def test_others_are_a_load(readings, slots, expected):
    of = holding(fleet(*(spec(name, num_parallel=slots) for name in ("g0", "g1"))))
    choice = choose(asks(), of, moment(g0=readings[0], g1=readings[1]))
    assert (choice.action, choice.instance) == (Action.ROUTE, expected)


def test_nobody_is_held_for_others():
    """Ollama's own line is fair between them and us; ours would be for ever."""
    of = holding(fleet(spec("g0", num_parallel=1)))
    assert choose(asks(), of, moment(g0=state(A, others={A: 600.0}))).action is Action.ROUTE
