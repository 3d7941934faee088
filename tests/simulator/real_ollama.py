"""A real Ollama of one's own: the binary that OLLAMA_BIN names, with tiny models, on a free loopback port."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp

from tests.simulator.tiny_gguf import add_model

BINARY = os.environ.get("OLLAMA_BIN")
NEEDED = "needs a real Ollama: let OLLAMA_BIN name its binary (with llama-server where it looks for it)"
START_S = 60.0


@asynccontextmanager
async def real_ollama(folder: Path, **settings: str) -> AsyncIterator[str]:
    """Start one, with a home and a store in ``folder``, and yield its URL; stopped afterwards, with its runners."""
    assert BINARY is not None
    add_model(folder / "models", "small", template="{{ .Prompt }}")
    add_model(folder / "models", "second", template="{{ .Prompt }}", seed="small")
    add_model(folder / "models", "embed", template="", embedding=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OLLAMA_")}
    environment |= {"OLLAMA_HOST": address, "OLLAMA_MODELS": str(folder / "models"), "HOME": str(folder)}
    environment |= {"OLLAMA_NO_CLOUD": "1", "OLLAMA_CONTEXT_LENGTH": "4096"} | settings
    with (folder / "ollama.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            BINARY, "serve", env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            await _until_it_answers(process, f"http://{address}", folder / "ollama.log")
            yield f"http://{address}"
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def _until_it_answers(process: asyncio.subprocess.Process, url: str, log: Path) -> None:
    async with asyncio.timeout(START_S), aiohttp.ClientSession() as session:
        while process.returncode is None:
            with suppress(aiohttp.ClientError):
                async with session.get(url):
                    return
            await asyncio.sleep(0.05)
    raise AssertionError(f"{BINARY} serve ended at once:\n{log.read_text()[-2000:]}")
