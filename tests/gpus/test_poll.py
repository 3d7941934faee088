"""Sources that answer, fail and hang, side by side."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from spoe_agent.gpus.board import GpuBoard, SourceHealth
from spoe_agent.gpus.nvml import NvmlReader
from spoe_agent.gpus.poll import GpuPoller
from spoe_agent.gpus.reading import GpuReading, SourceError
from spoe_agent.gpus.threaded import Threaded
from spoe_agent.instances.beat import JITTER, Beat
from tests.gpus.replay import ReplayNvml
from tests.gpus.test_nvml import CALLS, HOST_CALLS, START

DEADLINE_S = 10.0
SHORT_S = 0.03


class Scripted:
    """Does one thing after another: gives readings, raises, or (None) never answers."""

    def __init__(self, name, *script):
        self.name = name
        self._script = list(script)

    async def read(self, now_s):
        step = self._script.pop(0)
        if step is None:
            await asyncio.Event().wait()
        if isinstance(step, Exception):
            raise step
        return tuple(GpuReading(uuid, read_at_s=now_s) for uuid in step)


class Stop(Exception):
    """Ends a poller that would run for ever."""


def board_of(*sources):
    return GpuBoard(source.name for source in sources)


@pytest.mark.parametrize(
    ("step", "state", "why"),
    [
        (["GPU-1"], SourceHealth.UP, ""),
        (None, SourceHealth.LATE, "no answer within 0.03 s"),
        (SourceError("no driver"), SourceHealth.DOWN, "no driver"),
        (ZeroDivisionError("a bug"), SourceHealth.DOWN, "ZeroDivisionError"),
    ],
)
async def test_what_a_source_does_becomes_its_state(step, state, why):
    source = Scripted("a", step)
    board = board_of(source)
    await GpuPoller(source, board, Beat(), SHORT_S).poll()
    assert (board.states["a"].state, board.states["a"].why) == (state, why)


@pytest.mark.parametrize("step", [None, SourceError("no driver"), ZeroDivisionError()])
async def test_readings_outlive_their_source_and_are_dated(step):
    times = iter([100.0, 101.0])
    source = Scripted("a", ["GPU-1"], step)
    board = board_of(source)
    poller = GpuPoller(source, board, Beat(clock=lambda: next(times)), SHORT_S)
    await poller.poll()
    await poller.poll()
    assert board.readings["GPU-1"].read_at_s == 100.0


async def test_only_changes_are_logged():
    bad = SourceError("no driver")
    source = Scripted("a", bad, bad, None, None, ["GPU-1"], ["GPU-1"], bad)
    poller = GpuPoller(source, board_of(source), Beat(), SHORT_S)
    with capture_logs() as logs:
        for _ in range(7):
            await poller.poll()
    assert [(entry["log_level"], entry.get("state")) for entry in logs] == [
        ("warning", "down"),
        ("warning", "late"),
        ("info", None),
        ("warning", "down"),
    ]


async def test_a_bug_is_logged_with_where_it_is():
    source = Scripted("a", ZeroDivisionError(), SourceError("no driver"))
    with capture_logs() as logs:
        await GpuPoller(source, board_of(source), Beat(), SHORT_S).poll()
    assert logs[0]["exc_info"] is True


async def test_pauses_are_jittered_around_the_interval():
    slept, jitters = [], iter([0.3, 0.0, 0.5, 1.0])

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 4:
            raise Stop

    source = Scripted("a", [], [], [], [])
    beat = Beat(interval_s=2.0, sleep=sleep, jitter=lambda: next(jitters))
    with pytest.raises(Stop):
        await GpuPoller(source, board_of(source), beat).run()
    # After the first reading at any moment of the interval.
    assert slept == pytest.approx([0.6, 2 * (1 - JITTER), 2.0, 2 * (1 + JITTER)])


@pytest.mark.parametrize("call", sorted((CALLS | HOST_CALLS).keys() | START))
async def test_a_driver_call_that_hangs_costs_its_own_source_only(call):
    nvml = ReplayNvml(hanging=call)
    hanging, other = Threaded(NvmlReader(lambda: nvml)), Scripted("b", *[["GPU-9"]] * 1000)
    board = board_of(hanging, other)
    pollers = [GpuPoller(source, board, Beat(), SHORT_S) for source in (hanging, other)]
    try:
        await asyncio.gather(*(poller.poll() for poller in pollers))
        assert nvml.entered.wait(DEADLINE_S)
        await asyncio.gather(*(poller.poll() for poller in pollers))
        assert board.states["nvidia"].state is SourceHealth.LATE
        assert board.states["nvidia"].why.startswith(call.split("(")[0])
        assert board.states["b"].state is SourceHealth.UP
        assert board.readings.keys() == {"GPU-9"}
    finally:
        nvml.hanging = None
        nvml.release.set()
    give_up_s = time.monotonic() + DEADLINE_S
    while board.states["nvidia"].state is not SourceHealth.UP and time.monotonic() < give_up_s:
        await asyncio.gather(*(poller.poll() for poller in pollers))
    assert len(board.readings) == 3
