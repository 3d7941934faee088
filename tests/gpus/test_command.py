"""`pointsman telemetry` as a program. It runs on machines with and without GPUs."""

import asyncio
import io
import signal
import sys

import aiohttp
import pytest
from click.testing import CliRunner
from rich.console import Console

from spoe_agent.gpus.board import GpuBoard, SourceHealth, SourceState
from spoe_agent.gpus.command import table, telemetry
from spoe_agent.gpus.nvml import NvmlReader
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.gpus.wire import decode
from spoe_agent.rig.process import Process, accepts, free_port
from tests.gpus.replay import ReplayNvml

PROGRAM = "from spoe_agent.gpus.command import telemetry; telemetry()"
DEADLINE_S = 20.0


async def run(*arguments):
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(child.communicate(), DEADLINE_S)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return child.returncode, out, err.decode()


@pytest.mark.parametrize("arguments", [[], ["--once", "--listen", "127.0.0.1:1"]])
def test_it_wants_one_of_two_ways(arguments):
    outcome = CliRunner().invoke(telemetry, arguments)
    assert outcome.exit_code == 2
    assert "give either --once or --listen HOST:PORT" in outcome.output


@pytest.mark.parametrize("address", ["here", "127.0.0.1", "127.0.0.1:0", "unix@/tmp/x"])
def test_an_address_must_be_one(address):
    outcome = CliRunner().invoke(telemetry, ["--listen", address])
    assert outcome.exit_code == 2
    assert "is not HOST:PORT, like 127.0.0.1:9605" in outcome.output


async def test_json_is_alone_on_standard_output():
    code, out, err = await run("--once", "--json")
    page = decode(out, 0.0)
    assert page.sources.keys() == {"nvidia", "amd"}
    assert code == (0 if page.gpus else 1)
    assert err == ("" if page.gpus else "Error: no GPU gave a reading\n")


async def test_a_host_without_gpus_is_told_once():
    code, out, err = await run("--once")
    if code == 0:
        assert err == ""
        assert b"memory" in out
        return
    assert out == b""
    assert err.startswith("Error: no GPU gave a reading")
    assert err.count("nvidia is ") == err.count("nvmlInit") == 1


async def test_a_service_answers_and_ends_when_it_is_told_to(tmp_path):
    port = free_port()
    async with Process(
        "telemetry", [sys.executable, "-c", PROGRAM, "--listen", f"127.0.0.1:{port}"], tmp_path
    ) as child:
        await child.ready(lambda: accepts("127.0.0.1", port))
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/gpus") as response:
            assert decode(await response.read(), 0.0).sources.keys() == {"nvidia", "amd"}
        child.signal(signal.SIGTERM)
        assert await asyncio.wait_for(child.wait(), DEADLINE_S) == 0


def shown(board):
    console = Console(width=200, file=io.StringIO())
    console.print(table(board))
    return console.file.getvalue()


def test_the_table_has_every_value():
    board = GpuBoard(["nvidia"])
    board.publish("nvidia", NvmlReader(lambda: ReplayNvml("busy")).read(0.0))
    text = shown(board)
    for value in (
        "NVIDIA H200",
        "13.8 GiB / 140.4 GiB",
        "126.0 GiB",
        "100%",
        "50 C",
        "434 W / 700 W",
        "gpu_idle",
        "ok",
    ):
        assert value in text


def test_the_table_says_what_is_missing_and_what_is_wrong():
    board = GpuBoard(["nvidia", "amd"])
    board.publish("amd", [GpuReading("GPU-1", fault="is lost")])
    board.report("nvidia", SourceState(SourceHealth.LATE, "nvmlInit has not come back for 7 s"))
    text = shown(board)
    assert "- / -" in text
    assert "is lost" in text
    assert "nvidia is late: nvmlInit has not come back for 7 s" in text
