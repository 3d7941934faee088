"""What is seen of a machine: trees of sysfs, a recorded NVML, simulated Ollamas, real processes."""

import asyncio
import socket

import pytest
from aiohttp import web

from spoe_agent.fleet import Listen
from spoe_agent.gpus.nvml import NvmlReader
from spoe_agent.init.machine import Machine, Program, look
from tests.gpus.replay import DRIVER_NOT_LOADED, ReplayNvml
from tests.init.machines import amd, nvidia, ollama, process, senses


def seen(*readers, **known):
    return asyncio.run(look(senses(*readers, **known)))


def test_nothing_is_a_machine_too():
    assert seen() == Machine()


def test_root_is_known():
    assert seen(user=lambda: 0).is_root


def test_gpus_of_both_vendors(tmp_path):
    machine = seen(nvidia(), amd(tmp_path))
    names = ["AMD Instinct MI210", "AMD Instinct MI210", "NVIDIA H200", "NVIDIA H200"]
    assert sorted(str(gpu.name) for gpu in machine.gpus) == names
    assert machine.unread == ()


def test_a_driver_that_is_not_loaded_is_named():
    machine = seen(NvmlReader(lambda: ReplayNvml(faults={"nvmlInit()": DRIVER_NOT_LOADED})))
    assert machine.gpus == ()
    assert "is the NVIDIA driver loaded" in machine.unread[0]


def test_programs_and_their_versions(tmp_path):
    for name, text in {"ollama": "Warning: client version is 0.33.0", "haproxy": "HAProxy version 3.0.1"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{text}'\n")
        (tmp_path / name).chmod(0o755)
    paths = {name: str(tmp_path / name) for name in ("ollama", "haproxy")}
    machine = seen(ollama=lambda: paths["ollama"], haproxy=lambda: paths["haproxy"])
    assert machine.ollama == Program(paths["ollama"], "0.33.0")
    assert machine.haproxy == Program(paths["haproxy"], "3.0.1")


def test_a_program_that_cannot_be_run_is_there_all_the_same(tmp_path):
    (tmp_path / "ollama").write_text("no program")
    (tmp_path / "ollama").chmod(0o755)
    path = str(tmp_path / "ollama")
    assert seen(ollama=lambda: path).ollama == Program(path, "unknown")


async def test_an_ollama_on_the_usual_port_is_found_without_its_process():
    async with ollama("llama3:8b") as port:
        machine = await look(senses(usual_port=port))
    (one,) = machine.running
    assert (one.listen, one.version, one.environment) == (Listen("127.0.0.1", port), "0.33.0", None)
    assert [size for key, size in one.models.items() if "llama3" in key] == [4 * 10**9]


@pytest.mark.parametrize("host", ["127.0.0.1", "::", "0.0.0.0"])
async def test_an_ollama_on_another_port_is_found_by_its_process(host):
    with process(OLLAMA_NUM_PARALLEL="3") as found:
        async with ollama() as port:
            machine = await look(senses(processes=lambda: [(host, port, found)]))
    (one,) = machine.running
    assert one.listen == Listen("127.0.0.1", port)
    assert one.environment is not None and one.environment["OLLAMA_NUM_PARALLEL"] == "3"


async def test_a_process_that_answers_nothing_is_no_ollama():
    with process() as found, socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        other.close()
        machine = await look(senses(processes=lambda: [("127.0.0.1", port, found)]))
    assert machine.running == ()


async def test_a_front_of_ours_is_no_ollama():
    async def version(_):
        return web.json_response({"version": "0.33.0"}, headers={"x-pointsman": "gpu0 list"})

    app = web.Application()
    app.router.add_get("/api/version", version)
    app.router.add_get("/api/tags", version)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        machine = await look(senses(usual_port=runner.addresses[0][1]))
    finally:
        await runner.cleanup()
    assert machine.running == ()
