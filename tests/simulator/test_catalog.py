"""The model store: look-up, memory, the built-in models."""

from __future__ import annotations

import pytest

from spoe_agent.simulator.catalog import DEFAULT_MODELS, Catalog, Model


@pytest.mark.parametrize("name", ["llama3.1:8b", "LLAMA3.1:8B", "library/llama3.1:8b", " llama3.1:8b "])
def test_find_as_ollama_does(name):
    model = Catalog(DEFAULT_MODELS).find(name)
    assert model is not None
    assert model.name == "llama3.1:8b"


def test_find_nothing_and_nonsense():
    catalog = Catalog(DEFAULT_MODELS)
    assert catalog.find("llama3.1") is None  # means :latest
    with pytest.raises(ValueError, match="invalid"):
        catalog.find("a@b")


def test_memory_of_an_8b_model_with_four_slots():
    model = Catalog(DEFAULT_MODELS).find("llama3.1:8b")
    assert model.memory_bytes(num_ctx=4096, slots=4) == pytest.approx(7.6e9, rel=0.02)


def test_slots():
    assert Model("x", 1).slots(4) == 4
    assert Model("x", 1, embedding_only=True).slots(4) == 1
    assert Model("x", 1, single_slot=True).slots(4) == 1


def test_blobs_and_digests_differ_between_models():
    assert len({model.blob for model in DEFAULT_MODELS}) == len(DEFAULT_MODELS)
    assert len({model.digest for model in DEFAULT_MODELS} | {model.blob for model in DEFAULT_MODELS}) == 26
