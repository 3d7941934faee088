from difflib import SequenceMatcher, get_close_matches

import pytest

from spoe_agent.routing.names import canonical
from spoe_agent.routing.nearest import COMPARED, MOST, nearest

INSTALLED = [
    "llama3.1:8b",
    "llama3.1:70b",
    "llama3.2",
    "qwen3:8b",
    "mistral",
    "mannix/gemma3:4b",
    "embed",
    "hf.co/a/b:Q4",
]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("lama3.1:8b", ["llama3.1:8b", "llama3.1:70b", "llama3.2:latest"]),
        ("llama3.1", ["llama3.1:70b", "llama3.1:8b", "llama3.2:latest"]),
        ("qwen3", ["qwen3:8b"]),
        ("Mistrall:LATEST", ["mistral:latest"]),
        ("gemma3", ["mannix/gemma3:4b"]),
        ("qwen3:30b-cloud", ["qwen3:8b"]),
        ("nobody", []),
        ("x", []),
        ("l" * 80, []),
    ],
)
def test_close_names_are_found_and_others_are_not(asked, expected):
    assert nearest(canonical(asked), map(canonical, INSTALLED)) == expected


def test_without_models_there_is_nothing_close():
    assert nearest(canonical("llama3"), []) == []


@pytest.mark.parametrize("asked", ["llama-ft-14x9", "lllama-ft-1499", "llama-ft1499", "llama-tf-1499"])
def test_of_very_many_that_are_alike_the_closest_are_found(asked):
    """Most of them are not even compared: that takes a tenth of a second for some thousands."""
    names = [f"llama-ft-{number:04d}" for number in range(2000)]
    assert len(names) > 10 * COMPARED
    (best,) = get_close_matches(asked, names, 1)
    found = [one.removesuffix(":latest") for one in nearest(canonical(asked), map(canonical, names))]
    assert len(found) == MOST
    assert SequenceMatcher(None, found[0], asked).ratio() == SequenceMatcher(None, best, asked).ratio()
