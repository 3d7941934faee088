"""Whether Ollamas run as the file says, and agree."""

import pytest

from spoe_agent.routing import LoadedModel
from spoe_agent.routing.names import canonical
from spoe_agent.surroundings.ollamas import as_started, contexts, stores, versions
from tests.surroundings.seeing import A, B, fleet, notes, seen, wrongs

MODEL = canonical("llama3")


def test_versions_that_differ_are_told():
    two = fleet({}, {})
    assert notes(versions(seen(two, {"version": "0.33.0"}, {"version": "0.32.1"}))) == [
        "Ollamas differ in version: 0.32.1: g1; 0.33.0: g0"
    ]
    assert not list(versions(seen(two)))
    assert not list(versions(seen(two, {"version": "0.33.0"}, {"version": "", "why": "down"})))


FULL = {"num_parallel": 4, "gpus": [A.uuid], "ollama": {"context_length": 8192, "max_loaded_models": 2}}
RUNS = {
    "OLLAMA_NUM_PARALLEL": "4",
    "OLLAMA_MAX_LOADED_MODELS": "2",
    "OLLAMA_CONTEXT_LENGTH": "8192",
    "CUDA_VISIBLE_DEVICES": A.uuid,
}


@pytest.mark.parametrize(
    ("says", "runs", "told"),
    [
        ({}, {}, []),
        ({}, {"OLLAMA_NUM_PARALLEL": "4"}, ["started with num_parallel 4, the file says 1"]),
        ({"num_parallel": 4}, {}, ["started with num_parallel 1, the file says 4"]),
        ({"ollama": {"max_loaded_models": 2}}, {"OLLAMA_MAX_LOADED_MODELS": "5"}, ["with max_loaded_models 5"]),
        (FULL, RUNS, []),
        (FULL, RUNS | {"CUDA_VISIBLE_DEVICES": "0"}, []),
        (FULL, RUNS | {"CUDA_VISIBLE_DEVICES": "1"}, [f"has CUDA_VISIBLE_DEVICES=1, the file says {A.uuid}"]),
        (FULL, {**RUNS, "CUDA_VISIBLE_DEVICES": ""}, [f"has no CUDA_VISIBLE_DEVICES={A.uuid}"]),
        (FULL, RUNS | {"OLLAMA_CONTEXT_LENGTH": "4096"}, ["has OLLAMA_CONTEXT_LENGTH=4096, the file says 8192"]),
        ({"ollama": {"keep_alive": "30m"}}, {"OLLAMA_KEEP_ALIVE": "1800s"}, []),
        ({"ollama": {"keep_alive": "30m"}}, {"OLLAMA_KEEP_ALIVE": "1800"}, []),
        ({"ollama": {"keep_alive": "30m"}}, {"OLLAMA_KEEP_ALIVE": "5m"}, ["has OLLAMA_KEEP_ALIVE=5m"]),
        ({"ollama": {"flash_attention": True}}, {"OLLAMA_FLASH_ATTENTION": "true"}, []),
        ({"ollama": {"kv_cache_type": "q8_0"}}, {}, ["has no OLLAMA_KV_CACHE_TYPE=q8_0"]),
        ({"gpus": ["0000:3b:00.0"]}, {}, ["CUDA and ROCm know no PCI bus ids"]),
    ],
)
def test_what_a_process_runs_with_is_compared_with_the_file(says, runs, told):
    found = wrongs(as_started(seen(fleet(says), {"environment": runs}, gpus=[A, B])))
    assert len(found) == len(told)
    assert all(words in text for words, text in zip(told, found, strict=True))


def test_values_of_env_are_not_told():
    one = fleet({"env": {"HTTPS_PROXY": "http://me:secret@proxy"}})
    (text,) = wrongs(as_started(seen(one, {"environment": {"HTTPS_PROXY": "http://other:word@proxy"}})))
    assert text == "g0: its process has another HTTPS_PROXY than the file says"


def test_on_the_cpu_gpus_are_hidden():
    one = fleet({"vram": 0})
    assert not wrongs(as_started(seen(one, {"environment": {}})))
    assert wrongs(as_started(seen(one, {"environment": {}}, gpus=[A])))


def test_what_cannot_be_seen_is_said():
    assert notes(as_started(seen(fleet({})))) == ["what runs g0 cannot be seen, nor its settings"]
    (remark,) = as_started(seen(fleet({}), is_root=True))
    assert remark.text == "no Ollama process of this host is seen at the port of g0, so its settings are not known"
    assert "container" in remark.hint and "root" not in remark.hint
    far = fleet({"url": "http://no-such-host.invalid:1"})
    assert not list(as_started(seen(far)))


def loaded(context):
    return {"loaded": {MODEL: LoadedModel(1, 1, context)}}


def test_contexts_that_differ_are_told():
    two = fleet({}, {})
    assert notes(contexts(seen(two, loaded(4096), loaded(8192)))) == [
        "llama3:latest is loaded with different contexts: 4096 on g0, 8192 on g1"
    ]
    assert not list(contexts(seen(two, loaded(4096), loaded(4096))))
    assert not list(contexts(seen(two, loaded(4096), loaded(0))))


@pytest.mark.parametrize(
    ("says", "runs", "is_wrong"),
    [
        ({}, {"OLLAMA_NOPRUNE": "1"}, False),
        ({}, {"OLLAMA_NOPRUNE": "true"}, False),
        ({}, {}, True),
        ({}, {"OLLAMA_NOPRUNE": "false"}, True),
        ({}, None, False),
        ({"ollama": {"noprune": False}}, None, True),
        ({"store": "own"}, {}, False),
    ],
)
def test_a_shared_store_is_not_pruned(says, runs, is_wrong):
    two = fleet({}, says)
    found = wrongs(stores(seen(two, {"environment": {"OLLAMA_NOPRUNE": "1"}}, {"environment": runs})))
    assert found == (["g1 shares its store with g0, and starts without OLLAMA_NOPRUNE=1"] if is_wrong else [])
