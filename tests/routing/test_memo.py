"""The law of what is kept between decisions: with it a choice is the same as without, whatever happened in between."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.routing import Activity, Kind, Policy, Snapshot, choose
from spoe_agent.routing import memo as limits
from spoe_agent.routing.demand import Demand
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.memo import Memo
from spoe_agent.routing.memory import ModelShape
from spoe_agent.routing.snapshot import GpuDoubt, GpuGroup, Learned
from spoe_agent.routing.wishes import Wishes
from tests.routing.builders import (
    NOW_S,
    A,
    B,
    C,
    activities,
    asks,
    contexts,
    counts,
    few,
    fleet,
    fleets,
    gpu_groups,
    models,
    moment,
    moments,
    rules,
    spec,
    state,
    states,
    untimed,
)


@st.composite
def counted(draw, of):
    """HAProxy's counts for some of the fleet, with tags that may be of other addresses."""
    names = st.sampled_from([item.name for item in of.instances])
    each = st.builds(counts, few, few, st.sampled_from([True, True, False]), st.sampled_from(["", "", "old"]))
    return draw(st.dictionaries(names, each))


@st.composite
def asked(draw, of):
    """Requests of a few sorts, which come again and again."""
    loads = draw(st.just({}) | counted(of))
    names = st.sampled_from([item.name for item in of.instances])
    return asks(
        draw(st.just(A) | models),
        draw(st.just(Kind.INFERENCE) | st.sampled_from(Kind)),
        request_id=draw(st.sampled_from("rst")),
        loads=loads,
        servers=draw(st.sampled_from([loads, dict(loads), {}])),
        body_bytes=draw(st.sampled_from([0, 1_000_000])),
        num_ctx=draw(st.none() | st.just(8192)),
        runner_options=draw(st.sampled_from(["", "", "num_batch"])),
        embeds=draw(st.sampled_from([False, False, True])),
        namesake=draw(st.sampled_from(["", "", B])),
        process=draw(st.sampled_from(["", "", "old"])),
        tried=draw(st.just(()) | st.tuples(names)),
        wishes=draw(st.just(Wishes()) | st.builds(Wishes, instance=names)),
    )


def _changed(mapping, draw, keys, values):
    return {**mapping, draw(st.sampled_from(keys)): draw(values)}


def happens(draw, of, snapshot):
    """One thing that may happen between two decisions: the rest stays the very same objects."""
    names = [item.name for item in of.instances]
    events = {
        "nothing": lambda: {},
        "a reading": lambda: {"instances": _changed(snapshot.instances, draw, names, states)},
        "a reading of what is usual": lambda: {
            "instances": _changed(snapshot.instances, draw, names, st.sampled_from([state(A, B), state(B, C), state()]))
        },
        "a grant or an end": lambda: {"activity": _changed(snapshot.activity, draw, names, activities)},
        "time": lambda: {"at_s": draw(st.sampled_from([NOW_S - 5.0, NOW_S, NOW_S + 5.0, NOW_S + 12.0, NOW_S + 70.0]))},
        "learned": lambda: {"learned": draw(moments(of)).learned},
        "others wait": lambda: {"waiting": draw(few)},
        "a conversation": lambda: {"home": draw(st.none() | st.sampled_from(names))},
        "gpus": lambda: {"gpus": _changed(snapshot.gpus, draw, names, gpu_groups)},
        "trained": lambda: {"trained": draw(st.dictionaries(models, contexts))},
        "contexts": lambda: {"own_contexts": draw(st.dictionaries(models, contexts))},
        "shapes": lambda: {"shapes": draw(st.dictionaries(models, st.builds(ModelShape, st.integers(1, 10**6))))},
        "an instance is gone": lambda: {"instances": dict(list(snapshot.instances.items())[1:])},
    }
    return replace(snapshot, **events[draw(st.sampled_from(sorted(events)))]())


@untimed
@given(fleets(), st.data())
def test_a_choice_is_the_same_with_it_and_without(of, data):
    snapshot = data.draw(moments(of))
    sorts = data.draw(st.lists(asked(of), min_size=1, max_size=3))
    memo = Memo()
    for _ in range(data.draw(st.integers(1, 12))):
        snapshot = happens(data.draw, of, snapshot)
        if data.draw(st.integers(0, 9)) == 0:
            of = replace(of, rules=tuple(data.draw(st.lists(rules, max_size=2))), policy=Policy(hold_s=60.0))
        facts = data.draw(st.sampled_from(sorts))
        if data.draw(st.booleans()):
            facts = replace(facts, loads=data.draw(counted(of)))
        assert choose(facts, of, snapshot, memo) == choose(facts, of, snapshot)


WELL = fleet(*(spec(name, num_parallel=2, max_loaded_models=2, vram_bytes=12 * GIB) for name in ("g0", "g1", "g2")))
USUAL = {
    "instances": [state(), state(A), state(B, C), state(B, C, age_s=5.0), state(A, B), state(B)],
    "activity": [
        Activity(),
        Activity({B: 1}, granted_at_s=NOW_S - 1.0),
        Activity({A: 2}, mean_in_flight=1.5),
        Activity({A: 1}, loading={A: NOW_S - 1.0}, leaving=frozenset({B})),
        Activity(leaving=frozenset({C})),
    ],
    "gpus": [GpuGroup(), GpuGroup(doubt=GpuDoubt(slow="hot")), GpuGroup(total_bytes=10 * GIB)],
    "learned": [Learned(rate_per_s=rates) for rates in ({B: 0.01, C: 0.01}, {B: 0.01, C: 0.002}, {A: 2.0, B: 0.01})],
    "waiting": [0, 0, 3],
    "home": [None, "g0", "g1"],
    "at_s": [NOW_S, NOW_S + 1.0, NOW_S + 7.0, NOW_S + 12.0],
}
"""What is likely to happen, in few values, so that much is the same as it was before."""


@untimed
@given(st.data())
def test_so_it_is_where_little_happens_in_a_fleet_that_is_well(data):
    memo, snapshot = Memo(), moment(g0=state(B, C), g1=state(B, C), g2=state(A, B))
    sorts = [asks(body_bytes=1_000_000), asks(num_ctx=8192)]
    for _ in range(data.draw(st.integers(2, 12))):
        part = data.draw(st.sampled_from(sorted(USUAL)))
        now = data.draw(st.sampled_from(USUAL[part]))
        if part in ("instances", "activity", "gpus"):
            now = {**getattr(snapshot, part), data.draw(st.sampled_from(["g0", "g1", "g2"])): now}
        snapshot = replace(snapshot, **{part: now})
        facts = data.draw(st.sampled_from([sorts[0], *sorts]))
        assert choose(facts, WELL, snapshot, memo) == choose(facts, WELL, snapshot)


def test_what_is_the_same_is_not_worked_out_again():
    of, snapshot, memo = fleet("g0", "g1"), moment(g0=state(A), g1=state(B)), Memo()
    first = choose(asks(loads={"g0": counts(1)}), of, snapshot, memo)
    again = choose(asks(loads={"g0": counts(1)}), of, replace(snapshot, at_s=NOW_S + 1.0), memo)
    assert [one is other for one, other in zip(first.candidates, again.candidates, strict=True)] == [True, True]
    busier = choose(asks(loads={"g0": counts(2)}), of, snapshot, memo)
    assert [one is other for one, other in zip(first.candidates, busier.candidates, strict=True)] == [False, True]


def test_it_is_bounded():
    of, memo = fleet("g0"), Memo()
    snapshot = Snapshot(NOW_S, {"g0": state(A)})
    for number in range(3 * limits.MAX_SORTS):
        facts = asks(num_ctx=number + 1, process=f"p{number}")
        choose(facts, of, snapshot, memo)
    assert len(memo._judgements) == limits.MAX_SORTS
    assert len(memo._sites) <= limits.MAX_FRONTS
    demand = Demand.of(facts, of, snapshot)
    kept = memo.judgements(demand)
    assert memo.judgements(demand) is kept


def test_of_another_fleet_nothing_is_kept():
    memo = Memo()
    for of in (fleet("g0", "g1"), fleet(spec("g1", num_parallel=2))):
        choose(asks(), of, moment(g0=state(A), g1=state(B)), memo)
    assert [list(kept) for kept in memo._sites.values()] == [["g1"]]
    assert len(memo._judgements) == 1
