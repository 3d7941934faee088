from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.policies.arrivals import Arrival, TraceError, read_trace

SERVEGEN = "timestamp_s,model_rank,servegen_client,input_tokens,output_tokens\n5.5,M02,7,30,40\n4.5,M01,3,10,20\n"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.6805900,1,2\n"


def block(at_ms: int, prompt: int, *hash_ids: int) -> str:
    return json.dumps({"timestamp": at_ms, "input_length": prompt, "output_length": 5, "hash_ids": hash_ids}) + "\n"


MOONCAKE = (
    block(1000, 1536, 1, 2, 3)
    + block(2000, 1536, 1, 7, 8)  # only the system prompt in common: another conversation
    + block(3000, 2048, 1, 2, 3, 4)
    + block(4000, 2560, 1, 7, 8, 9, 10)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(SERVEGEN, [Arrival(0.0, "M01", 10, 20), Arrival(1.0, "M02", 30, 40)], id="servegen, out of order"),
        pytest.param(AZURE, [Arrival(0.0, None, 374, 44), Arrival(4.0, None, 1, 2)], id="azure"),
        pytest.param(
            MOONCAKE,
            [
                Arrival(0.0, None, 1536, 5, "s0", 1536),
                Arrival(1.0, None, 1536, 5, "s1", 1536),
                Arrival(2.0, None, 2048, 5, "s0", 512),
                Arrival(3.0, None, 2560, 5, "s1", 1024),
            ],
            id="mooncake: conversations by their blocks",
        ),
    ],
)
def test_each_format_is_read(tmp_path: Path, text: str, expected: list[Arrival]) -> None:
    trace = tmp_path / "trace"
    trace.write_text(text)

    assert read_trace(trace) == expected


@pytest.mark.parametrize(
    ("text", "word"),
    [
        pytest.param("a,b\n1,2\n", "neither", id="another CSV"),
        pytest.param("", "neither", id="empty"),
        pytest.param(SERVEGEN + "x,M01,1,2,3\n", "line", id="no number"),
        pytest.param("timestamp_s,rank\n1,2\n", "model_rank", id="column missing"),
        pytest.param('{"timestamp": 1}\n', "hash_ids", id="key missing"),
        pytest.param("{\n", "line", id="no JSON"),
        pytest.param(block(1, 5, 1).replace("[1]", "7"), "hash_ids", id="no list"),
    ],
)
def test_what_is_no_trace_is_told(tmp_path: Path, text: str, word: str) -> None:
    trace = tmp_path / "trace"
    trace.write_text(text)

    with pytest.raises(TraceError, match=word):
        read_trace(trace)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"cannot read .*nothing"):
        read_trace(tmp_path / "nothing")
