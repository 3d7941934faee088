"""Ollama's own inference API: shapes, errors, preload and unload."""

from __future__ import annotations

import pytest

from tests.simulator.client import simulated

HELLO = [{"role": "user", "content": "hello"}]
METRICS = {
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
}


async def test_generate_stream():
    async with simulated() as client:
        body = {"model": "A:latest", "prompt": "x" * 40, "options": {"num_predict": 3}}
        content_type, lines = await client.lines("/api/generate", body)
    assert content_type == "application/x-ndjson"
    assert [line["done"] for line in lines] == [False, False, False, True]
    assert all(line["model"] == "A:latest" and line["created_at"].endswith("Z") for line in lines)
    assert all(line["response"].endswith(" ") for line in lines[:-1])
    last = lines[-1]
    assert METRICS | {"context"} == set(last) - {"model", "created_at", "response", "done", "done_reason"}
    assert (last["response"], last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == (
        "",
        "length",
        10,
        3,
    )
    # 2 s of load, 200 times as fast.
    assert last["load_duration"] == pytest.approx(10_000_000, abs=1000)
    assert last["load_duration"] < last["total_duration"]


async def test_chat_stream_and_whole():
    async with simulated() as client:
        body = {"model": "a", "messages": HELLO}
        _, lines = await client.lines("/api/chat", body)
        _, whole = await client.post("/api/chat", body | {"stream": False})
    assert set(lines[0]) == {"model", "created_at", "message", "done"}
    assert lines[0]["message"]["role"] == "assistant"
    assert lines[-1]["done_reason"] == whole["done_reason"] == "stop"
    # The same request gets the same answer.
    assert "".join(line["message"]["content"] for line in lines) == whole["message"]["content"]
    assert len(lines) - 1 == lines[-1]["eval_count"] == whole["eval_count"]
    assert len(whole["message"]["content"].split()) == whole["eval_count"]


async def test_embed():
    async with simulated() as client:
        status, many = await client.post("/api/embed", {"model": "embed", "input": ["one", "two"], "dimensions": 3})
        _, one = await client.post("/api/embed", {"model": "embed", "input": "one"})
        _, old = await client.post("/api/embeddings", {"model": "embed", "prompt": "one"})
    assert status == 200
    assert set(many) == {"model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"}
    assert [len(vector) for vector in many["embeddings"]] == [3, 3]
    assert many["embeddings"][0] != many["embeddings"][1]
    assert len(one["embeddings"][0]) == 4096
    assert old == {"embedding": one["embeddings"][0]}


@pytest.mark.parametrize(
    ("path", "empty"),
    [
        ("/api/generate", {}),
        ("/api/generate", {"prompt": "", "stream": True}),
        ("/api/chat", {}),
        ("/api/chat", {"messages": []}),
    ],
)
async def test_empty_prompt_loads_and_unloads(path, empty):
    async with simulated() as client:
        status, loaded = await client.post(path, {"model": "a"} | empty)
        assert (status, loaded["done"], loaded["done_reason"]) == (200, True, "load")
        assert "total_duration" not in loaded
        await client.until(loads={"a": 1})
        _, unloaded = await client.post(path, {"model": "a", "keep_alive": 0} | empty)
        assert unloaded["done_reason"] == "unload"
        assert await client.get("/api/ps") == (200, {"models": []})


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings"])
async def test_empty_input_loads(path):
    async with simulated() as client:
        status, _ = await client.post(path, {"model": "embed"})
        stats = await client.until(loads={"embed": 1})
        assert (status, stats["in_flight"]) == (200, 0)


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/api/chat", {"messages": HELLO}, 400, "model is required"),
        ("/api/generate", {"prompt": "x"}, 404, "model '' not found"),
        ("/api/embed", {"input": "x"}, 404, "model '' not found"),
        ("/api/embeddings", {"prompt": "x"}, 400, "model is required"),
        ("/api/chat", {"model": "zzz"}, 404, "model 'zzz' not found"),
        ("/api/generate", {"model": "zzz"}, 404, "model 'zzz' not found"),
        ("/api/embed", {"model": "zzz"}, 404, 'model "zzz" not found, try pulling it first'),
        ("/api/embeddings", {"model": "zzz"}, 404, 'model "zzz" not found, try pulling it first'),
        ("/api/chat", {"model": "a@b"}, 400, "invalid model name"),
        ("/api/chat", {"model": "embed", "messages": HELLO}, 400, '"embed" does not support chat'),
        ("/api/generate", {"model": "embed", "prompt": "x"}, 400, '"embed" does not support generate'),
        ("/api/embed", {"model": "embed", "input": [1]}, 400, "invalid input type"),
    ],
)
async def test_errors(path, body, status, text):
    async with simulated() as client:
        assert await client.post(path, body) == (status, {"error": text})


async def test_num_ctx_and_keep_alive_reach_the_scheduler():
    async with simulated() as client:
        body = {"model": "a", "prompt": "x", "stream": False, "options": {"num_ctx": 2048}, "keep_alive": -1}
        await client.post("/api/generate", body)
        _, ps = await client.get("/api/ps")
    assert ps["models"][0]["context_length"] == 2048
    assert ps["models"][0]["expires_at"] > "2300"
