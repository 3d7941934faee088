"""Pauses that end together."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.instances.beat import BEAT_S, JITTER, LEAST_BEATS, Beat, sleep, until_beat_s

SHORTEST_S = LEAST_BEATS * BEAT_S
NOW_S = st.floats(0, 1e7)


@given(delay_s=st.floats(SHORTEST_S, 3600), now_s=NOW_S)
def test_a_pause_ends_on_the_nearest_beat(delay_s, now_s):
    pause_s = until_beat_s(delay_s, now_s)
    beats = (now_s + pause_s) / BEAT_S
    assert beats == pytest.approx(round(beats), abs=1e-4)
    assert pause_s == pytest.approx(delay_s, abs=BEAT_S / 2 + 1e-6)


@given(delay_s=st.floats(0, SHORTEST_S, exclude_max=True), now_s=NOW_S)
def test_a_short_pause_is_left_as_it_is(delay_s, now_s):
    assert until_beat_s(delay_s, now_s) == delay_s


async def test_it_pauses_that_long():
    begun_s = time.monotonic()
    await asyncio.wait_for(sleep(SHORTEST_S), 30)
    assert time.monotonic() - begun_s > SHORTEST_S - BEAT_S


@pytest.mark.parametrize("is_first_done", [True, False])
async def test_polls_come_an_interval_apart_more_or_less_and_not_all_at_once(is_first_done):
    done, jitters = [], iter([0.3, 0.0, 0.5, 1.0] if is_first_done else [0.0, 0.5, 1.0])

    class Stop(Exception):
        pass

    async def pause(seconds):
        done.append(pytest.approx(seconds))

    async def poll():
        done.append("poll")
        if done.count("poll") == 4:
            raise Stop

    with pytest.raises(Stop):
        await Beat(2.0, sleep=pause, jitter=lambda: next(jitters)).keep(poll, is_first_done=is_first_done)
    between = ["poll", 2 * (1 - JITTER), "poll", 2.0, "poll", 2 * (1 + JITTER), "poll"]
    assert done == ([0.6] if is_first_done else []) + between
