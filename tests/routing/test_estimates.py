import pytest
from hypothesis import given

from spoe_agent.routing import ModelRule, memory
from spoe_agent.routing import estimates as e
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.memory import ModelShape
from spoe_agent.routing.snapshot import NOTHING, Learned
from spoe_agent.routing.specs import NO_RULE
from tests.routing.builders import FOUR_GIB, A, B, moment, sizes, spec, state, untimed


def test_size_on_disk_is_the_fleet_files_word_then_what_any_instance_lists_then_a_guess():
    snapshot = moment(g0=state(installed=()), g1=state(installed=(A,)))
    assert e.weights_bytes(A, ModelRule("a", size_bytes=7), snapshot) == 7
    assert e.weights_bytes(A, NO_RULE, snapshot) == FOUR_GIB
    assert e.weights_bytes(B, NO_RULE, snapshot) == e.UNKNOWN_WEIGHTS_BYTES
    assert e.weights_bytes(A, NO_RULE, moment()) == e.UNKNOWN_WEIGHTS_BYTES


def test_memory_is_the_fleet_files_word_then_what_ps_shows_here_then_a_guess():
    g0, reading = spec("g0"), state(A, size_bytes=5)
    assert e.vram_bytes(A, ModelRule("a", vram_bytes=7), FOUR_GIB, g0, reading) == 7
    assert e.vram_bytes(A, NO_RULE, FOUR_GIB, g0, reading) == 5
    assert e.vram_bytes(B, NO_RULE, FOUR_GIB, g0, reading) > FOUR_GIB


def test_what_a_model_needs_at_least_is_the_fleet_files_word_then_its_weights():
    assert e.least_vram_bytes(ModelRule("a", vram_bytes=7), FOUR_GIB) == 7
    assert FOUR_GIB < e.least_vram_bytes(NO_RULE, FOUR_GIB) < 1.2 * FOUR_GIB


def test_a_context_that_nobody_knows_is_taken_for_a_small_one():
    large = spec("g0", vram_bytes=80 * GIB)
    assert e.vram_bytes(A, NO_RULE, GIB, large, state()) == e.vram_bytes(A, NO_RULE, GIB, large, state(), 4096)


def test_key_value_cache_is_there_once_per_slot():
    assert memory.kv_bytes(GIB, 4096, 4) == 4 * memory.kv_bytes(GIB, 4096, 1)
    one, four = spec("g0", num_parallel=1), spec("g0", num_parallel=4)
    assert e.vram_bytes(A, NO_RULE, GIB, four, state()) > e.vram_bytes(A, NO_RULE, GIB, one, state())
    forced = ModelRule("a", num_parallel=1)
    assert e.vram_bytes(A, forced, GIB, four, state()) == e.vram_bytes(A, NO_RULE, GIB, one, state())


def test_a_quantized_cache_takes_less():
    usual, half = spec("g0", context_length=4096), spec("g1", context_length=4096, cache_element_bytes=1.0)
    reading = state(A, size_bytes=6 * GIB, context=4096)
    for what, context in ((state(), None), (state(), 8192), (reading, 8192)):
        more = [e.vram_bytes(A, NO_RULE, GIB, of, what, context) for of in (usual, half)]
        tokens = 4096 if context is None or what is reading else context
        assert more[0] - more[1] == pytest.approx(memory.kv_bytes(GIB, tokens, 1) / 2, abs=2)


def test_memory_follows_the_context_that_is_asked_for():
    where, rule = spec("g0", context_length=4096), ModelRule("a")
    cold, warm = state(), state(A, size_bytes=6 * GIB, context=4096)
    per_token = memory.kv_bytes(GIB, 1, where.num_parallel)

    def needs(reading, context=None):
        return e.vram_bytes(A, rule, GIB, where, reading, context)

    assert needs(cold, 8192) - needs(cold) == pytest.approx(4096 * per_token, abs=2)
    assert (needs(warm), needs(warm, 4096)) == (6 * GIB, 6 * GIB)
    assert needs(warm, 8192) - 6 * GIB == pytest.approx(4096 * per_token, abs=2)
    assert needs(state(A, size_bytes=GIB, context=1_000_000), 2048) == GIB  # never less than the weights
    assert needs(state(A, size_bytes=6 * GIB), 8192) == 6 * GIB  # an Ollama that does not say what the runner has


def test_a_shape_that_the_fleet_file_has_comes_before_the_prior():
    shape = ModelShape(100_000)
    where, rule = spec("g0", num_parallel=2, cache_element_bytes=1.0), ModelRule("a", shape=shape)
    assert e.vram_bytes(A, rule, GIB, where, state(), 8192) == GIB + 2 * 8192 * 50_000
    warm = state(A, size_bytes=6 * GIB, context=4096)
    assert e.vram_bytes(A, rule, GIB, where, warm, 8192) == 6 * GIB + 2 * 4096 * 50_000


@untimed
@given(sizes, sizes)
def test_larger_models_take_longer_and_more(one, other):
    small, large = sorted((one, other))
    assert 0 < e.load_s(NOTHING, A, spec("g0"), small) <= e.load_s(NOTHING, A, spec("g0"), large)
    assert 0 < e.service_s(NOTHING, A, "g0", small) <= e.service_s(NOTHING, A, "g0", large)
    assert 0 < e.prefill_s(small, 1000) <= e.prefill_s(large, 1000)
    assert e.prefill_s(small, 0) == 0
    assert 0 < memory.kv_bytes(small, 1, 1) <= memory.kv_bytes(large, 1, 1)


KNOWN = Learned({(A, "g0"): 7.0}, {(A, "g0"): 30.0}, {A: 0.01})


STORES = ("near", "far", "new")


def test_what_was_learned_counts_for_its_model_on_its_instance_only():
    assert e.service_s(KNOWN, A, "g0", FOUR_GIB) == 7.0
    assert e.load_s(KNOWN, A, spec("g0"), FOUR_GIB) == 30.0
    for model, instance in ((A, "g1"), (B, "g0")):
        assert e.service_s(KNOWN, model, instance, FOUR_GIB) == e.service_s(NOTHING, model, instance, FOUR_GIB) != 7.0
        assert (
            e.load_s(KNOWN, model, spec(instance), FOUR_GIB)
            == e.load_s(NOTHING, model, spec(instance), FOUR_GIB)
            != 30.0
        )


def test_what_a_model_takes_elsewhere_comes_before_the_prior():
    known = Learned({(A, "g0"): 7.0}, {(A, "g0"): 30.0}, usual_service_s={A: 8.0}, usual_load_s={A: 25.0})
    assert [e.service_s(known, A, name, FOUR_GIB) for name in ("g0", "g1")] == [7.0, 8.0]
    assert [e.load_s(known, A, spec(name), FOUR_GIB) for name in ("g0", "g1")] == [30.0, 25.0]
    assert e.service_s(known, B, "g1", FOUR_GIB) == e.service_s(NOTHING, B, "g1", FOUR_GIB)


def test_a_file_that_was_not_read_lately_comes_from_disk():
    """Whatever was learned of loads from the page cache, and as fast as others came from that disk."""
    learned = Learned(load_s={(A, "g0"): 30.0}, cached=frozenset({(A, "near"), (B, "far")}), from_disk={"far": 2.0})
    of = {store: [e.load_s(learned, model, spec("g0", store=store), FOUR_GIB) for model in (A, B)] for store in STORES}
    disk_s = e.disk_load_s(FOUR_GIB)
    assert of == {
        "near": [30.0, disk_s],
        "far": [2.0 * disk_s, e.usual_load_s(NOTHING, B, FOUR_GIB)],
        "new": [disk_s, disk_s],
    }


def test_a_time_of_zero_is_a_time():
    assert e.load_s(Learned(load_s={(A, "g0"): 0.0}), A, spec("g0"), FOUR_GIB) == 0.0
    assert e.service_s(Learned(service_s={(A, "g0"): 0.0}), A, "g0", FOUR_GIB) == 0.0


WANTED = [
    # requests per second, within -> the chance that one comes
    (None, 300.0, 1.0),
    ({}, 300.0, 0.0),
    ({B: 9.0}, 300.0, 0.0),
    ({A: 0.0}, 300.0, 0.0),
    ({A: 0.01}, 0.0, 0.0),
    ({A: 0.01}, 100.0, 0.632),
    ({A: 0.01}, 300.0, 0.950),
    ({A: 5.0}, 300.0, 1.0),
]


@pytest.mark.parametrize(("rates", "within_s", "chance"), WANTED)
def test_whether_a_model_is_wanted_again(rates, within_s, chance):
    assert e.wanted_again(Learned(rate_per_s=rates), A, within_s) == pytest.approx(chance, abs=0.001)


def test_nothing_is_known_of_arrivals_is_not_the_same_as_none_came():
    assert NOTHING.rate_per_s is None
    assert not NOTHING.service_s
    assert not NOTHING.load_s


def test_what_is_learned_is_frozen():
    with pytest.raises(AttributeError):
        KNOWN.load_s = {}
    with pytest.raises(TypeError):
        NOTHING.load_s[(A, "g0")] = 1.0
