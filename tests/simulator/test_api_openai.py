"""OpenAI's shapes: chunks, [DONE], usage, embeddings, errors."""

from __future__ import annotations

import base64
import json
import struct

import pytest
import zstandard

from tests.simulator.client import simulated

HELLO = [{"role": "user", "content": "hello"}]
CHAT = {"model": "a", "messages": HELLO, "max_tokens": 2}


async def test_chat_stream():
    async with simulated() as client:
        body = CHAT | {"stream": True, "stream_options": {"include_usage": True}}
        content_type, events = await client.events("/v1/chat/completions", body)
    *chunks, last, usage, done = [data for _, data in events]
    assert content_type == "text/event-stream"
    assert done == "[DONE]"
    assert len(chunks) == 2
    assert all(chunk["object"] == "chat.completion.chunk" and chunk["model"] == "a" for chunk in chunks)
    assert all(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert last["choices"][0]["finish_reason"] == "length"
    assert (usage["choices"], usage["usage"]) == (
        [],
        {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    )
    assert len({chunk["id"] for chunk in [*chunks, last, usage]}) == 1


async def test_without_include_usage_there_is_no_usage():
    async with simulated() as client:
        _, events = await client.events("/v1/chat/completions", CHAT | {"stream": True})
    assert all("usage" not in data for _, data in events[:-1])


async def test_chat_whole_is_the_default():
    async with simulated() as client:
        _, answer = await client.post("/v1/chat/completions", CHAT)
    assert set(answer) == {"object", "id", "created", "model", "system_fingerprint", "choices", "usage"}
    assert answer["object"] == "chat.completion"
    assert len(answer["choices"][0]["message"]["content"].split()) == 2


async def test_completions():
    async with simulated() as client:
        body = {"model": "a", "prompt": "x", "max_tokens": 2}
        _, answer = await client.post("/v1/completions", body)
        _, events = await client.events("/v1/completions", body | {"stream": True})
    assert answer["object"] == "text_completion"
    assert len(answer["choices"][0]["text"].split()) == 2
    assert [data["choices"][0]["finish_reason"] for _, data in events[:-1]] == [None, None, "length"]


async def test_embeddings_as_numbers_and_as_base64():
    async with simulated() as client:
        body = {"model": "embed", "input": ["one", "two"], "dimensions": 4}
        _, numbers = await client.post("/v1/embeddings", body)
        _, packed = await client.post("/v1/embeddings", body | {"encoding_format": "base64"})
    assert [item["index"] for item in numbers["data"]] == [0, 1]
    assert numbers["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
    unpacked = struct.unpack("<4f", base64.b64decode(packed["data"][1]["embedding"]))
    assert unpacked == pytest.approx(numbers["data"][1]["embedding"])


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "text"),
    [
        ("/v1/chat/completions", {"model": "zzz", "messages": HELLO}, 404, "not_found_error", "model 'zzz' not found"),
        ("/v1/chat/completions", {"model": "a"}, 400, "invalid_request_error", "[] is too short - 'messages'"),
        ("/v1/chat/completions", {"messages": HELLO}, 400, "invalid_request_error", "model is required"),
        ("/v1/embeddings", {"model": "embed"}, 400, "invalid_request_error", "invalid input"),
        (
            "/v1/chat/completions",
            {"model": "embed", "messages": HELLO},
            400,
            "invalid_request_error",
            '"embed" does not support chat',
        ),
        (
            "/v1/completions",
            {"model": "embed", "prompt": "x"},
            400,
            "invalid_request_error",
            '"embed" does not support generate',
        ),
        (
            "/v1/responses",
            {"model": "embed", "input": "x"},
            400,
            "invalid_request_error",
            '"embed" does not support chat',
        ),
        ("/v1/responses", {"input": "x"}, 400, "invalid_request_error", "model is required"),
    ],
)
async def test_errors(path, body, status, kind, text):
    async with simulated() as client:
        error = {"message": text, "type": kind, "param": None, "code": None}
        assert await client.post(path, body) == (status, {"error": error})


async def test_zstd_bodies_on_v1_only():
    packed = zstandard.ZstdCompressor().compress(json.dumps(CHAT).encode())
    headers = {"Content-Encoding": "zstd"}
    async with simulated() as client:
        async with client.session.post("/v1/chat/completions", data=packed, headers=headers) as response:
            assert response.status == 200
        async with client.session.post("/v1/chat/completions", data=b"no", headers=headers) as response:
            assert response.status == 400
