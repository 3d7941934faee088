"""What agent_throughput's figures stand on: bodies that are what they are called, and an upstream that takes them."""

from __future__ import annotations

import asyncio
import io
import json
import sys

import aiohttp
import pytest

from bench.throughput_load import MIXED, MIXTURE, PLACES, SIZES, Load
from bench.throughput_rig import without_stdout
from bench.throughput_upstream import LINES, MODES, STREAMED
from spoe_agent.fleet import loads
from spoe_agent.haproxy.render import haproxy_files
from spoe_agent.requests.body import read_model
from spoe_agent.rig.process import Process, RigError, accepts, free_port
from tests.requests.reference import ollamas_model


@pytest.mark.parametrize("place", PLACES)
def test_mixed_bodies_are_of_all_sizes(tmp_path, place):
    made = [path.read_bytes() for path in Load(MIXED, place, 1).bodies(tmp_path)]
    for body, size in zip(made, MIXTURE, strict=True):
        assert len(body) == pytest.approx(SIZES[size], rel=0.35, abs=200)
        assert list(json.loads(body))[0 if place == "first" else -1] == "model"


def test_no_arm_prints_a_line_for_each_request():
    config = haproxy_files(loads('instances: [{name: gpu0, url: "http://h:1"}]'))["haproxy.cfg"]
    quiet = without_stdout(config)
    assert "log stdout" not in quiet
    assert "format raw local0 info\n" in quiet  # the agent's own
    with pytest.raises(RigError, match="no line `log stdout`"):
        without_stdout(quiet)


@pytest.mark.parametrize("size", ["small", "10KB", "100KB"])
def test_the_agent_reads_what_a_reference_decoder_reads(tmp_path, size):
    bodies = [path.read_bytes() for place in PLACES for path in Load(size, place, 1).bodies(tmp_path)[:3]]
    assert [read_model(body) for body in bodies] == [ollamas_model(body) for body in bodies] == ["alpha"] * 6


@pytest.mark.parametrize("mode", MODES)
async def test_the_upstream_takes_bodies_and_answers(tmp_path, mode):
    port = free_port()
    command = [sys.executable, "-m", "bench.throughput_upstream", mode, str(port)]
    async with Process("upstream", command, tmp_path) as upstream, aiohttp.ClientSession() as session:
        await upstream.ready(lambda: accepts("127.0.0.1", port))
        for size in (0, 1, 3_000_000):
            async with session.post(f"http://127.0.0.1:{port}/api/chat", data=io.BytesIO(b"x" * size)) as answer:
                lines = [json.loads(line) async for line in answer.content]
                assert len(lines) == (LINES if mode == STREAMED else 1)
                assert lines[-1]["done"]
        async with session.get(f"http://127.0.0.1:{port}/api/tags") as answer:
            assert (await answer.json())["models"][0]["model"] == "alpha:latest"


async def test_the_upstream_outlives_who_leaves_amid_a_stream(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "bench.throughput_upstream", STREAMED, str(port)]
    async with Process("upstream", command, tmp_path) as upstream:
        await upstream.ready(lambda: accepts("127.0.0.1", port))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /api/chat HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        assert await accepts("127.0.0.1", port)
