"""Short ways to say a fleet, a moment and a request; and strategies that make any of them."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st

from spoe_agent.routing import (
    Activity,
    Dialect,
    FleetSpec,
    Health,
    InstanceLoad,
    InstanceSpec,
    InstanceState,
    Kind,
    LoadedModel,
    ModelRule,
    Policy,
    RequestFacts,
    Snapshot,
)
from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.names import canonical
from spoe_agent.routing.snapshot import NOTHING, Avoided, GpuDoubt, GpuGroup, Learned

# A slow machine is not a wrong decision.
untimed = settings(deadline=None)

NOW_S = 1000.0
A, B, C = (canonical(name) for name in ("a", "b", "c"))
CLOUD = canonical("big:cloud")
FOUR_GIB = 4 * GIB


def spec(name, max_connections=100, **fields):
    return InstanceSpec(name, max_connections, **fields)


def fleet(*names_or_specs, rules=(), **policy):
    specs = tuple(item if isinstance(item, InstanceSpec) else spec(item) for item in names_or_specs)
    return FleetSpec(specs, tuple(rules), **policy)


def holding(of, hold_s=60.0):
    """The same fleet, with a held queue in front."""
    return replace(of, policy=replace(of.policy, hold_s=hold_s))


def state(*loaded, installed=(A, B, C), age_s=0.0, size_bytes=FOUR_GIB, vram_bytes=None, context=0, **others):
    """Readings of an instance that lists `installed` and has `loaded` in memory, all of it the GPUs' by default."""
    one = LoadedModel(size_bytes, size_bytes if vram_bytes is None else vram_bytes, context)
    return InstanceState(
        loaded=dict.fromkeys(loaded, one),
        loaded_at_s=NOW_S - age_s,
        installed=dict.fromkeys(installed, FOUR_GIB),
        installed_at_s=NOW_S - age_s,
        **{"health": Health.UP, **others},
    )


def moment(activity=None, /, learned=NOTHING, waiting=0, home=None, **states):
    return Snapshot(NOW_S, states, activity or {}, learned, waiting, home)


def here(where, reading, activity=None, facts=None, rules=(), **live):
    """What the decision looks up of a request (for A) on the one instance of a fleet: Demand and Site."""
    of = fleet(where, rules=rules)
    snapshot = moment({of.instances[0].name: activity} if activity else None, **{of.instances[0].name: reading, **live})
    facts = facts or asks()
    return Demand.of(facts, of, snapshot), Site.of(of.instances[0], facts, snapshot)


def asks(model=A, kind=Kind.INFERENCE, request_id="r", **fields):
    return RequestFacts(request_id, kind, Dialect.OLLAMA, model, **fields)


def counts(connections=0, queued=0, is_up=True, tag=""):
    return InstanceLoad(connections, queued, is_up, tag)


def only(choice, name):
    """The candidate of that instance."""
    (found,) = [candidate for candidate in choice.candidates if candidate.instance == name]
    return found


models = st.sampled_from([A, B, C])
sizes = st.integers(1, 80).map(lambda gib: gib * GIB)
few = st.integers(0, 12)
contexts = st.sampled_from([0, 2048, 8192])
past_s = st.floats(0, 700).map(lambda age_s: NOW_S - age_s)

specs = st.builds(
    InstanceSpec,
    name=st.just("?"),
    max_connections=st.integers(1, 64),
    num_parallel=st.integers(1, 8),
    max_loaded_models=st.integers(1, 4),
    vram_bytes=st.none() | sizes,
    context_length=st.none() | st.sampled_from([0, 4096, 32768]),
)
rules = st.builds(
    ModelRule,
    match=st.sampled_from(["a", "b", "c:latest", "*", "?:*"]),
    instances=st.none() | st.lists(st.sampled_from(["g0", "g1", "g2", "g3"]), min_size=1, unique=True).map(tuple),
    num_parallel=st.none() | st.integers(1, 4),
    vram_bytes=st.none() | sizes,
    size_bytes=st.none() | sizes,
    max_concurrent=st.none() | st.integers(1, 12),
)
loaded_models = st.builds(LoadedModel, size_bytes=sizes, vram_bytes=sizes, context_length=contexts)
states = st.just(InstanceState()) | st.builds(
    InstanceState,
    health=st.sampled_from(Health),
    loaded=st.dictionaries(models, loaded_models, max_size=3),
    loaded_at_s=past_s,
    installed=st.dictionaries(models, st.just(0) | sizes, max_size=3),
    installed_at_s=st.none() | past_s,
    loads_in_doubt=st.booleans(),
    own_contexts=st.dictionaries(models, st.sampled_from([2048, 8192]), max_size=2),
    usual_context=st.none() | st.just(8192),
    avoided=st.dictionaries(
        st.just("") | models, st.builds(Avoided, st.floats(NOW_S - 10, NOW_S + 60), st.just("why")), max_size=2
    ),
)
activities = st.builds(
    Activity,
    in_flight=st.dictionaries(models, st.integers(1, 12), max_size=3),
    unseen=few,
    loading=st.dictionaries(models, past_s, max_size=3),
    contexts=st.dictionaries(models, contexts, max_size=2),
    mean_in_flight=st.floats(0, 20),
    leaving=st.frozensets(models, max_size=2),
    reserved=st.just("") | models,
)
gpu_groups = st.builds(
    GpuGroup,
    free_bytes=st.none(),
    total_bytes=st.none() | sizes,
    foreign_bytes=st.none() | st.just(0) | sizes,
    age_s=st.none() | st.floats(0, 60),
    doubt=st.builds(GpuDoubt, slow=st.sampled_from(["", "hot"]), broken=st.sampled_from(["", "lost"])),
    notes=st.just(()),
)
policies = st.builds(Policy, hold_s=st.sampled_from([0.0, 60.0]))


@st.composite
def fleets(draw):
    drawn = draw(st.lists(specs, min_size=1, max_size=4))
    named = tuple(
        InstanceSpec(
            f"g{i}",
            item.max_connections,
            item.num_parallel,
            item.max_loaded_models,
            item.vram_bytes,
            item.context_length,
        )
        for i, item in enumerate(drawn)
    )
    return FleetSpec(named, tuple(draw(st.lists(rules, max_size=3))), draw(policies))


@st.composite
def moments(draw, of):
    """A snapshot of that fleet; each part may be missing for each instance."""
    names = st.sampled_from([item.name for item in of.instances])
    pairs = st.tuples(models, names)
    seconds = st.floats(0.001, 300)
    rates = st.none() | st.dictionaries(models, st.floats(0, 10))
    return Snapshot(
        NOW_S,
        draw(st.dictionaries(names, states)),
        draw(st.dictionaries(names, activities)),
        Learned(draw(st.dictionaries(pairs, seconds)), draw(st.dictionaries(pairs, seconds)), draw(rates)),
        draw(st.just(0) | few),
        draw(st.none() | names),
        draw(st.dictionaries(names, gpu_groups)),
        draw(st.dictionaries(models, contexts)),
        draw(st.dictionaries(models, st.sampled_from([2048, 8192]), max_size=2)),
    )


@st.composite
def requests(draw, of):
    """A request for one of the models, or for none, with HAProxy's counts for some of the fleet."""
    kind = draw(st.sampled_from(Kind))
    needs = kind in (Kind.INFERENCE, Kind.DESCRIBE)
    names = st.sampled_from([item.name for item in of.instances])
    return asks(
        draw(models | st.just(CLOUD)) if needs else None,
        kind,
        request_id=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=8)),
        loads=draw(st.dictionaries(names, st.builds(InstanceLoad, few, few, st.booleans()))),
        body_bytes=draw(st.sampled_from([0, 100, 1_000_000])),
        num_ctx=draw(st.none() | st.just(8192)),
    )


@st.composite
def situations(draw):
    """(facts, fleet, snapshot): everything that `choose` takes."""
    of = draw(fleets())
    return draw(requests(of)), of, draw(moments(of))


@st.composite
def situations_with_an_idle_warm_instance(draw):
    """Situations in which nobody waits, and g0 has A loaded, read just now, and nothing to do. Else anything may be."""
    of = draw(fleets())
    facts, snapshot = draw(requests(of)), draw(moments(of))
    return (
        replace(facts, kind=Kind.INFERENCE, model=A, num_ctx=None, loads={**facts.loads, "g0": counts()}),
        replace(of, instances=(replace(of.instances[0], context_length=None), *of.instances[1:])),
        replace(
            snapshot,
            instances={**snapshot.instances, "g0": state(A, B)},
            activity={**snapshot.activity, "g0": Activity()},
            gpus={},
            waiting=0,
        ),
    )
