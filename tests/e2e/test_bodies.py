"""Large bodies, read by HAProxy and the agent together: `model` is found wherever it stands, and nobody falls back."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import MODELS, SETTINGS, routed, stack_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1 << 20
INSPECTED = 32 * MIB


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def large(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Three instances behind a front end that reads bodies of up to 32 MiB."""
    simulated = Simulated(instances=3, models=MODELS, time_scale=20.0)
    settings = {**SETTINGS, "policies": {"max_inspected_body": INSPECTED}}
    async with stack_of(binary, tmp_path_factory.mktemp("large"), simulated, settings) as running:
        yield running


def model_last(mebibytes: int) -> bytes:
    """Return a body of a bit less than so many MiB, most of it an image, that names the model behind all else."""
    messages = [{"role": "user", "content": "hi", "images": ["A" * (mebibytes * MIB - 500)]}]
    return json.dumps({"messages": messages, "stream": False, "model": "gamma"}).encode()


@pytest.mark.parametrize("mebibytes", [5, 24])
async def test_model_last(large: Stack, session: aiohttp.ClientSession, mebibytes: int) -> None:
    body = model_last(mebibytes)
    headers = {"Content-Type": "application/json"}
    async with session.post(f"{large.url}/api/chat", data=io.BytesIO(body), headers=headers) as answer:
        assert (answer.status, routed(answer)[0]) == (200, "gpu2"), await answer.text()
