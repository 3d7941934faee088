"""What is taken of an instance's memory, once for all who show it."""

import pytest

from spoe_agent.admin.residents import used_bytes

A, B = {"model": "a", "vram_bytes": 5, "size_bytes": 9}, {"model": "b", "size_bytes": 7}


@pytest.mark.parametrize(
    ("loaded", "loads", "foreign", "expected"),
    [
        ([], [], 0, 0),
        ([A], [], 0, 5),
        ([A], [B], 3, 15),
        ([A], [{"model": "a", "size_bytes": 8}], 0, 5),
    ],
    ids=["empty", "what is on the CPU takes none", "loads and others", "loaded anew with another context"],
)
def test_memory_in_use(loaded, loads, foreign, expected):
    assert used_bytes(loaded, loads, foreign) == expected
