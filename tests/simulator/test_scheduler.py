"""The rules of Ollama's scheduler, one case or more each: what is done at which time, what must follow."""

from __future__ import annotations

import pytest

from spoe_agent.simulator.loader import LoaderFaults
from spoe_agent.simulator.scheduler import Scheduler
from spoe_agent.simulator.work import Finished, Rejected
from tests.simulator.scenario import FOREVER, PROFILE, ask, play, preload, unload


def then(*lines: str) -> list[str]:
    """What happens, written as text: events between commas."""
    return [event for line in lines for event in line.split(", ")]


LOAD_A = ["0.000 load a for 1", "2.000 loaded a"]
A_AND_B_IDLE = [(0, preload(1, "a")), (0, preload(2, "b"))]
A_AND_B_LOADED = [*LOAD_A, "2.000 done 1", "2.000 load b for 2", "4.000 loaded b", "4.000 done 2"]

CASES = {
    "a cold request loads, prefills, decodes": (
        [(0, ask(1))],
        {},
        [*LOAD_A, "2.100 first 1", "2.200 done 1"],
    ),
    "a loaded model serves at once": (
        [(0, preload(1)), (5, ask(2))],
        {},
        [*LOAD_A, "2.000 done 1", "5.100 first 2", "5.200 done 2"],
    ),
    "one slot is a FIFO": (
        [(0, preload(1)), (5, ask(2)), (5, ask(3)), (5.05, ask(4))],
        {},
        [
            *LOAD_A,
            "2.000 done 1",
            "5.100 first 2",
            "5.200 done 2",
            "5.300 first 3",
            "5.400 done 3",
            "5.500 first 4",
            "5.600 done 4",
        ],
    ),
    "two slots share: prefill is divided, decode slows by 1 + k": (
        [(0, preload(1)), (5, ask(2)), (5, ask(3))],
        {"num_parallel": 2, "batch_slowdown": 0.5},
        [*LOAD_A, "2.000 done 1", "5.200 first 2", "5.200 first 3", "5.350 done 2", "5.350 done 3"],
    ),
    "a request that joins slows the one that decodes, and it speeds up again": (
        # 2 decodes from 5.1; 3 prefills its 10 tokens from 5.1 at 1/(1+k): 15 ms, decodes 5 steps at 15 ms.
        [(0, preload(1)), (5, ask(2)), (5.1, ask(3, prompt_tokens=10, output_tokens=6))],
        {"num_parallel": 2, "batch_slowdown": 0.5},
        [*LOAD_A, "2.000 done 1", "5.100 first 2", "5.115 first 3", "5.190 done 3", "5.230 done 2"],
    ),
    "embedding models have one slot whatever OLLAMA_NUM_PARALLEL says": (
        [(0, ask(1, "embed")), (0, ask(2, "embed"))],
        {"num_parallel": 4},
        [
            "0.000 load embed for 1",
            "2.000 loaded embed",
            "2.100 first 1",
            "2.200 done 1",
            "2.300 first 2",
            "2.400 done 2",
        ],
    ),
    "two computing runners get half the GPU each": (
        [*A_AND_B_IDLE, (5, ask(3, "a")), (5, ask(4, "b"))],
        {},
        [*A_AND_B_LOADED, "5.200 first 3", "5.200 first 4", "5.400 done 3", "5.400 done 4"],
    ),
    "the head's load blocks requests for other models, not those for loaded ones": (
        [(0, preload(1)), (5, ask(2, "b")), (5, ask(3, "c")), (5, ask(4, "a"))],
        {"vram_bytes": 40_000_000_000},
        [
            *LOAD_A,
            "2.000 done 1",
            "5.000 load b for 2",
            "5.100 first 4",
            "5.200 done 4",
            "7.000 loaded b",
            "7.000 load c for 3",
            "7.100 first 2",
            "7.200 done 2",
            "9.000 loaded c",
            "9.100 first 3",
            "9.200 done 3",
        ],
    ),
    "a loading model is not loaded: its later requests keep their place in the queue": (
        [(0, ask(1, "a")), (0, ask(2, "b")), (1, ask(3, "a"))],
        {},
        [
            *LOAD_A,
            "2.000 load b for 2",
            "2.100 first 1",
            "2.200 done 1",
            "4.000 loaded b",
            "4.200 first 2",
            "4.200 first 3",
            "4.400 done 2",
            "4.400 done 3",
        ],
    ),
    "queue full: the head does not count, loaded models are not refused": (
        [(0, preload(1)), (5, ask(2, "b")), (5, ask(3, "b")), (5, ask(4, "c")), (5, ask(5, "a"))],
        {"max_queue": 1},
        [
            *LOAD_A,
            "2.000 done 1",
            "5.000 load b for 2",
            "5.000 503 4",
            "5.100 first 5",
            "5.200 done 5",
            "7.000 loaded b",
            "7.100 first 2",
            "7.200 done 2",
            "7.300 first 3",
            "7.400 done 3",
        ],
    ),
    "a cancelled request keeps its place in the queue until the loop skips it": (
        [(0, ask(1)), (0, ask(2, "b")), (0.5, 2), (1, ask(3, "b")), (3, ask(4, "b"))],
        {"max_queue": 1},
        [
            "0.000 load a for 1",
            "0.500 cancelled 2",
            "1.000 503 3",
            "2.000 loaded a",
            "2.100 first 1",
            "2.200 done 1",
            "3.000 load b for 4",
            "5.000 loaded b",
            "5.100 first 4",
            "5.200 done 4",
        ],
    ),
    "eviction for memory: the idle one with the shortest keep_alive": (
        [(0, preload(1, "a")), (0, preload(2, "b", keep_alive_s=60.0)), (5, preload(3, "c"))],
        {},
        A_AND_B_LOADED
        + then(
            "5.000 unload b evicted, 5.500 load c for 3, 7.500 loaded c, 7.500 done 3",
        ),
    ),
    "equal keep_alive: the smallest path, although used last": (
        [*A_AND_B_IDLE, (5, ask(3, "a")), (6, preload(4, "c"))],
        {},
        [
            *A_AND_B_LOADED,
            "5.100 first 3",
            "5.200 done 3",
            "6.000 unload a evicted",
            "6.500 load c for 4",
            "8.500 loaded c",
            "8.500 done 4",
        ],
    ),
    "an idle one goes before a busy one that has the shorter keep_alive": (
        [*A_AND_B_IDLE, (5, ask(3, "a", keep_alive_s=1.0)), (5, preload(4, "c"))],
        {},
        [
            *A_AND_B_LOADED,
            "5.000 unload b evicted",
            "5.100 first 3",
            "5.200 done 3",
            "5.500 load c for 4",
            "6.200 unload a expired",
            "7.500 loaded c",
            "7.500 done 4",
        ],
    ),
    "no idle one: the first is drained, and new requests still attach to it": (
        [*A_AND_B_IDLE, (5, ask(3, "a")), (5, ask(4, "b", output_tokens=101)), (5, ask(5, "c")), (5.1, ask(6))],
        {},
        [
            *A_AND_B_LOADED,
            "5.200 first 3",
            "5.200 first 4",
            "5.400 done 3",
            "5.600 first 6",
            "5.800 done 6",
            "5.800 unload a evicted",
            "6.300 load c for 5",
            "6.500 done 4",
            "8.300 loaded c",
            "8.400 first 5",
            "8.500 done 5",
        ],
    ),
    "OLLAMA_MAX_LOADED_MODELS counts models although memory is free": (
        [(0, preload(1, "a")), (0, preload(2, "b"))],
        {"max_loaded_models": 1},
        LOAD_A
        + then(
            "2.000 done 1, 2.000 unload a evicted, 2.500 load b for 2, 4.500 loaded b",
            "4.500 done 2",
        ),
    ),
    "by default three models per GPU": (
        [(0, preload(n, name)) for n, name in enumerate(["a", "b", "c", "d"], start=1)],
        {"vram_bytes": 100_000_000_000},
        [
            *A_AND_B_LOADED,
            "4.000 load c for 3",
            "6.000 loaded c",
            "6.000 done 3",
            "6.000 unload a evicted",
            "6.500 load d for 4",
            "8.500 loaded d",
            "8.500 done 4",
        ],
    ),
    "beside others a model must fit in a part of the free memory": (
        [*A_AND_B_IDLE],
        {"fit_fraction": 0.7},
        LOAD_A
        + then(
            "2.000 done 1, 2.000 unload a evicted, 2.500 load b for 2, 4.500 loaded b",
            "4.500 done 2",
        ),
    ),
    "another num_ctx reloads the model for everyone": (
        [(0, preload(1)), (5, ask(2)), (5, ask(3, num_ctx=8192)), (8, ask(4))],
        {},
        [
            *LOAD_A,
            "2.000 done 1",
            "5.100 first 2",
            "5.200 done 2",
            "5.200 unload a reload",
            "5.700 load a for 3",
            "7.700 loaded a",
            "7.800 first 3",
            "7.900 done 3",
            "8.000 unload a reload",
            "8.500 load a for 4",
            "10.500 loaded a",
            "10.600 first 4",
            "10.700 done 4",
        ],
    ),
    "a num_ctx above the training context is clipped, so it is no reload": (
        [(0, preload(1, num_ctx=131_072)), (5, ask(2, num_ctx=1_000_000))],
        {},
        [*LOAD_A, "2.000 done 1", "5.100 first 2", "5.200 done 2"],
    ),
    "names over one blob share a runner": (
        [(0, preload(1)), (5, ask(2, "alias-of-a"))],
        {},
        [*LOAD_A, "2.000 done 1", "5.100 first 2", "5.200 done 2"],
    ),
    "idle models expire": (
        [(0, ask(1))],
        {"keep_alive_s": 10.0},
        [*LOAD_A, "2.100 first 1", "2.200 done 1", "12.200 unload a expired"],
    ),
    "a request's keep_alive stays for the ones after it": (
        [(0, ask(1, keep_alive_s=20.0)), (10, ask(2))],
        {"keep_alive_s": 5.0},
        LOAD_A
        + then(
            "2.100 first 1, 2.200 done 1, 10.100 first 2, 10.200 done 2, 30.200 unload a expired",
        ),
    ),
    "keep_alive 0 unloads when idle, not before": (
        [(0, ask(1, keep_alive_s=0.0)), (1, ask(2))],
        {},
        LOAD_A
        + then(
            "2.100 first 1, 2.200 done 1, 2.300 first 2, 2.400 done 2, 2.400 unload a expired",
        ),
    ),
    "keep_alive for ever": (
        [(0, ask(1, keep_alive_s=FOREVER))],
        {"keep_alive_s": 5.0},
        [*LOAD_A, "2.100 first 1", "2.200 done 1"],
    ),
    "unload when asked: answered at once, requests in flight are served": (
        [(0, preload(1)), (5, ask(2)), (5.05, unload(3))],
        {},
        LOAD_A
        + then(
            "2.000 done 1, 5.050 done 3, 5.100 first 2, 5.200 done 2, 5.200 unload a asked",
        ),
    ),
    "unloading what is not loaded does nothing": ([(0, unload(1))], {}, ["0.000 done 1"]),
    "a client that leaves during its load aborts it, although others wait for the model": (
        [(0, ask(1)), (0.5, ask(2)), (1, 1)],
        {},
        [
            "0.000 load a for 1",
            "1.000 cancelled 1",
            "1.000 aborted a",
            "1.000 load a for 2",
            "3.000 loaded a",
            "3.100 first 2",
            "3.200 done 2",
        ],
    ),
    "a client that waits for another's load leaves without a trace": (
        [(0, ask(1)), (0.5, ask(2)), (1, 2)],
        {},
        ["0.000 load a for 1", "1.000 cancelled 2", "2.000 loaded a", "2.100 first 1", "2.200 done 1"],
    ),
    "a client that leaves while its eviction is under way: the eviction was for nothing": (
        [*A_AND_B_IDLE, (5, ask(3, "c")), (5.2, 3)],
        {},
        [*A_AND_B_LOADED, "5.000 unload a evicted", "5.200 cancelled 3"],
    ),
    "a client that leaves a slot frees it": (
        [(0, preload(1)), (5, ask(2, output_tokens=1000)), (5, ask(3)), (6, 2)],
        {},
        [*LOAD_A, "2.000 done 1", "5.100 first 2", "6.000 cancelled 2", "6.100 first 3", "6.200 done 3"],
    ),
    "a client that leaves the semaphore is skipped": (
        [(0, preload(1)), (5, ask(2)), (5, ask(3)), (5, ask(4)), (5.05, 3)],
        {},
        [
            *LOAD_A,
            "2.000 done 1",
            "5.050 cancelled 3",
            "5.100 first 2",
            "5.200 done 2",
            "5.300 first 4",
            "5.400 done 4",
        ],
    ),
    "the wedge: a keep_alive on a draining victim holds every load": (
        [*A_AND_B_IDLE, (5, ask(3, "a")), (5, ask(4, "b")), (5, ask(5, "c")), (5.1, ask(6, "a", keep_alive_s=FOREVER))],
        {"keep_alive_s": FOREVER},
        [
            *A_AND_B_LOADED,
            "5.200 first 3",
            "5.200 first 4",
            "5.400 done 3",
            "5.400 done 4",
            "5.500 first 6",
            "5.600 done 6",
        ],
    ),
    "a model larger than the memory loads alone, spilled and slow": (
        # 30.1 GB of which 24 GB fit: the other 20 % runs at a tenth of the bandwidth.
        [(0, preload(1)), (5, ask(2, "big", output_tokens=1))],
        {},
        [
            *LOAD_A,
            "2.000 done 1",
            "5.000 unload a evicted",
            "5.500 load big for 2",
            "9.500 loaded big",
            "10.347 first 2",
            "10.347 done 2",
        ],
    ),
    "wedged loader: loads wait until it is healed": (
        [(0, LoaderFaults(wedged=True)), (1, ask(1)), (4, LoaderFaults())],
        {},
        ["4.000 load a for 1", "6.000 loaded a", "6.100 first 1", "6.200 done 1"],
    ),
    "slow loads": (
        [(0, LoaderFaults(slowdown=5.0)), (0, preload(1))],
        {},
        ["0.000 load a for 1", "10.000 loaded a", "10.000 done 1"],
    ),
    "a session finds its prompt in the slot's cache": (
        # The second turn repeats the 111 tokens of the first: 89 of 200 are left to evaluate.
        [(0, ask(1, session="s")), (5, ask(2, session="s", prompt_tokens=200)), (6, ask(3, session="t"))],
        {},
        LOAD_A
        + then(
            "2.100 first 1, 2.200 done 1, 5.089 first 2, 5.189 done 2, 6.100 first 3",
            "6.200 done 3",
        ),
    ),
}


@pytest.mark.parametrize(("actions", "profile", "expected"), CASES.values(), ids=CASES.keys())
def test_rule(actions, profile, expected):
    _, happened = play(actions, **profile)
    assert happened == expected


def test_durations_tell_queue_and_load_from_evaluation():
    scheduler = Scheduler(PROFILE)
    scheduler.submit(ask(1), 0.0)
    scheduler.submit(ask(2), 1.0)
    finished = {e.id: e.durations for e in scheduler.advance(10.0) if isinstance(e, Finished)}
    # The second waited 1 s for the runner, which is load_duration, and 0.2 s for the slot, which only the total has.
    assert vars_of(finished[1]) == pytest.approx((2.2, 2.0, 0.1, 0.1))
    assert vars_of(finished[2]) == pytest.approx((1.4, 1.0, 0.1, 0.1))


def vars_of(durations):
    return (durations.total_s, durations.load_s, durations.prompt_eval_s, durations.eval_s)


def test_refusal_has_ollamas_words():
    scheduler = Scheduler(PROFILE.__class__(max_queue=0))
    scheduler.submit(ask(1), 0.0)
    (event,) = scheduler.advance(0.0)
    assert event == Rejected(0.0, 1, 503, "server busy, please try again.  maximum pending requests exceeded")


def test_tokens_flow_with_the_clock():
    scheduler, _ = play([(0, preload(1)), (5, ask(2))], until_s=5.05)
    seen = [scheduler.tokens_done(2, at_s) for at_s in (5.05, 5.1, 5.1101, 5.155, 5.1999, 5.2)]
    assert seen == [0, 1, 2, 6, 10, 0]  # after the last token the request has ended


def test_token_interval_grows_with_the_batch():
    scheduler, _ = play([(0, preload(1)), (5, ask(2)), (5, ask(3))], until_s=5.2, num_parallel=2)
    assert scheduler.token_interval_s(2, 5.2) == pytest.approx(0.0115)
    assert scheduler.token_interval_s(9, 5.2) == FOREVER


def test_time_must_not_go_back():
    scheduler = Scheduler(PROFILE)
    scheduler.advance(1.0)
    with pytest.raises(ValueError, match="time went back"):
        scheduler.advance(0.5)


def test_cancelling_what_has_ended_is_refused():
    scheduler, _ = play([(0, ask(1))])
    assert not scheduler.cancel(1, 200.0)


class TestPs:
    def test_a_loading_model_is_not_listed(self):
        scheduler, _ = play([(0, ask(1))], until_s=1.9)
        assert scheduler.ps(1.9) == []

    def test_line_of_a_spilled_model(self):
        scheduler, _ = play([(0, preload(1, "big", num_ctx=2048))])
        (line,) = scheduler.ps(100.0)
        assert (line.model.name, line.num_ctx) == ("big", 2048)
        assert (line.size_bytes, line.size_vram_bytes) == (30_100_000_000, 24_000_000_000)

    def test_kv_cache_counts_for_each_slot(self):
        scheduler, _ = play([(0, preload(1, "kv"))], num_parallel=2, context_length=1000)
        assert scheduler.ps(100.0)[0].size_bytes == 10_100_000_000 + 2 * 1000 * 1_000_000

    @pytest.mark.parametrize(
        ("actions", "at_s", "expected_s"),
        [
            ([(0, ask(1))], 2.05, 302.05),  # first request still runs: now + keep_alive
            ([(0, ask(1))], 50.0, 302.2),  # idle since 2.2
            ([(0, ask(1)), (400, ask(2))], 402.05, 702.05),  # expired and loaded anew
            ([(0, preload(1)), (290, ask(2, output_tokens=9999))], 310.0, 302.0),  # stale while it runs
            ([(0, preload(1)), (5, ask(2)), (5.05, unload(3))], 5.06, 5.05),
            ([(0, ask(1, keep_alive_s=FOREVER))], 50.0, FOREVER),
        ],
    )
    def test_expires_at(self, actions, at_s, expected_s):
        scheduler, _ = play(actions, until_s=at_s)
        assert scheduler.ps(at_s)[0].expires_at_s == pytest.approx(expected_s)

    def test_longest_stay_first(self):
        scheduler, _ = play([(0, preload(1, "a")), (0, preload(2, "b"))])
        assert [line.model.name for line in scheduler.ps(100.0)] == ["b", "a"]


def test_counters():
    actions = [(0, ask(1)), (1, 1), (1, ask(2)), (1, ask(3)), (1, ask(4, "b"))]
    scheduler, _ = play(actions, max_loaded_models=1, max_queue=1)
    counters = scheduler.counters
    assert counters.loads == {"a": 1}
    assert counters.load_s == pytest.approx(2.0)
    assert (counters.aborted_loads, counters.cancelled, counters.rejected) == (1, 1, 1)
    assert counters.served == {"a": 2}
    assert counters.max_in_flight == 2
