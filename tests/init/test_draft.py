"""The file that is written: always one that `pointsman check` accepts."""

import asyncio

import pytest

from spoe_agent.fleet import Listen, loads
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.init.draft import draft
from spoe_agent.init.machine import Machine, Program, RunningOllama, look
from spoe_agent.routing.names import canonical
from tests.init.machines import amd, nvidia, senses

GIB = 1 << 30
GPU = GpuReading("GPU-aaaaaaaa-0000", name="A\n100", index=0, memory_total_bytes=80 * GIB)
TOOLS = {"ollama": Program("/usr/bin/ollama", "0.33.0"), "haproxy": Program("/usr/sbin/haproxy", "3.0.1")}


def running(port, environment=None, **models):
    sizes = {canonical(name): size for name, size in models.items()}
    return RunningOllama(Listen("127.0.0.1", port), "0.33.0", sizes, environment)


def written(machine, taken=()):
    text = draft(machine, lambda port: port not in taken)
    return text, loads(text)


@pytest.mark.parametrize(
    ("machine", "instances"),
    [
        (Machine(), [("cpu", 11435, (), 0)]),
        (Machine((GPU,), **TOOLS), [("gpu0", 11435, ("GPU-aaaaaaaa-0000",), 80 * GIB)]),
        (Machine((GpuReading("0000:03:00.0", index=0),)), [("gpu0", 11435, (0,), None)]),
        (Machine((), running=(running(11434),)), [("ollama0", 11434, (), 0)]),
        (Machine((GPU,), running=(running(11434),)), [("ollama0", 11434, ("GPU-aaaaaaaa-0000",), 80 * GIB)]),
        (
            Machine((GPU,), running=(running(11434, {}), running(11500, {"OLLAMA_NUM_PARALLEL": "2"}))),
            [
                ("ollama0", 11434, ("GPU-aaaaaaaa-0000",), 40 * GIB),
                ("ollama1", 11500, ("GPU-aaaaaaaa-0000",), 40 * GIB),
            ],
        ),
    ],
)
def test_every_machine_gets_a_file_that_holds(machine, instances):
    _, fleet = written(machine)
    assert [(one.name, one.port, one.gpus, one.vram_bytes) for one in fleet.instances] == instances


@pytest.mark.parametrize("vendor", ["nvidia", "amd"])
def test_a_real_machine_of_two_gpus(tmp_path, vendor):
    reader = nvidia() if vendor == "nvidia" else amd(tmp_path)
    machine = asyncio.run(look(senses(reader)))
    text, fleet = written(machine)
    assert [one.gpus for one in fleet.instances] == [(gpu.uuid,) for gpu in machine.gpus]
    for one, gpu in zip(fleet.instances, machine.gpus, strict=True):
        assert 0 <= gpu.memory_total_bytes - one.vram_bytes < 1 << 20
    assert all(str(gpu.name) in text for gpu in machine.gpus)
    assert "which found 2 GPUs" in text


@pytest.mark.parametrize(
    ("held", "taken", "front", "first"),
    [
        ((), (), 11434, 11435),
        ((), (11435, 11436), 11434, 11437),
        ((), (11434,), 11435, 11436),
        ((), (11434, 11435), 11436, 11437),
        ((11434,), (), 11435, 11434),
        ((11434, 11435), (), 11436, 11434),
    ],
)
def test_ports(held, taken, front, first):
    text, fleet = written(Machine((GPU,), running=tuple(running(port, {}) for port in held)), taken)
    assert (fleet.listeners.front.port, fleet.instances[0].port) == (front, first)
    assert ("so the front has another" in text) == (front != 11434)
    assert ("start that Ollama with OLLAMA_HOST" in text) == (11434 in held)


def test_settings_of_a_fresh_fleet_are_written_and_of_a_running_one_described():
    _, fleet = written(Machine((GPU,)))
    assert (fleet.instances[0].num_parallel, fleet.instances[0].ollama.context_length) == (4, 4096)
    _, fleet = written(Machine((GPU,), running=(running(11434, {"OLLAMA_NUM_PARALLEL": "2"}),)))
    assert (fleet.instances[0].num_parallel, fleet.instances[0].ollama.context_length) == (2, None)


def test_what_is_installed_is_named_up_to_a_number():
    models = {f"m{number:02}": number * 10**9 for number in range(25)}
    text, _ = written(Machine(running=(running(11434, **models),)))
    assert "#   m03:latest (3.0 GB)\n" in text
    assert "#   and 5 more\n" in text
    assert "m24" not in text


def test_what_is_missing_is_said():
    text, _ = written(Machine(unread=("nvidia: no driver",)))
    for line in ("found no GPU", "GPUs: nvidia: no driver", "ollama is not on the path", "HAProxy is not on the path"):
        assert line in text


def test_what_a_driver_calls_a_gpu_cannot_leave_its_comment():
    text, _ = written(Machine((GPU,)))
    assert r"# GPU 0: A\n100" in text
