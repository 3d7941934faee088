import pytest

from spoe_agent.routing.names import canonical
from spoe_agent.routing.nearest import nearest

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
