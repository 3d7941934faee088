"""Open WebUI in a browser, before the front: its list of models, a chat, a pull.

Runs where $OPEN_WEBUI names its program (`pip install open-webui` in an environment of its own, 7 GB), with Chromium
($CHROMIUM) and what `make clients` installs.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import aiohttp
import pytest

from spoe_agent.rig.process import Process, free_port
from spoe_agent.rig.stack import Simulated
from tests.e2e.conftest import stack_of, until
from tests.e2e.test_clients import FRAMEWORKS, MODELS, use

OPEN_WEBUI = os.environ.get("OPEN_WEBUI")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
START_S = 300.0
"""It sets up its database first."""

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(not OPEN_WEBUI or not CHROMIUM, reason="$OPEN_WEBUI names no program, or Chromium is not there"),
]
SETTINGS = {
    "WEBUI_AUTH": "False",
    "WEBUI_SECRET_KEY": "secret",
    "ENABLE_OPENAI_API": "False",
    "RAG_EMBEDDING_ENGINE": "ollama",
}
OFFLINE = {"OFFLINE_MODE": "True", "HF_HUB_OFFLINE": "1", "ENABLE_VERSION_UPDATE_CHECK": "False"}


async def test_a_person_picks_a_model_chats_and_pulls_one(
    binary: str, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    async def answers() -> bool:
        try:
            async with session.get(url) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async with stack_of(binary, tmp_path, Simulated(instances=2, stores=[("shared", MODELS)] * 2)) as stack:
        given = {**SETTINGS, **OFFLINE, "OLLAMA_BASE_URLS": stack.url, "DATA_DIR": str(tmp_path), "HOME": str(tmp_path)}
        environment = [f"{name}={value}" for name, value in given.items()]
        command = ["env", *environment, str(OPEN_WEBUI), "serve", "--host", "127.0.0.1", "--port", str(port)]
        async with Process("open-webui", command, tmp_path):
            await until(answers, START_S, "Open WebUI answers")
            seen = await use("use_open_webui.py", url, str(CHROMIUM), str(tmp_path), program=FRAMEWORKS)
    assert seen["pick list"] == ["alpha:latest", "beta:7b", "embed:latest"]
    assert isinstance(seen["chat"], str) and len(seen["chat"].split()) > 10, seen["chat"]
    assert seen["pull"] == "Model 'mistral:7b' has been successfully downloaded."
    assert seen["pick list with what came"] is True
