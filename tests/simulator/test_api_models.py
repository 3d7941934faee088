"""What an instance tells of its models."""

from __future__ import annotations

from datetime import datetime

from tests.simulator.client import simulated
from tests.simulator.scenario import MODELS


async def test_tags():
    async with simulated() as client:
        _, answer = await client.get("/api/tags")
    assert [line["name"] for line in answer["models"]] == [f"{name}:latest" for name in MODELS]
    line = answer["models"][0]
    assert (line["model"], line["size"], line["digest"]) == ("a:latest", 10_000_000_000, MODELS["a"].digest)
    assert line["details"]["format"] == "gguf"


async def test_show_tells_the_blob():
    async with simulated() as client:
        _, model = await client.post("/api/show", {"model": "a"})
        _, alias = await client.post("/api/show", {"name": "alias-of-a"})
        missing = await client.post("/api/show", {"model": "zzz"})
        nameless = await client.post("/api/show", {})
    assert "FROM /root/.ollama/models/blobs/sha256-a\n" in model["modelfile"]
    assert model["modelfile"] == alias["modelfile"]
    assert model["capabilities"] == ["completion", "tools"]
    assert missing == (404, {"error": "model 'zzz:latest' not found"})
    assert nameless == (400, {"error": "model is required"})


async def test_ps():
    async with simulated() as client:
        await client.post("/api/generate", {"model": "a"})
        _, answer = await client.get("/api/ps")
    (line,) = answer["models"]
    assert datetime.fromisoformat(line.pop("expires_at")).tzinfo is not None
    details = line.pop("details")
    assert details["family"] == "llama"
    assert line == {
        "name": "a:latest",
        "model": "a:latest",
        "size": 10_100_000_000,
        "digest": MODELS["a"].digest,
        "size_vram": 10_100_000_000,
        "context_length": 4096,
    }


async def test_v1_models():
    async with simulated() as client:
        _, listed = await client.get("/v1/models")
        _, one = await client.get("/v1/models/A")
        status, missing = await client.get("/v1/models/zzz")
    assert {"id": "a:latest", "object": "model", "owned_by": "library"}.items() <= listed["data"][0].items()
    assert one["id"] == "A"
    assert (status, missing["error"]["type"]) == (404, "not_found_error")


async def test_v1_models_of_an_empty_store_is_null():
    async with simulated(models={}) as client:
        assert (await client.get("/v1/models"))[1] == {"object": "list", "data": None}


async def test_version():
    async with simulated() as client:
        assert await client.get("/api/version") == (200, {"version": "0.33.0"})
