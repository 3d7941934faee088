"""Pauses that end together."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.instances.beat import BEAT_S, LEAST_BEATS, sleep, until_beat_s

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
