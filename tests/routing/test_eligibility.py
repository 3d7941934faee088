import pytest

from spoe_agent.routing import Exclusion, Health, InstanceState, Kind, ModelRule, choose
from spoe_agent.routing.estimates import GIB

from .builders import CLOUD, A, B, asks, counts, fleet, moment, only, spec, state

INFERENCE, DESCRIBE, MANAGE, LIST = Kind
SMALL = spec("g0", vram_bytes=2 * GIB)
PINNED_AWAY = [ModelRule("a", instances=("g1", "g2"))]
NOT_HERE = state(installed=(B,))
DOWN = state(health=Health.DOWN)

# what the request is, the instance, the rules, its readings, HAProxy's counts -> why it is excluded, what is said
TABLE = {
    "serves": (asks(), "g0", [], state(), {}, None, ""),
    "never heard of": (asks(), "g0", [], InstanceState(), {}, None, ""),
    "slow is in transition, not dead": (asks(), "g0", [], state(health=Health.SLOW), {}, None, ""),
    "pinned here": (asks(), "g0", [ModelRule("a", instances=("g0",))], state(), {}, None, ""),
    "pinned elsewhere": (asks(), "g0", PINNED_AWAY, state(), {}, Exclusion.NOT_PINNED, "pinned to g1, g2"),
    "pin of another model": (asks(B), "g0", PINNED_AWAY, state(), {}, None, ""),
    "pins bind descriptions too": (asks(kind=DESCRIBE), "g0", PINNED_AWAY, state(), {}, Exclusion.NOT_PINNED, "pinned"),
    "not installed": (asks(), "g0", [], NOT_HERE, {}, Exclusion.NOT_INSTALLED, "does not list a:latest"),
    "loaded though its list is older": (asks(), "g0", [], state(A, installed=()), {}, None, ""),
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
