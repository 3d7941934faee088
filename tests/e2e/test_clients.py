"""Official clients work unchanged: the `ollama` and `openai` packages, and HTTP/2."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from spoe_agent.rig.stack import Stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
INSTALLED = ["alpha:latest", "beta:7b", "embed:latest", "gamma:latest"]


async def use(script: str, *arguments: str) -> dict[str, Any]:
    """Run a client's script in the clients' environment and return what it printed."""
    assert PYTHON.exists(), f"{PYTHON} is missing: run `make test`, which sets the clients' environment up"
    child = await asyncio.create_subprocess_exec(
        PYTHON, CLIENTS / script, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(child.communicate(), 90)
    assert child.returncode == 0, err.decode()
    answer: dict[str, Any] = json.loads(out)
    return answer


async def test_ollama(stack: Stack) -> None:
    got = await use("use_ollama.py", stack.url)
    assert got["chat"] and got["generate"] and got["done"]
    assert got["chunks"] == 9  # eight tokens, and the line that ends the stream
    assert got["embeddings"] == 2
    assert got["models"] == INSTALLED
    assert got["missing"] == [404, "model 'nobody-has-this' not found"]


async def test_openai(stack: Stack) -> None:
    got = await use("use_openai.py", stack.url)
    assert got["chat"] and got["streamed"]
    assert got["big"].startswith("gpu2 ")  # where the fleet file pins gamma
    assert got["embeddings"] == 2
    assert got["models"] == INSTALLED
    status, body = got["missing"]
    assert status == 404
    assert body == {
        "message": "model 'nobody-has-this' not found",
        "type": "not_found_error",
        "param": None,
        "code": None,
    }


async def test_http2(stack: Stack) -> None:
    got = await use("use_http2.py", stack.url, "1000000")
    assert got["version"] == "HTTP/2"
    assert got["status"] == 200
    assert got["to"].startswith("gpu2 ")
