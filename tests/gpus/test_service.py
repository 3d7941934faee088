"""`pointsman telemetry --listen` and the source that asks it: one host's readings on another."""

import asyncio
import itertools
import time
from contextlib import asynccontextmanager

import aiohttp
import pytest

from spoe_agent.fleet.units import Listen
from spoe_agent.gpus.board import GpuBoard, SourceHealth
from spoe_agent.gpus.nvml import NvmlReader
from spoe_agent.gpus.poll import GpuPoller
from spoe_agent.gpus.reading import GpuReading, SourceError
from spoe_agent.gpus.remote import RemoteSource
from spoe_agent.gpus.service import read_once, serve
from spoe_agent.gpus.threaded import Threaded
from spoe_agent.instances.beat import Beat
from spoe_agent.rig.process import free_port
from tests.gpus.replay import ReplayNvml
from tests.gpus.web import answering

DEADLINE_S = 10.0


class Fixed:
    """Always the same outcome."""

    def __init__(self, name, outcome):
        self.name = name
        self.outcome = outcome

    async def read(self, now_s):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return tuple(GpuReading(uuid, read_at_s=now_s) for uuid in self.outcome)


@asynccontextmanager
async def served(*sources, clock=time.monotonic):
    """The service on a free port; gives its URL and a session."""
    listen, stop = Listen(host="127.0.0.1", port=free_port()), asyncio.Event()
    task = asyncio.ensure_future(serve(sources, listen, Beat(interval_s=0.01, clock=clock), stop))
    try:
        async with aiohttp.ClientSession() as session:
            yield f"http://{listen}", session
    finally:
        stop.set()
        await asyncio.wait_for(task, DEADLINE_S)


async def until(poller, satisfied):
    """Poll until something holds."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            await poller.poll()
            if satisfied():
                return
            await asyncio.sleep(0.01)


async def test_readings_reach_another_host_and_follow_the_gpus():
    nvml = ReplayNvml("idle")
    async with served(Threaded(NvmlReader(lambda: nvml))) as (url, session):
        board = GpuBoard([url])
        poller = GpuPoller(RemoteSource(session, url + "/"), board, Beat())
        await until(poller, lambda: len(board.readings) == 2)
        assert not any(reading.processes for reading in board.readings.values())
        nvml.gpus[1].answers = ReplayNvml("busy").gpus[1].answers
        await until(poller, lambda: any(reading.processes for reading in board.readings.values()))
        busy = max(board.readings.values(), key=lambda reading: reading.memory_used_bytes)
        assert busy.memory_used_bytes == 14867103744
        assert 0 <= time.monotonic() - busy.read_at_s < DEADLINE_S


async def test_a_source_lost_over_there_leaves_readings_that_grow_old():
    ticks = itertools.count(1000.0)
    source = Fixed("nvidia", ["GPU-1"])
    async with served(source, clock=lambda: next(ticks)) as (url, session):
        remote = RemoteSource(session, url)
        board = GpuBoard([url])
        await until(GpuPoller(remote, board, Beat()), lambda: board.readings)
        source.outcome = SourceError("fell over")
        await until(GpuPoller(remote, board, Beat(clock=lambda: 50.0)), lambda: 50.0 - _age(board) > 5)
        assert board.states[url].state is SourceHealth.UP


def _age(board):
    return board.readings["GPU-1"].read_at_s


async def test_a_host_that_reads_nothing_says_why():
    broken, empty = Fixed("nvidia", SourceError("no driver")), Fixed("amd", [])
    async with served(broken, empty) as (url, session):
        board = GpuBoard([url])
        await until(
            GpuPoller(RemoteSource(session, url), board, Beat()),
            lambda: board.states[url].why == f"{url} reads no GPU: nvidia is down: no driver",
        )
        assert board.states[url].state is SourceHealth.DOWN


async def test_another_page_is_no_telemetry():
    async with answering(gpus="<html>") as (url, session):
        with pytest.raises(SourceError, match="is not a page of pointsman telemetry: page: Invalid JSON"):
            await RemoteSource(session, url).read(0.0)


async def test_an_address_in_use_is_an_error():
    async with served(Fixed("a", [])) as (url, session):
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    async with session.get(f"{url}/gpus") as response:
                        assert response.headers["content-type"].startswith("application/json")
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.01)
        taken = Listen(host="127.0.0.1", port=int(url.rpartition(":")[2]))
        with pytest.raises(OSError):
            await serve([Fixed("a", [])], taken, Beat(), asyncio.Event())


async def test_reading_once_reads_every_source():
    board = await read_once([Fixed("a", ["GPU-1"]), Fixed("b", SourceError("no"))], DEADLINE_S)
    assert board.readings.keys() == {"GPU-1"}
    assert [state.state for state in board.states.values()] == [SourceHealth.UP, SourceHealth.DOWN]
