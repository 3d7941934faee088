"""Which instances a machine gets, and what is said of them."""

from itertools import count

import pytest

from spoe_agent.fleet import Listen
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.init.instances import entries, mib
from spoe_agent.init.machine import Machine, RunningOllama

GIB = 1 << 30
A, B = (GpuReading(f"GPU-aaaaaaaa-000{number}", index=number, memory_total_bytes=24 * GIB) for number in (0, 1))


def made(*running, gpus=(A, B)):
    return entries(Machine(gpus=gpus, running=running), count(11435))


def running(port=11434, **environment):
    return RunningOllama(Listen("127.0.0.1", port), "0.33.0", environment=environment)


def test_one_for_each_gpu_on_ports_from_the_first():
    assert [(one.name, one.listen.port, one.gpus) for one in made()] == [
        ("gpu0", 11435, (A,)),
        ("gpu1", 11436, (B,)),
    ]


def test_a_gpu_that_is_broken_gets_none():
    broken = GpuReading("GPU-broken", fault="is lost")
    assert [one.gpus for one in made(gpus=(A, broken))] == [(A,)]


@pytest.mark.parametrize("gpus", [(), (GpuReading("GPU-broken", fault="is lost"),)])
def test_without_gpus_it_is_one_on_the_cpu(gpus):
    (one,) = made(gpus=gpus)
    assert (one.name, one.vram_bytes, one.settings) == ("cpu", 0, {"num_parallel": 1})


def test_an_ollama_that_runs_is_described_and_no_other_invented():
    (one,) = made(
        running(
            OLLAMA_NUM_PARALLEL="3",
            OLLAMA_CONTEXT_LENGTH="8192",
            OLLAMA_MAX_LOADED_MODELS="2",
            OLLAMA_KV_CACHE_TYPE="q8_0",
            OLLAMA_MODELS="/srv/models",
        )
    )
    assert (one.name, one.listen.port, one.gpus) == ("ollama0", 11434, (A, B))
    assert one.settings == {"num_parallel": 3}
    assert one.ollama == {
        "context_length": 8192,
        "max_loaded_models": 2,
        "kv_cache_type": "q8_0",
        "models": "/srv/models",
    }


@pytest.mark.parametrize(
    ("environment", "gpus", "vram"),
    [
        ({}, (A, B), None),
        ({"CUDA_VISIBLE_DEVICES": "1"}, (B,), None),
        ({"CUDA_VISIBLE_DEVICES": "GPU-aaaaaaaa-0001, GPU-aaaaaaaa-0000"}, (B, A), None),
        ({"CUDA_VISIBLE_DEVICES": "-1", "ROCR_VISIBLE_DEVICES": "0"}, (A,), None),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, (), 0),
        ({"CUDA_VISIBLE_DEVICES": "GPU-elsewhere"}, (), None),
    ],
)
def test_what_it_is_bound_to(environment, gpus, vram):
    (one,) = made(running(**environment))
    assert (one.gpus, one.vram_bytes) == (gpus, vram)


def test_what_cannot_be_read_of_its_settings_is_left_out():
    odd = {"OLLAMA_CONTEXT_LENGTH": "many", "OLLAMA_KV_CACHE_TYPE": "f32", "OLLAMA_MODELS": "models"}
    (one,) = made(running(**odd))
    assert one.ollama == {}


def test_of_another_users_process_it_is_said_what_is_not_known():
    hidden = RunningOllama(Listen("127.0.0.1", 11434), "0.33.0")
    (one,) = made(hidden)
    assert one.gpus == (A, B)
    assert "as another user" in one.remarks[0] and "as root" in one.remarks[0]
    (of_root,) = entries(Machine(gpus=(A, B), running=(hidden,), is_root=True), count(11435))
    assert "a container" in of_root.remarks[0] and "root" not in " ".join(of_root.remarks)
    two = made(hidden, running(11500, CUDA_VISIBLE_DEVICES="1"))
    assert [each.gpus for each in two] == [(), (B,)]
    assert "gpus: [...]" in two[0].remarks[-1]
    assert made(hidden, gpus=())[0].vram_bytes == 0


def test_two_on_one_gpu_share_it():
    first, second = made(running(11434), running(11500, CUDA_VISIBLE_DEVICES="1"))
    assert (first.is_shared, first.vram_bytes) == (True, 36 * GIB)
    assert (second.is_shared, second.vram_bytes) == (True, 12 * GIB)


def test_sizes_as_the_file_has_them():
    assert (mib(24 * GIB + 5), mib(0)) == ("24576MiB", "0")
