"""What changes a simulated store, and what others see of it."""

from __future__ import annotations

from hashlib import sha256

import pytest

from spoe_agent.simulator.catalog import Model
from spoe_agent.simulator.store import FolderCatalog
from tests.simulator.client import simulated

DATA = b"gguf"
DIGEST = f"sha256:{sha256(DATA).hexdigest()}"


async def listed(client):
    _, answer = await client.get("/api/tags")
    return {line["name"] for line in answer["models"]}


async def call(client, method, path, body):
    async with client.session.request(method, path, json=body) as response:
        return response.status, await response.text()


async def test_a_pull_tells_of_its_progress_and_ends_in_the_list():
    async with simulated(time_scale=2000.0) as client:
        kind, lines = await client.lines("/api/pull", {"model": "phi4-mini:3.8b"})
        assert kind == "application/x-ndjson"
        assert lines[0] == {"status": "pulling manifest"}
        assert lines[-1] == {"status": "success"}
        assert [line for line in lines if line.get("completed") == line.get("total") == 2_500_000_000]
        assert "phi4-mini:3.8b" in await listed(client)
        assert await client.post("/api/pull", {"name": "phi4-mini:3.8b", "stream": False}) == (
            200,
            {"status": "success"},
        )


async def test_a_full_disk_takes_nothing_new():
    async with simulated(time_scale=2000.0) as client:
        await client.fault("full_disk")
        _, lines = await client.lines("/api/pull", {"model": "phi4-mini:3.8b"})
        assert (lines[-2]["completed"], lines[-1]["error"][-23:]) == (1_250_000_000, "no space left on device")
        for path, body in (
            ("/api/copy", {"source": "a", "destination": "b2"}),
            ("/api/create", {"model": "b2", "from": "a", "stream": False}),
            (f"/api/blobs/{DIGEST}", {}),
        ):
            assert (await client.post(path, body))[0] == 500
        assert (await call(client, "DELETE", "/api/delete", {"model": "a"}))[0] == 200
        # What a pull got before is kept, as with Ollama.
        assert (await client.lines("/api/pull", {"model": "phi4-mini:3.8b"}))[1][1]["completed"] == 1_250_000_000


async def test_what_the_registry_lacks_is_an_error_in_the_stream():
    async with simulated() as client:
        _, lines = await client.lines("/api/pull", {"model": "nobody:1b"})
        assert lines[-1] == {"error": "pull model manifest: file does not exist"}
        assert (await client.post("/api/pull", {"model": "nobody:1b", "stream": False}))[0] == 500


@pytest.mark.parametrize(
    ("method", "path", "body", "answer"),
    [
        ("POST", "/api/copy", {"source": "a", "destination": "b2"}, (200, "")),
        ("POST", "/api/copy", {"source": "zzz", "destination": "b2"}, (404, '{"error":"model \\"zzz\\" not found"}')),
        ("DELETE", "/api/delete", {"model": "a"}, (200, "")),
        ("DELETE", "/api/delete", {"name": "zzz"}, (404, '{"error":"model \'zzz\' not found"}')),
        ("DELETE", "/api/delete", {"model": "a@b"}, (400, '{"error":"name \\"a@b\\" is invalid"}')),
        ("POST", "/api/push", {}, (400, '{"error":"model is required"}')),
        ("POST", "/api/create", {"model": "n"}, (400, "{\"error\":\"neither 'from' or 'files' was specified\"}\n")),
        ("POST", f"/api/blobs/{DIGEST[:-1]}", {}, (400, '{"error":"invalid digest format"}')),
    ],
)
async def test_answers(method, path, body, answer):
    async with simulated() as client:
        assert await call(client, method, path, body) == answer


async def test_copied_and_deleted():
    async with simulated() as client:
        before = await listed(client)
        await call(client, "POST", "/api/copy", {"source": "A", "destination": "copy"})
        await call(client, "DELETE", "/api/delete", {"model": "a"})
        assert await listed(client) == before - {"a:latest"} | {"copy:latest"}
        assert (await client.post("/api/generate", {"model": "copy"}))[0] == 200


async def test_created_from_an_upload_and_from_a_model():
    async with simulated(models={}) as client:
        async with client.session.head(f"/api/blobs/{DIGEST}") as answer:
            assert answer.status == 404
        missing = {"model": "mine", "files": {"m.gguf": DIGEST}, "stream": False}
        assert (await client.post("/api/create", missing))[0] == 500
        for status in (201, 200):
            async with client.session.post(f"/api/blobs/{DIGEST}", data=DATA) as answer:
                assert answer.status == status
        async with client.session.post(f"/api/blobs/sha256:{'0' * 64}", data=DATA) as answer:
            assert answer.status == 400
        assert (await client.post("/api/create", missing))[1] == {"status": "success"}
        assert (await client.lines("/api/create", {"model": "yours", "from": "mine"}))[1][-1] == {"status": "success"}
        assert await listed(client) == {"mine:latest", "yours:latest"}


def test_a_folder_is_shared(tmp_path):
    here = FolderCatalog(tmp_path / "store", [Model("a", 5)])
    there = FolderCatalog(tmp_path / "store", [Model("b", 5)])
    here.put(Model("hf.co/x/y:Q4", 7))
    here.put_blob(DIGEST, 4)
    assert {model.name for model in there.models} == {"a", "hf.co/x/y:Q4"}
    assert there.find("A:latest") == Model("a", 5)
    assert there.blob_bytes(DIGEST) == 4
    there.drop(Model("a", 5))
    assert here.find("a") is None
    assert here.blob_bytes("sha256:none") is None
