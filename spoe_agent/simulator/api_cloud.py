"""What Ollama asks ollama.com for, with the cloud switched off (OLLAMA_NO_CLOUD) and nobody signed in."""

from __future__ import annotations

from aiohttp import web

from spoe_agent.simulator.errors import BadBody, CloudDisabled, OllamaError
from spoe_agent.simulator.serving import json_answer

_RECOMMENDED = {
    "model": "gpt-oss:120b-cloud",
    "description": "Reasoning and agentic tasks",
    "context_length": 131_072,
    "max_output_tokens": 131_072,
}


async def status(request: web.Request) -> web.Response:
    """GET /api/status."""
    return json_answer({"cloud": {"disabled": True, "source": "env"}})


async def me(request: web.Request) -> web.Response:
    """POST /api/me: without the cloud nobody can tell."""
    raise OllamaError(503, "account unavailable")


async def signout(request: web.Request) -> web.Response:
    """POST /api/signout, and the older DELETE /api/user/keys/{key}."""
    raise OllamaError(500, "there was an error signing out")


async def web_search(request: web.Request) -> web.Response:
    """POST /api/experimental/web_search."""
    return await _refuse(request, "web search is unavailable")


async def web_fetch(request: web.Request) -> web.Response:
    """POST /api/experimental/web_fetch."""
    return await _refuse(request, "web fetch is unavailable")


async def recommendations(request: web.Request) -> web.Response:
    """GET /api/experimental/model-recommendations."""
    return json_answer({"recommendations": [_RECOMMENDED]})


async def _refuse(request: web.Request, what: str) -> web.Response:
    if not (await request.read()).strip():
        raise BadBody("missing request body")
    raise CloudDisabled(what)
