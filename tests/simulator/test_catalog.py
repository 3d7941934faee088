"""The model store: look-up, memory, the built-in models."""

from __future__ import annotations

from dataclasses import replace

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


@pytest.mark.parametrize(
    ("name", "file_gb", "vram_gb"),
    [
        ("llama3.2:1b", 1.17, 1.77),
        ("llama3.2:3b", 3.21, 5.13),
        ("llama3.2:3b", 6.03, 7.86),
        ("llama3.1:8b", 4.08, 6.38),
        ("llama3.1:8b", 7.70, 9.94),
        ("llama3.1:8b", 14.5, 16.6),
    ],
)
def test_memory_with_four_slots_is_what_real_ones_took(name, file_gb, vram_gb):
    model = replace(Catalog(DEFAULT_MODELS).find(name), size_bytes=int(file_gb * 1e9))
    assert model.memory_bytes(num_ctx=4096, slots=4) / 1e9 == pytest.approx(vram_gb, rel=0.03)


def test_slots():
    assert Model("x", 1).slots(4) == 4
    assert Model("x", 1, embedding_only=True).slots(4) == 1
    assert Model("x", 1, single_slot=True).slots(4) == 1


def test_blobs_and_digests_differ_between_models():
    assert len({model.blob for model in DEFAULT_MODELS}) == len(DEFAULT_MODELS)
    assert len({model.digest for model in DEFAULT_MODELS} | {model.blob for model in DEFAULT_MODELS}) == 26
