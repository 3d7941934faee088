"""Which instances change which stores: a table of fleets, moments and changes."""

import pytest

from spoe_agent.routing import Action, Exclusion, Health, InstanceState, Kind, ModelRule, choose
from spoe_agent.routing.change import Change, Verb
from spoe_agent.routing.choice import Writing
from spoe_agent.routing.names import canonical
from spoe_agent.routing.wishes import Wishes
from tests.routing.builders import A, B, C, asks, counts, fleet, moment, spec, state

PULL, PUSH, CREATE, COPY, DELETE, UPLOAD = Verb
NEW = canonical("new")
SHARED = [spec("g0", store="s"), spec("g1", store="s")]
OWN = [spec("g0", store="s0"), spec("g1", store="s1")]
MIXED = [spec("g0", store="s0"), spec("g1", store="s1"), spec("g2", store="s1")]
ALL, ONLY_B, NONE = state(), state(installed=(B,)), state(installed=())
DOWN, DRAINED, SUSPECT = (state(health=health) for health in (Health.DOWN, Health.DRAINED, Health.SUSPECT))
DOWN_WITHOUT = state(health=Health.DOWN, installed=(B,))
PINNED = [ModelRule("new", instances=("g1",))]
A_PINNED = [ModelRule("a", instances=("g1",))]
BOTH, BOTH_STORES = {"g0": ALL, "g1": ALL}, [("g0",), ("g1",)]

# the fleet, its rules, its readings, the change -> the one who makes it, the writers of each store where the door does,
# or the status of the refusal
TABLE = {
    "of one store the first writes": (SHARED, [], BOTH, Change(DELETE, A), "g0"),
    "pins choose no writer in a store": (SHARED, A_PINNED, BOTH, Change(DELETE, A), "g0"),
    "while it is down the next": (SHARED, [], {"g0": DOWN, "g1": ALL}, Change(DELETE, A), "g1"),
    "drained": (SHARED, [], {"g0": DRAINED, "g1": ALL}, Change(PULL, makes=NEW), "g1"),
    "in doubt": (SHARED, [], {"g0": SUSPECT, "g1": ALL}, Change(PULL, makes=NEW), "g1"),
    "called shared, but not": (SHARED, [], {"g0": ONLY_B, "g1": ALL}, Change(DELETE, A), "g1"),
    "deleted everywhere": (OWN, A_PINNED, {"g0": ONLY_B, "g1": ALL}, Change(DELETE, A), BOTH_STORES),
    "copied everywhere": (OWN, [], BOTH, Change(COPY, A, NEW), BOTH_STORES),
    "a copy goes where its name is pinned": (OWN, PINNED, BOTH, Change(COPY, A, NEW), "g1"),
    "the pin's store lacks the original": (OWN, PINNED, {"g0": ALL, "g1": ONLY_B}, Change(COPY, A, NEW), BOTH_STORES),
    "who had it is down": (OWN, [], {"g0": ONLY_B, "g1": DOWN}, Change(DELETE, A), [("g0",), ()]),
    "who never had it is down": (OWN, [], {"g0": ALL, "g1": DOWN_WITHOUT}, Change(DELETE, A), "g0"),
    "nobody knows what one has, and it is down": (
        OWN,
        [],
        {"g0": ALL, "g1": InstanceState(Health.DOWN)},
        Change(DELETE, A),
        [("g0",), ()],
    ),
    "a doubtful one is the store's only": (OWN, [], {"g0": ALL, "g1": SUSPECT}, Change(DELETE, A), BOTH_STORES),
    "nobody has it: each says so itself": (OWN, [], {"g0": NONE, "g1": ONLY_B}, Change(DELETE, A), BOTH_STORES),
    "pushed from where it is": (OWN, [], {"g0": ONLY_B, "g1": ALL}, Change(PUSH, A), "g1"),
    "pushed from where it is pinned": (OWN, A_PINNED, BOTH, Change(PUSH, A), "g1"),
    "pushed from the first": (OWN, [], BOTH, Change(PUSH, A), "g0"),
    "pushed from the one that is up": (OWN, [], {"g0": DOWN, "g1": ALL}, Change(PUSH, A), "g1"),
    "pushed from one that nobody has read": (OWN, [], {"g0": ONLY_B}, Change(PUSH, A), "g1"),
    "pulled everywhere": (OWN, [], BOTH, Change(PULL, makes=NEW), BOTH_STORES),
    "an update too": (OWN, [], {"g0": ALL, "g1": ONLY_B}, Change(PULL, makes=C), BOTH_STORES),
    "pulled where it is pinned": (OWN, PINNED, BOTH, Change(PULL, makes=NEW), "g1"),
    "and nowhere else": (OWN, PINNED, {"g0": ALL, "g1": DOWN}, Change(PULL, makes=NEW), 503),
    "one store is down": (OWN, [], {"g0": DOWN, "g1": ALL}, Change(PULL, makes=NEW), [(), ("g1",)]),
    "all are down": (OWN, [], {"g0": DOWN, "g1": DOWN}, Change(PULL, makes=NEW), 503),
    "a pin's store is written by its first": (
        MIXED,
        [ModelRule("new", instances=("g2",))],
        {**BOTH, "g2": ALL},
        Change(PULL, makes=NEW),
        "g1",
    ),
    "each store's other instance stands by": (
        MIXED,
        [],
        {**BOTH, "g2": ALL},
        Change(PULL, makes=NEW),
        [("g0",), ("g1", "g2")],
    ),
    "created everywhere": (OWN, [], BOTH, Change(CREATE, "", NEW), BOTH_STORES),
    "created where its origin is": (OWN, [], {"g0": ONLY_B, "g1": ALL}, Change(CREATE, A, NEW), "g1"),
    "its origin is to be pulled": (OWN, [], {"g0": ONLY_B, "g1": NONE}, Change(CREATE, A, NEW), BOTH_STORES),
    "created where it is pinned": (OWN, PINNED, {"g0": ALL, "g1": ONLY_B}, Change(CREATE, A, NEW), "g1"),
    "files go everywhere": (OWN, [], BOTH, Change(UPLOAD), BOTH_STORES),
    "unreadable": (OWN, [], BOTH, None, BOTH_STORES),
    "nobody is up": (SHARED, [], {"g0": DOWN, "g1": DOWN}, None, 503),
}


@pytest.mark.parametrize(("specs", "rules", "readings", "change", "expected"), TABLE.values(), ids=TABLE)
def test_who_changes_which_store(specs, rules, readings, change, expected):
    of = fleet(*specs, rules=rules)
    choice = choose(asks(None, Kind.MANAGE, change=change), of, moment(**readings))
    writers = [writing.writers for writing in choice.writings]
    assert (writers or choice.instance or choice.status) == expected
    assert choice.instance is None or not choice.writings
    assert choice.action is (Action.REJECT if choice.status else Action.ROUTE)
    assert [it.instance for it in choice.candidates] == [it.name for it in specs]


def test_a_store_with_nobody_up_says_why():
    change, readings = Change(PULL, makes=NEW), {"g0": DRAINED, "g1": ALL, "g2": ALL}
    choice = choose(asks(None, Kind.MANAGE, change=change), fleet(*MIXED), moment(**readings))
    assert choice.writings == (Writing(("g0",), (), "drained by hand"), Writing(("g1", "g2"), ("g1", "g2")))


@pytest.mark.parametrize(("asked_for", "expected"), [("g2", "g2"), ("g0", "g0"), ("g9", 404)])
def test_who_asks_for_an_instance_changes_its_store_only(asked_for, expected):
    change, readings = Change(PULL, makes=NEW), {**BOTH, "g2": ALL}
    request = asks(None, Kind.MANAGE, change=change, wishes=Wishes(asked_for))
    choice = choose(request, fleet(*MIXED), moment(**readings))
    assert (choice.instance or choice.status, choice.writings) == (expected, ())


def test_what_no_door_took_is_not_made_in_one_store_only():
    change = Change(PULL, makes=NEW)
    choice = choose(asks(None, Kind.MANAGE, change=change, tried=("agent:2",)), fleet(*OWN), moment(**BOTH))
    assert (choice.status, choice.writings, choice.retry_after_s) == (503, (), 5)
    assert "listeners.door" in choice.message
    change = Change(PUSH, A)
    choice = choose(asks(None, Kind.MANAGE, change=change, tried=("g0",)), fleet(*OWN), moment(**BOTH))
    assert choice.instance == "g1"


def test_each_other_instance_says_why_not():
    of = fleet(*MIXED, rules=A_PINNED)
    readings = {"g0": ONLY_B, "g1": ALL, "g2": ALL}

    def told(change, loads=None):
        choice = choose(asks(None, Kind.MANAGE, change=change, loads=loads or {}), of, moment(**readings))
        return [candidate.exclusion for candidate in choice.candidates]

    assert told(Change(PUSH, A)) == [Exclusion.NOT_INSTALLED, None, None]
    assert told(Change(CREATE, A, NEW)) == [Exclusion.NOT_INSTALLED, None, None]
    assert told(Change(PULL, makes=A)) == [Exclusion.NOT_PINNED, None, None]
    assert told(Change(UPLOAD)) == [None, None, None]
    assert told(Change(DELETE, A), {"g1": counts(is_up=False)}) == [None, Exclusion.DOWN, None]
