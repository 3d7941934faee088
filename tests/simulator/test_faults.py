"""Each fault, switched on and off while the server runs."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from spoe_agent.gpus.wire import decode
from spoe_agent.simulator.admin import gpu_uuid
from tests.simulator.client import DEADLINE_S, simulated

ASK = {"model": "a", "prompt": "x", "stream": False}


async def test_hang_holds_one_model_until_it_is_lifted():
    async with simulated() as client:
        await client.fault("hang_before_first_byte", model="a")
        hanging = asyncio.ensure_future(client.post("/api/generate", ASK))
        status, _ = await client.post("/api/generate", ASK | {"model": "b"})
        assert (status, hanging.done()) == (200, False)
        await client.fault("slow_load")  # another fault wakes it, but it still hangs
        status, _ = await client.post("/api/generate", ASK | {"model": "b"})
        assert (status, hanging.done()) == (200, False)
        await client.fault("hang_before_first_byte", active=False)
        status, _ = await asyncio.wait_for(hanging, DEADLINE_S)
        assert status == 200


async def test_wedged_loader_serves_what_is_loaded():
    async with simulated() as client:
        await client.post("/api/generate", {"model": "a"})
        await client.fault("wedged_loader")
        waiting = asyncio.ensure_future(client.post("/api/generate", {"model": "b"}))
        await client.until(in_flight=1)
        assert (await client.post("/api/generate", ASK))[0] == 200
        assert not waiting.done()
        await client.fault("none")
        assert (await asyncio.wait_for(waiting, DEADLINE_S))[0] == 200


async def test_slow_ps():
    async with simulated() as client:
        await client.fault("slow_ps", seconds=DEADLINE_S * 10, count=1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.get("/api/ps"), 0.1)
        assert await client.get("/api/ps") == (200, {"models": []})


@pytest.mark.parametrize("after_tokens", [1, 5])
async def test_cut_stream(after_tokens):
    async with simulated() as client:
        await client.fault("cut_stream", after_tokens=after_tokens, count=1)
        async with client.session.post("/api/generate", json={"model": "a", "prompt": "x"}) as response:
            lines = [await response.content.readline() for _ in range(after_tokens)]
            assert all(b'"done":false' in line for line in lines)
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        assert (await client.post("/api/generate", ASK))[0] == 200
        await client.until(cancelled=1, in_flight=0)


async def test_wrong_status_so_many_times():
    async with simulated() as client:
        await client.fault("wrong_status", status=502, text="oh", count=2)
        got = [await client.post("/api/generate", ASK) for _ in range(3)]
    assert got[:2] == [(502, {"error": "oh"})] * 2
    assert got[2][0] == 200


async def test_spill():
    async with simulated() as client:
        await client.fault("spill", fraction=0.5)
        await client.post("/api/generate", {"model": "a"})
        _, ps = await client.get("/api/ps")
    assert (ps["models"][0]["size"], ps["models"][0]["size_vram"]) == (10_100_000_000, 5_050_000_000)


@pytest.mark.parametrize(
    ("path", "end"), [("/api/chat", b'"done":false}\n'), ("/v1/chat/completions", b'"finish_reason":null}]}\n\n')]
)
async def test_a_stream_ends_well_without_its_last_chunk(path, end):
    async with simulated() as client:
        await client.fault("end_stream", after_tokens=2, count=1)
        body = {"model": "a", "messages": [{"role": "user", "content": "hello"}], "stream": True}
        async with client.session.post(path, json=body) as response:
            text = await response.read()
        async with client.session.post(path, json=body) as response:
            whole = await response.read()
    assert (response.status, text.count(b"content"), text[-len(end) :]) == (200, 2, end)
    assert len(whole) > len(text)
    assert b"[DONE]" in whole or b'"done":true' in whole


async def test_stolen_memory_and_slow_loads():
    async with simulated() as client:
        await client.fault("steal_vram", bytes="20GB")
        await client.fault("slow_load", factor=2.0)
        await client.post("/api/generate", {"model": "a"})
        stats = await client.until(loads={"a": 1})
    assert stats["faults"] == ["slow_load", "steal_vram"]
    assert stats["load_seconds"] == pytest.approx(4.0)
    assert stats["free_vram_bytes"] == 0


async def test_the_gpu_tells_who_holds_its_memory():
    async with simulated() as client:

        async def used_bytes():
            async with client.session.get("/sim/gpus") as response:
                (gpu,) = decode(await response.read(), 50.0).gpus
            assert (gpu.uuid, gpu.read_at_s) == (gpu_uuid(client.port), 50.0)
            assert gpu.memory_used_bytes + gpu.memory_free_bytes == gpu.memory_total_bytes
            return gpu.memory_used_bytes

        assert await used_bytes() == 0
        await client.post("/api/generate", {"model": "a"})
        own_bytes = await used_bytes()
        assert own_bytes > 0
        await client.fault("steal_vram", bytes=1 << 30)
        assert await used_bytes() == own_bytes + (1 << 30)


@pytest.mark.parametrize("body", ['{"kind":"flood"}', '{"kind":"spill","fraction":2}', "no"])
async def test_nonsense_is_refused(body):
    async with simulated() as client, client.session.post("/sim/fault", data=body) as response:
        assert response.status == 400
