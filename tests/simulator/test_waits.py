"""Where a real Ollama waits, spills and reloads without need: one law each, as measured (v0.33.0-rc2, H100)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from spoe_agent.simulator.catalog import Model
from spoe_agent.simulator.host import Host
from spoe_agent.simulator.loader import LoaderFaults
from spoe_agent.simulator.profile import GB, GPU_SPEEDS, NO_WAITS, InstanceProfile
from spoe_agent.simulator.scheduler import Scheduler
from spoe_agent.simulator.work import Finished, LoadStarted, UnloadStarted
from tests.simulator.client import simulated
from tests.simulator.scenario import MODELS, PROFILE, ask, play, preload, tell, unload

A_THEN_B = [(0, preload(1, "a")), (0, preload(2, "b"))]
THREE_FIT = {"vram_bytes": 40 * GB}


def waits(**facts):
    return {"waits": replace(NO_WAITS, **facts)}


def events(happened, *words):
    return [line for line in happened if any(word in line for word in words)]


def test_an_eviction_waits_five_seconds_while_another_runner_stays():
    _, happened = play([*A_THEN_B, (10, preload(3, "c"))], **waits(unseen_share=1.0))
    assert events(happened, "unload", "load c") == ["10.000 unload a evicted", "15.000 load c for 3"]


def test_without_another_runner_the_memory_is_seen_to_come_back():
    _, happened = play([*A_THEN_B], max_loaded_models=1, **waits(unseen_share=1.0))
    assert events(happened, "unload", "load b") == ["2.000 unload a evicted", "2.500 load b for 2"]


def test_the_share_of_such_evictions_is_the_profiles_and_the_seed_decides():
    def waited(seed):
        names = "abc" * 60
        actions = [(10.0 * n, preload(n, name)) for n, name in enumerate(names)]
        scheduler = Scheduler(replace(PROFILE, seed=seed, **waits(unseen_share=0.6)))
        for at_s, work in actions:
            scheduler.submit(work, at_s)
        happened = scheduler.advance(2000.0)
        stops = [event.at_s for event in happened if isinstance(event, UnloadStarted)]
        starts = [event.at_s for event in happened if isinstance(event, LoadStarted)]
        return [min(at_s for at_s in starts if at_s > stop) - stop for stop in stops if stop < 1700.0]

    gaps_s = waited(1)
    assert {round(gap_s, 6) for gap_s in gaps_s} == {0.5, 5.0}
    assert 0.5 < sum(gap_s > 1 for gap_s in gaps_s) / len(gaps_s) < 0.7
    assert waited(1) == gaps_s != waited(2)


def test_unloads_queue():
    actions = [*A_THEN_B, (5, preload(3, "c")), (20, unload(4, "a")), (20, unload(5, "b")), (20.1, unload(6, "c"))]
    _, happened = play(actions, **THREE_FIT, **waits(unseen_share=1.0))
    assert events(happened, "unload") == ["20.000 unload a asked", "25.000 unload b asked", "30.000 unload c asked"]


def test_what_is_asked_for_while_it_waits_to_be_unloaded_is_served_first():
    actions = [*A_THEN_B, (20, unload(3, "a")), (20, unload(4, "b")), (20.1, ask(5, "b", output_tokens=601))]
    _, happened = play(actions, **waits(unseen_share=1.0))
    assert events(happened, "unload", "done 5") == ["20.000 unload a asked", "26.200 done 5", "26.200 unload b asked"]


def test_a_load_right_after_the_only_model_was_unloaded_begins_a_second_later():
    _, happened = play([(0, preload(1, "a")), (10, unload(2, "a")), (10, preload(3, "b"))], **waits(emptied_s=1.0))
    assert events(happened, "b") == ["10.000 load b for 3", "13.000 loaded b"]


def test_another_programs_memory_is_not_seen_and_makes_a_spill():
    """The runner that is loaded saw 24 GB free at its own load, and nobody looks again."""
    actions = [(0, preload(1, "a")), (5, LoaderFaults(stolen_bytes=5 * GB)), (6, preload(2, "b"))]
    scheduler, happened = play(actions)
    assert events(happened, "unload") == []
    (line,) = [line for line in scheduler.ps(120.0) if line.model.name == "b"]
    assert line.size_vram_bytes == (24 - 5) * GB - 10_100_000_000 < line.size_bytes


def test_on_a_gpu_of_its_own_nothing_spills():
    scheduler, happened = play([*A_THEN_B, (10, preload(3, "c"))])
    assert events(happened, "unload") == ["10.000 unload a evicted"]
    assert all(line.size_vram_bytes == line.size_bytes for line in scheduler.ps(120.0))


def test_an_unload_that_ended_unnoticed_makes_the_next_eviction_take_two():
    """The end of a's unload, at 15, came during c's load: nobody waited for it, so it is taken for the end of b's."""
    before = [*A_THEN_B, (10, unload(3, "a"))]
    after = [(20, preload(5, "d"))]
    _, two = play([*before, (14, preload(4, "c")), *after], **waits(unseen_share=1.0))
    _, one = play([*before, (16, preload(4, "c")), *after], **waits(unseen_share=1.0))
    assert events(two, "evicted") == ["20.000 unload b evicted", "25.000 unload c evicted"]
    assert events(one, "evicted") == ["20.000 unload b evicted"]


def test_a_load_onto_an_empty_instance_waits_for_the_search_for_gpus():
    _, happened = play([*A_THEN_B], **waits(probe_s=(2.0, 2.0)))
    assert events(happened, "load") == ["0.000 load a for 1", "4.000 loaded a", "4.000 load b for 2", "6.000 loaded b"]


def test_a_runner_is_asked_every_quarter_of_a_second_whether_it_is_ready():
    _, happened = play([(0, preload(1))], load_bytes_per_s=9 * GB, **waits(ready_poll_s=0.25))
    assert events(happened, "loaded") == ["2.250 loaded a"]


def test_a_dead_runner_is_listed_until_the_next_request_which_loads_anew():
    scheduler, _ = play([(0, preload(1))], until_s=5.0)
    scheduler.submit(ask(2), 5.0)
    scheduler.kill_runners("a", 5.05)
    assert [tell(event) for event in scheduler.advance(6.0)] == ["5.050 500 2"]
    assert [line.model.name for line in scheduler.ps(6.0)] == ["a"]
    assert scheduler.free_vram_bytes() == PROFILE.vram_bytes
    scheduler.submit(ask(3), 7.0)
    assert [tell(event) for event in scheduler.advance(20.0)] == [
        "7.000 unload a reload",
        "7.500 load a for 3",
        "9.500 loaded a",
        "9.600 first 3",
        "9.700 done 3",
    ]


@pytest.mark.parametrize(
    ("path", "end"),
    [("/api/chat", b'resource limitations"}\n'), ("/v1/chat/completions", b'"finish_reason":null}]}\n\n')],
)
async def test_a_runner_that_dies_in_mid_stream_ends_the_stream(path, end):
    async with simulated(time_scale=1.0) as client:
        body = {"model": "a", "messages": [{"role": "user", "content": "hello"}], "stream": True}
        async with asyncio.timeout(20), client.session.post(path, json=body) as response:
            await client.fault("kill_runner", model="a")
            text = await response.read()
    assert (response.status, text[-len(end) :]) == (200, end)


@pytest.mark.parametrize(
    "options",
    [
        {"runner_options": (("num_batch", 128),)},
        {"runner_options": (("num_gpu", 0),)},
        {"runner_options": (("use_mmap", False),)},
        {"num_ctx": 2048},
        {"num_ctx": 8192},
    ],
)
def test_other_runner_options_reload_there_and_back(options):
    _, happened = play([(0, preload(1)), (10, preload(2, **options)), (20, preload(3, **options)), (30, preload(4))])
    assert events(happened, "unload") == ["10.000 unload a reload", "30.000 unload a reload"]


def test_a_models_own_context_is_its_default():
    own = replace(MODELS["a"], num_ctx=16384)
    scheduler, happened = play([(0, preload(1, model=own)), (10, preload(2, model=own, num_ctx=16384))])
    assert (events(happened, "unload"), scheduler.ps(120.0)[0].num_ctx) == ([], 16384)
    _, happened = play([(0, preload(1, model=own)), (10, preload(2, "alias-of-a"))])
    assert events(happened, "unload") == ["10.000 unload a reload"]


def test_the_driver_holds_memory_that_no_model_tells_of():
    scheduler, _ = play([(0, preload(1))], driver_bytes=650_000_000)
    assert scheduler.free_vram_bytes() == 24 * GB - scheduler.ps(120.0)[0].size_vram_bytes - 650_000_000


def test_a_file_comes_from_disk_once():
    profile = replace(InstanceProfile(), waits=NO_WAITS)
    model, host = Model("m", round(14 * GB)), Host(page_cache_bytes=20 * GB)
    loads_s = [
        host.begin_load(model, profile, 0.0),
        host.begin_load(model, profile, 20.0),
        host.begin_load(Model("other", 7 * GB), profile, 40.0),
        host.begin_load(model, profile, 60.0),  # the cache holds 20 GB
    ]
    assert loads_s == pytest.approx([10.7, 0.7 + 14 / 7.5, 5.7, 10.7])


def test_four_loads_at_once_take_half_as_long_again():
    profile, host = InstanceProfile(), Host()
    for number, name in enumerate("abcd"):
        host.begin_load(MODELS[name], profile, 100.0 * number)
    loads_s = [host.begin_load(MODELS[name], profile, 1000.0) for name in "abcd"]
    assert loads_s[3] / loads_s[0] == pytest.approx(1.5)


def test_two_models_on_one_gpu_decode_in_turns():
    """323 and 216 tokens per second alone, 117 and 110 together."""
    profile = replace(PROFILE, gpu=GPU_SPEEDS["h100"], turn_s=0.0011)
    small, large = (
        Model(name, round(tokens_s * profile.gpu.decode_bytes_per_s), kv_bytes_per_token=0)
        for name, tokens_s in (("small", 1 / 323), ("large", 1 / 216))
    )
    scheduler = Scheduler(profile)
    for id, model in enumerate((small, large)):
        scheduler.submit(ask(id, model=model, prompt_tokens=1, output_tokens=10_000), 0.0)
    scheduler.advance(30.0)
    assert 1 / scheduler.token_interval_s(0, 30.0) == pytest.approx(117, rel=0.05)
    assert 1 / scheduler.token_interval_s(1, 30.0) == pytest.approx(110, rel=0.05)


def test_all_laws_together_serve_everybody():
    scheduler = Scheduler(InstanceProfile(vram_bytes=24 * GB, seed=3))
    for id in range(60):
        scheduler.submit(ask(id, "abcd"[id % 4]), 0.0)
    assert sum(isinstance(event, Finished) for event in scheduler.advance(1e5)) == 60
