"""What holds for any traffic: limits of slots and memory, order, and that every request ends exactly once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoe_agent.simulator.scheduler import Scheduler
from spoe_agent.simulator.work import Cancelled, Finished, FirstToken, Rejected, Task
from tests.simulator.scenario import MODELS, PROFILE, ask, tell

FITTING = ["a", "b", "c", "d", "embed", "alias-of-a"]

request = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*FITTING, "big"]),
        "kind": st.sampled_from([Task.GENERATE, Task.GENERATE, Task.GENERATE, Task.EMBED, Task.PRELOAD, Task.UNLOAD]),
        "prompt_tokens": st.integers(0, 2000),
        "output_tokens": st.integers(1, 300),
        "num_ctx": st.sampled_from([None, None, None, 2048]),
        "keep_alive_s": st.sampled_from([None, None, 0.0, 1.0, 60.0]),
        "session": st.sampled_from([None, "s", "t"]),
    }
)
gap_s = st.floats(0, 3, allow_nan=False)
traffic = st.lists(st.tuples(gap_s, request, st.none() | gap_s), min_size=1, max_size=25)
settings_of_instance = st.fixed_dictionaries(
    {
        "num_parallel": st.integers(1, 4),
        "max_loaded_models": st.integers(0, 3),
        "max_queue": st.sampled_from([1, 3, 512]),
        "fit_fraction": st.sampled_from([0.8, 1.0]),
    }
)
QUICK = settings(max_examples=150)


def actions_of(arrivals):
    """(time, request or cancellation) in order of time; requests are numbered as they arrive."""
    now_s, actions = 0.0, []
    for id, (gap, facts, patience) in enumerate(arrivals):
        now_s += gap
        actions.append((now_s, ask(id, **facts)))
        if patience is not None:
            actions.append((now_s + patience, id))
    return sorted(actions, key=lambda action: action[0])


def run(arrivals, profile, watch=lambda scheduler, now_s: None):
    """Play traffic to its very end, stopping at every event to ``watch``; return all events."""
    scheduler, events = Scheduler(replace(PROFILE, **profile)), []

    def go_to(at_s):
        while (next_s := scheduler.next_event_at()) is not None and next_s <= at_s:
            events.extend(scheduler.advance(next_s))
            watch(scheduler, next_s)

    for at_s, action in actions_of(arrivals):
        go_to(at_s)
        if isinstance(action, int):
            scheduler.cancel(action, at_s)
        else:
            scheduler.submit(action, at_s)
        events.extend(scheduler.advance(at_s))
        watch(scheduler, at_s)
    go_to(float("inf"))
    return scheduler, events


@QUICK
@given(traffic, settings_of_instance)
def test_every_request_ends_exactly_once(arrivals, profile):
    scheduler, events = run(arrivals, profile)
    ends = Counter(event.id for event in events if isinstance(event, (Finished, Rejected, Cancelled)))
    assert ends == Counter(range(len(arrivals)))
    assert (scheduler.in_flight(), scheduler.queued()) == (0, 0)
    assert scheduler.free_vram_bytes() == PROFILE.vram_bytes  # all idle timers have fired


@QUICK
@given(traffic, settings_of_instance)
def test_memory_and_model_limits_hold(arrivals, profile):
    def watch(scheduler, now_s):
        lines = scheduler.ps(now_s)
        assert scheduler.free_vram_bytes() >= 0
        assert sum(line.size_vram_bytes for line in lines) <= PROFILE.vram_bytes
        assert len(lines) <= scheduler.profile.loaded_limit()
        for line in lines:
            assert line.size_vram_bytes == line.size_bytes or line.model.name == "big"

    run(arrivals, profile, watch)


@QUICK
@given(traffic, settings_of_instance)
def test_slots_are_never_exceeded(arrivals, profile):
    _, events = run(arrivals, profile)
    models = {id: MODELS[facts["name"]] for id, (_, facts, _) in enumerate(arrivals)}
    decoding: Counter[str] = Counter()
    started = set()
    for event in events:
        if isinstance(event, FirstToken):
            started.add(event.id)
            decoding[models[event.id].blob] += 1
            assert decoding[models[event.id].blob] <= models[event.id].slots(profile["num_parallel"])
        elif isinstance(event, (Finished, Cancelled)) and event.id in started:
            decoding[models[event.id].blob] -= 1


@QUICK
@given(traffic)
def test_one_model_with_one_slot_serves_in_order_of_arrival(arrivals):
    plain = [
        (gap, facts | {"name": "a", "kind": Task.GENERATE, "num_ctx": None}, left) for gap, facts, left in arrivals
    ]
    _, events = run(plain, {"max_queue": 512})
    first = [event.id for event in events if isinstance(event, FirstToken)]
    assert first == sorted(first)


@QUICK
@given(traffic, settings_of_instance)
def test_looking_changes_nothing(arrivals, profile):
    def look(scheduler, now_s):
        scheduler.ps(now_s)
        scheduler.tokens_done(0, now_s)
        scheduler.token_interval_s(0, now_s)

    _, watched = run(arrivals, profile, look)
    _, unwatched = run(arrivals, profile)
    assert [tell(event).partition(" ")[2] for event in watched] == [
        tell(event).partition(" ")[2] for event in unwatched
    ]
    # Work that flows in more pieces is rounded in more places.
    assert [event.at_s for event in watched] == pytest.approx([event.at_s for event in unwatched])


@QUICK
@given(traffic, settings_of_instance)
def test_tokens_never_shrink_and_stay_within_what_was_asked(arrivals, profile):
    seen: Counter[int] = Counter()

    def watch(scheduler, now_s):
        for id, (_, facts, _) in enumerate(arrivals):
            tokens = scheduler.tokens_done(id, now_s)
            assert tokens == 0 or seen[id] <= tokens <= facts["output_tokens"]
            seen[id] = max(seen[id], tokens)

    run(arrivals, profile, watch)
