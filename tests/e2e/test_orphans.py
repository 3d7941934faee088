"""What an Ollama that ended has left behind holds GPU memory, and is named. The driver is a recorded one, in the place
of NVIDIA's binding; the process that it tells of is there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.process import Process, free_port
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import MODELS
from tests.e2e.eyes import see
from tests.e2e.operator import QUICK, status

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

DRIVER = """
from copy import deepcopy
from tests.gpus.replay import RECORD, ReplayNvml

moment = deepcopy(RECORD["moments"]["idle"])
moment["gpus"][0]["nvmlDeviceGetComputeRunningProcesses()"] = {{"ok": [{{"pid": {pid}, "usedGpuMemory": 4 << 30}}]}}
nvml = ReplayNvml(moment)


def __getattr__(name):
    return getattr(nvml, name)
"""
"""The module that the agent imports as `pynvml`."""


@pytest_asyncio.fixture(loop_scope="module")
async def left(tmp_path: Path) -> AsyncIterator[Process]:
    """A process that looks as an Ollama's runner does, and is no Ollama's child."""
    program = tmp_path / "ollama" / "llama-server"
    program.parent.mkdir()
    program.symlink_to(sys.executable)
    # Stopped by leaving; it ends by itself where a test run is killed before.
    async with Process("left", [program, "-I", "-c", "import time; time.sleep(600)"], tmp_path) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def own(binary: str, left: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stack]:
    """One instance, on this host's first GPU."""
    driver = tmp_path / "driver"
    driver.mkdir()
    (driver / "pynvml.py").write_text(DRIVER.format(pid=left.pid))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(driver), *sys.path]))
    instance = {"name": "gpu0", "url": f"http://127.0.0.1:{free_port()}", "gpus": [0]}
    settings = {"instances": [instance], "policies": QUICK}
    async with Stack(tmp_path, binary, Simulated(instances=1, models=MODELS), settings=settings) as running:
        yield running


async def test_a_runner_whose_ollama_is_gone(own: Stack, left: Process, session: aiohttp.ClientSession) -> None:
    what = f"process {left.pid} is left over from an Ollama that ended, and holds 4.0 GiB of GPU memory"
    await see(session, own, "", what, "pointsman_gpu_orphaned_bytes", within_s=own.fleet.telemetry.interval)
    await left.stop()
    assert not any("left over" in warning for warning in (await status(session, own))["warnings"])
