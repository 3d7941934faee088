"""What a plan is made from: files, simulated Ollamas, recorded GPUs."""

import pytest

from spoe_agent.fleet import loads
from spoe_agent.gpus.threaded import Threaded
from spoe_agent.instances.http import Remote
from spoe_agent.plan.gather import ModelsFound, Unplannable, ask, element_bytes, gpus, remotes, wishes
from spoe_agent.plan.wanted import WantedFile
from spoe_agent.rig.process import free_port
from spoe_agent.routing.names import canonical
from spoe_agent.simulator.catalog import Catalog, Model
from spoe_agent.simulator.server import SimulatedOllama
from tests.init.machines import amd, nvidia

GB = 10**9
FLEET = (
    "gpus: [{id: 0, memory: 24GiB}]\ninstances: [{name: a, url: 'http://127.0.0.1:1', ollama: {kv_cache_type: q8_0}}]"
)


def wanted(**data):
    return WantedFile.model_validate(data)


async def known(models, asked):
    ollama = SimulatedOllama(catalog=Catalog(models))
    port = await ollama.start()
    try:
        nobody = Remote(f"http://127.0.0.1:{free_port()}")
        return await ask([nobody, Remote(f"http://127.0.0.1:{port}")], asked)
    finally:
        await ollama.stop()


MODELS = (
    Model("llama3", 5 * GB, kv_bytes_per_token=32 * 4096),
    Model("embed", GB, embedding_only=True),
)


async def test_without_a_file_all_that_is_installed_is_wanted_once():
    found = wishes(wanted(), await known(MODELS, wanted()))
    assert [(one.model, one.weights, one.is_one_by_one) for one in found] == [
        (canonical("embed"), GB, True),
        (canonical("llama3"), 5 * GB, False),
    ]
    assert found[1].shape.token_bytes == 32 * 4096
    assert (found[1].context, found[1].slots, found[1].copies) == (4096, 1, 1)


async def test_the_file_says_more_than_an_ollama():
    asked = wanted(models=[{"model": "llama3", "size": "7GB", "context": 512, "demand": 9}])
    (one,) = wishes(asked, await known(MODELS, asked))
    assert (one.weights, one.context, one.slots, one.copies) == (7 * GB, 512, 4, 3)
    assert one.shape.token_bytes == 32 * 4096
    asked = wanted(models=[{"model": "llama3", "shape": {"cache_per_token": 1000, "window": 5}}])
    (one,) = wishes(asked, await known(MODELS, asked))
    assert (one.weights, one.shape.token_bytes) == (5 * GB, 1000)


async def test_copies_and_what_runs_elsewhere_are_not_planned():
    models = (Model("a", GB, blob="same"), Model("b", GB, blob="same"), Model("big:cloud", GB))
    found = wishes(wanted(), await known(models, wanted()))
    assert [one.model for one in found] == [canonical("a")]


async def test_no_model_gets_more_context_than_it_was_trained_for():
    asked = wanted(models=[{"model": "m", "context": 8192}])
    (one,) = wishes(asked, await known((Model("m", GB, context_limit=2048),), asked))
    assert (one.context, one.trained) == (2048, 2048)
    assert one.footprint(8192, 2, 2.0) == one.footprint(2048, 2, 2.0)


@pytest.mark.parametrize(
    ("asked", "found", "said"),
    [
        (wanted(models=[{"model": "x"}]), ModelsFound(), "the size of x:latest is not known"),
        (wanted(), ModelsFound(), "no Ollama answers; name them in a file"),
        (wanted(), ModelsFound(asked=("http://h:1",)), "http://h:1 list none"),
    ],
)
def test_what_is_not_known(asked, found, said):
    with pytest.raises(Unplannable, match=said):
        wishes(asked, found)


async def test_gpus_are_those_of_the_file_then_of_the_fleet_then_of_the_machine(tmp_path):
    here = [Threaded(nvidia()), Threaded(amd(tmp_path))]
    described = wanted(gpus=[{"id": 3, "memory": "48GiB"}])
    assert [(gpu.id, gpu.bytes >> 30) for gpu in await gpus(described, loads(FLEET), here)] == [(3, 48)]
    assert [(gpu.id, gpu.bytes >> 30) for gpu in await gpus(wanted(), loads(FLEET), here)] == [(0, 24)]
    found = await gpus(wanted(), None, here)
    assert sorted(gpu.vendor for gpu in found) == ["amd", "amd", "nvidia", "nvidia"]
    assert all(str(gpu.id).startswith("GPU-") for gpu in found)


async def test_without_gpus_there_is_nothing_to_plan():
    with pytest.raises(Unplannable, match=r"describe them in a file: gpus: "):
        await gpus(wanted(), None, [])


async def test_mig_devices_are_not_grouped():
    described = wanted(gpus=[{"id": "MIG-aaaa-0", "memory": "20GiB"}, {"id": "GPU-aaaa-1", "memory": "20GiB"}])
    assert [gpu.may_group for gpu in await gpus(described, None, [])] == [False, True]


def test_who_is_asked():
    assert [one.url for one in remotes(None)] == ["http://127.0.0.1:11434"]
    assert [one.url for one in remotes(loads(FLEET))] == ["http://127.0.0.1:1"]


def test_the_cache_is_as_wanted_else_as_the_fleet_file_has_it():
    assert element_bytes(wanted(kv_cache_type="q4_0"), loads(FLEET)) == 18 / 32
    assert element_bytes(wanted(), loads(FLEET)) == 34 / 32
    assert element_bytes(wanted(), None) == 2.0
