"""Which instance changes a store: a table of fleets, moments and changes."""

import pytest

from spoe_agent.routing import Action, Exclusion, Health, Kind, ModelRule, choose
from spoe_agent.routing.change import Change, Verb
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.names import canonical
from tests.routing.builders import A, B, C, asks, counts, fleet, moment, spec, state

PULL, PUSH, CREATE, COPY, DELETE, UPLOAD = Verb
NEW = canonical("new")
SHARED = [spec("g0", store="s"), spec("g1", store="s")]
OWN = [spec("g0", store="s0"), spec("g1", store="s1")]
SIZED = [spec("g0", store="s0", vram_bytes=GIB), spec("g1", store="s1", vram_bytes=2 * GIB)]
MIXED = [spec("g0", store="s0"), spec("g1", store="s1"), spec("g2", store="s1")]
ALL, ONLY_B, NONE = state(), state(installed=(B,)), state(installed=())
PINNED = [ModelRule("new", instances=("g1",))]
A_PINNED = [ModelRule("a", instances=("g1",))]

# the fleet, its rules, its readings, the change -> who does it, or the status of the refusal
TABLE = {
    "of one store the first writes": (SHARED, [], {"g0": ALL, "g1": ALL}, Change(DELETE, A), "g0"),
    "pins choose no writer in a store": (SHARED, A_PINNED, {"g0": ALL, "g1": ALL}, Change(DELETE, A), "g0"),
    "while it is down the next": (SHARED, [], {"g0": state(health=Health.DOWN), "g1": ALL}, Change(DELETE, A), "g1"),
    "drained": (SHARED, [], {"g0": state(health=Health.DRAINED), "g1": ALL}, Change(PULL, makes=NEW), "g1"),
    "in doubt": (SHARED, [], {"g0": state(health=Health.SUSPECT), "g1": ALL}, Change(PULL, makes=NEW), "g1"),
    "called shared, but not": (SHARED, [], {"g0": ONLY_B, "g1": ALL}, Change(DELETE, A), "g1"),
    "deleted where it is": (OWN, [], {"g0": ONLY_B, "g1": ALL}, Change(DELETE, A), "g1"),
    "copied where it is": (OWN, [], {"g0": ONLY_B, "g1": ALL}, Change(COPY, A, NEW), "g1"),
    "pushed where it is": (OWN, [], {"g0": ONLY_B, "g1": ALL}, Change(PUSH, A), "g1"),
    "created where its origin is": (OWN, [], {"g0": ONLY_B, "g1": ALL}, Change(CREATE, A, NEW), "g1"),
    "of two that have it the pinned one": (OWN, A_PINNED, {"g0": ALL, "g1": ALL}, Change(DELETE, A), "g1"),
    "of two that have it the first": (OWN, [], {"g0": ALL, "g1": ALL}, Change(DELETE, A), "g0"),
    "a copy goes where its name is pinned": (OWN, PINNED, {"g0": ALL, "g1": ALL}, Change(COPY, A, NEW), "g1"),
    "the pin's store lacks the original": (OWN, PINNED, {"g0": ALL, "g1": ONLY_B}, Change(COPY, A, NEW), "g0"),
    "a doubtful one is the store's only": (
        OWN,
        [],
        {"g0": ONLY_B, "g1": state(health=Health.SUSPECT)},
        Change(DELETE, A),
        "g1",
    ),
    "where it is nobody is up": (OWN, [], {"g0": ONLY_B, "g1": state(health=Health.DOWN)}, Change(DELETE, A), 503),
    "nobody has it: Ollama says so": (OWN, [], {"g0": NONE, "g1": ONLY_B}, Change(DELETE, A), "g0"),
    "nobody knows what one has": (OWN, [], {"g0": ONLY_B}, Change(DELETE, A), "g1"),
    "a new model goes to the first store": (OWN, [], {"g0": ALL, "g1": ALL}, Change(PULL, makes=NEW), "g0"),
    "or to the one with most memory": (SIZED, [], {"g0": ALL, "g1": ALL}, Change(PULL, makes=NEW), "g1"),
    "together": (
        [*SIZED, spec("g2", store="s0", vram_bytes=2 * GIB)],
        [],
        {"g0": ALL, "g1": ALL, "g2": ALL},
        Change(PULL, makes=NEW),
        "g0",
    ),
    "a pinned one there": (OWN, PINNED, {"g0": ALL, "g1": ALL}, Change(PULL, makes=NEW), "g1"),
    "and nowhere else": (OWN, PINNED, {"g0": ALL, "g1": state(health=Health.DOWN)}, Change(PULL, makes=NEW), 503),
    "an update goes where it is": (SIZED, [], {"g0": ALL, "g1": ONLY_B}, Change(PULL, makes=C), "g0"),
    "a new one, with the first store down": (
        OWN,
        [],
        {"g0": state(health=Health.DOWN), "g1": ALL},
        Change(PULL, makes=NEW),
        "g1",
    ),
    "a pin's store is written by its first": (
        MIXED,
        [ModelRule("new", instances=("g2",))],
        {"g0": ALL, "g1": ALL, "g2": ALL},
        Change(PULL, makes=NEW),
        "g1",
    ),
    "uploads go home": (SIZED, [], {"g0": ALL, "g1": ALL}, Change(UPLOAD), "g1"),
    "and so does what is made of them": (SIZED, [], {"g0": ALL, "g1": NONE}, Change(CREATE, A, NEW, True), "g1"),
    "and nowhere else when home is down": (
        SIZED,
        [],
        {"g0": ALL, "g1": state(health=Health.DOWN)},
        Change(UPLOAD),
        503,
    ),
    "made of uploads, pinned elsewhere": (OWN, PINNED, {"g0": ALL, "g1": ALL}, Change(CREATE, "", NEW, True), 400),
    "unreadable": (OWN, [], {"g0": ALL, "g1": ALL}, None, "g0"),
    "nobody is up": (SHARED, [], {"g0": state(health=Health.DOWN)} | {"g1": state(health=Health.DOWN)}, None, 503),
}


@pytest.mark.parametrize(("specs", "rules", "readings", "change", "expected"), TABLE.values(), ids=TABLE)
def test_who_changes_a_store(specs, rules, readings, change, expected):
    of = fleet(*specs, rules=rules)
    choice = choose(asks(None, Kind.MANAGE, change=change), of, moment(**readings))
    assert (choice.instance or choice.status) == expected
    assert choice.action is (Action.ROUTE if choice.instance else Action.REJECT)
    assert choice.status == 400 or [it.instance for it in choice.candidates] == [it.name for it in specs]


def test_each_other_instance_says_why_not():
    of = fleet(*MIXED, rules=A_PINNED)
    readings = {"g0": ONLY_B, "g1": ALL, "g2": ALL}

    def told(change, loads=None):
        choice = choose(asks(None, Kind.MANAGE, change=change, loads=loads or {}), of, moment(**readings))
        return [candidate.exclusion for candidate in choice.candidates]

    assert told(Change(DELETE, A)) == [Exclusion.NOT_INSTALLED, None, None]
    assert told(Change(PULL, makes=A)) == [Exclusion.NOT_PINNED, None, None]
    assert told(Change(UPLOAD)) == [None, Exclusion.OTHER_STORE, Exclusion.OTHER_STORE]
    assert told(Change(DELETE, A), {"g1": counts(is_up=False)}) == [Exclusion.NOT_INSTALLED, Exclusion.DOWN, None]


def test_the_refusal_names_the_pin_and_the_store():
    choice = choose(asks(None, Kind.MANAGE, change=Change(CREATE, "", NEW, True)), fleet(*OWN, rules=PINNED), moment())
    assert "'new:latest' is pinned to g1" in choice.message
    assert "'s0'" in choice.message
