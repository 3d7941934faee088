"""Machines to look at: real files, processes and servers, and nothing of the one that the tests run on."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager

import psutil

from spoe_agent.gpus.amd import AmdReader
from spoe_agent.gpus.nvml import NvmlReader
from spoe_agent.gpus.threaded import Threaded
from spoe_agent.init.machine import Senses
from spoe_agent.rig.process import free_port
from spoe_agent.simulator.catalog import Catalog, Model
from spoe_agent.simulator.server import SimulatedOllama
from tests.gpus.replay import ReplayNvml
from tests.gpus.test_amd import CARD, add

GB = 10**9


def amd(folder):
    """A tree of sysfs with two AMD cards."""
    for number in (0, 1):
        card = CARD | {"unique_id": f"2c8f9d1e4b7a603{number}"}
        add(folder, f"card{number}", f"0000:0{number + 3}:00.0", card)
    return AmdReader(folder)


def nvidia():
    """Two H200, as they were recorded."""
    return NvmlReader(ReplayNvml)


def senses(*readers, **known):
    """A machine with these readers' GPUs, where nothing else is but what is told."""
    usual = {
        "processes": list,
        "usual_port": free_port(),
        "ollama": lambda: None,
        "haproxy": lambda: None,
        "user": lambda: 1000,
    }
    return Senses(gpus=lambda: [Threaded(reader) for reader in readers], **(usual | known))


@asynccontextmanager
async def ollama(*models):
    """A simulated Ollama; its port."""
    running = SimulatedOllama(catalog=Catalog([Model(name, 4 * GB) for name in models]))
    try:
        yield await running.start()
    finally:
        await running.stop()


@contextmanager
def process(**environment):
    """A process that was started with an environment."""
    command = [sys.executable, "-I", "-c", "print(flush=True); import sys; sys.stdin.read()"]
    clean = {key: value for key, value in os.environ.items() if not key.endswith("_VISIBLE_DEVICES")}
    with subprocess.Popen(
        command, env=clean | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            running.stdout.readline()  # it runs the program by now, and not ours any more
            yield psutil.Process(running.pid)
        finally:
            running.stdin.close()
