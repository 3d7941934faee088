"""Virtual time against real time."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta

import pytest

from spoe_agent.simulator.clock import ScaledClock


class Loop(asyncio.AbstractEventLoop):
    """The one thing the clock wants of a loop."""

    now_s = 1000.0

    def time(self):
        return self.now_s


def test_twenty_times_as_fast():
    loop = Loop()
    clock = ScaledClock(loop, 20.0)
    assert clock.now_s() == 0.0
    loop.now_s += 3.0
    assert clock.now_s() == 60.0
    assert clock.loop_time_s(60.0) == loop.now_s
    assert (clock.real_s(5.0), clock.real_ns(5.0)) == (0.25, 250_000_000)


def test_wall_time():
    clock = ScaledClock(Loop(), 20.0)
    ahead = clock.wall_time(2000.0) - datetime.now(UTC)
    assert timedelta(seconds=99) < ahead <= timedelta(seconds=100)
    assert clock.wall_time(math.inf) - datetime.now(UTC) > timedelta(days=100_000)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan])
def test_nonsense_scales(scale):
    with pytest.raises(ValueError, match="time scale"):
        ScaledClock(Loop(), scale)
