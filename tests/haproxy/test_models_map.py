"""Which lines the map of models has: what is known, and no claim beyond."""

import re

import pytest

from spoe_agent.haproxy.models_map import CLOUD, entries, heading, name_regex, text
from spoe_agent.routing import (
    Activity,
    FleetSpec,
    Health,
    InstanceSpec,
    InstanceState,
    LoadedModel,
    ModelRule,
    Snapshot,
)
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.names import canonical

A, B, C = (canonical(name) for name in ("a", "b:7b", "hf.co/x/c"))
UNREAD = InstanceState()
EVERYWHERE = ",g0,g1,g2,"


def fleet(*rules, **more):
    return FleetSpec(tuple(InstanceSpec(f"g{n}", 10, **more) for n in range(3)), rules)


def has(*models, loaded=(), health=Health.UP, size_bytes=GIB):
    return InstanceState(health, {m: LoadedModel(1, 1) for m in loaded}, 1.0, dict.fromkeys(models, size_bytes), 1.0)


def lines(of, *states, activity=None):
    instances = {f"g{number}": state for number, state in enumerate(states)}
    return dict(entries(of, Snapshot(1.0, instances, activity or {})))


def rest(found):
    """The lines beside those of cloud models."""
    return {model: instances for model, instances in found.items() if model != CLOUD}


# instances' readings -> lines
KNOWN = {
    "nothing was read": ((), {".*": EVERYWHERE}),
    "one store for all": (
        (has(A, B), has(A, B), has(A, B)),
        {"^a:latest$": EVERYWHERE, r"^b:7b$": EVERYWHERE, ".*": EVERYWHERE},
    ),
    "separate stores": (
        (has(A), has(B), has(A, C)),
        {"^a:latest$": ",g0,g2,", r"^b:7b$": ",g1,", r"^hf\.co/x/c:latest$": ",g2,", ".*": ","},
    ),
    "one was not read yet: it may have anything": (
        (has(A), UNREAD, has()),
        {"^a:latest$": ",g0,g1,", ".*": ",g1,"},
    ),
    "down is for HAProxy to see": (
        (has(A, health=Health.DOWN), has(), has(A, health=Health.DRAINED)),
        {"^a:latest$": ",g0,g2,", ".*": ","},
    ),
    "loaded, and loaded though not listed": (
        (has(A, loaded=[A]), has(B, loaded=[A]), has(A)),
        {"^a:latest$": ",g0+,g1+,g2,", r"^b:7b$": ",g1,", ".*": ","},
    ),
}


@pytest.mark.parametrize(("states", "expected"), KNOWN.values(), ids=KNOWN)
def test_what_is_known_is_said_and_no_more(states, expected):
    found = lines(fleet(), *states)
    assert rest(found) == expected
    assert found[CLOUD] == EVERYWHERE


def test_what_loads_counts_as_loaded_and_what_must_go_does_not():
    activity = {"g0": Activity(loading={A: 1.0}), "g1": Activity(leaving=frozenset([A]))}
    found = lines(fleet(), has(A), has(A, loaded=[A]), has(A, loaded=[A]), activity=activity)
    assert found["^a:latest$"] == ",g0+,g1,g2+,"


def test_pins_hold_for_what_is_known_and_for_what_is_not():
    of = fleet(ModelRule("a", instances=("g0", "g1")), ModelRule("spared*"), ModelRule("*d", instances=("g2",)))
    assert rest(lines(of)) == {"^a:latest$": ",g0,g1,", "^spared.*$": EVERYWHERE, "^.*d$": ",g2,", ".*": EVERYWHERE}
    found = lines(of, has(A), has(), has(A, B))
    assert (found["^a:latest$"], found["^b:7b$"], found["^.*d$"]) == (",g0,", ",g2,", ",")


def test_where_it_cannot_fit_it_is_not_sent():
    of = FleetSpec((InstanceSpec("g0", 10, vram_bytes=8 * GIB), InstanceSpec("g1", 10, vram_bytes=80 * GIB)))
    assert lines(of, has(A, size_bytes=40 * GIB), has(A, size_bytes=40 * GIB))["^a:latest$"] == ",g1,"


@pytest.mark.parametrize(
    ("name", "is_cloud"),
    [
        ("gpt:20b-cloud", True),
        ("gpt:cloud", True),
        ("gpt-cloud:latest", False),
        ("cloud:latest", False),
        ("x/a-cloud:7b", False),
    ],
)
def test_models_of_the_cloud_are_forwarded_by_anybody(name, is_cloud):
    assert bool(re.search(CLOUD, name)) is is_cloud
    assert canonical(name).endswith(":cloud") is is_cloud


def test_the_first_line_that_matches_is_the_models_own():
    of = fleet(ModelRule("a*", instances=("g2",)))
    found = list(lines(of, has(A), has(A), has(A, B)))
    assert found.index("^a:latest$") < found.index(name_regex("a*")) < found.index(".*")


def test_the_heading_tells_fleets_apart_by_what_lines_rest_on():
    assert heading(fleet()) == heading(fleet(num_parallel=4))
    assert len({heading(of) for of in (fleet(), fleet(ModelRule("a")), fleet(ModelRule("a", instances=("g0",))))}) == 3
    assert text(fleet(), [("x", ",g0,")]) == f"{heading(fleet())}x ,g0,\n"
