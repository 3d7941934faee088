"""What an instance says of itself and its models: /, version, tags, show, ps, and OpenAI's /v1/models.

Here: shapes (api/types.go:737-844).
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from spoe_agent.routing import names
from spoe_agent.simulator import asks
from spoe_agent.simulator.catalog import Model
from spoe_agent.simulator.errors import OllamaError
from spoe_agent.simulator.serving import json_answer, read_fields
from spoe_agent.simulator.state import instance_of
from spoe_agent.simulator.work import LoadedModel

VERSION = "0.33.0"
_MODIFIED_AT = "2026-08-21T12:00:00Z"
_CREATED = 1_787_313_600  # the same moment


async def root(request: web.Request) -> web.Response:
    """GET /: proves only that the HTTP server lives."""
    return web.Response(text="Ollama is running")


async def version(request: web.Request) -> web.Response:
    """GET /api/version."""
    return json_answer({"version": VERSION})


async def tags(request: web.Request) -> web.Response:
    """GET /api/tags."""
    models = instance_of(request).catalog.models
    return json_answer({"models": [_tag(model) for model in models]})


async def show(request: web.Request) -> web.Response:
    """POST /api/show."""
    text = asks.model_field(await read_fields(request))
    if not text:
        raise OllamaError(400, "model is required")
    return json_answer(_shown(asks.find_model(instance_of(request).catalog, text)))


async def ps(request: web.Request) -> web.Response:
    """GET /api/ps: ready models only, the one that stays longest first."""
    instance = instance_of(request)
    slow = instance.faults.take("slow_ps")
    if slow is not None:
        await asyncio.sleep(slow.seconds)
    wrong = instance.faults.take("wrong_ps")
    if wrong is not None:
        raise OllamaError(wrong.status, wrong.text)
    engine = instance.engine
    lines = [_loaded(line, engine.clock.wall_time(line.expires_at_s).isoformat()) for line in engine.ps()]
    return json_answer({"models": lines})


async def v1_models(request: web.Request) -> web.Response:
    """GET /v1/models; ``data`` is null when there are none (openai.go:450-470)."""
    data = [_v1_model(model) for model in instance_of(request).catalog.models]
    return json_answer({"object": "list", "data": data or None})


async def v1_model(request: web.Request) -> web.Response:
    """GET /v1/models/{model}."""
    text = request.match_info["model"]
    return json_answer(_v1_model(asks.find_model(instance_of(request).catalog, text)) | {"id": text})


def _name(model: Model) -> str:
    return names.display(names.canonical(model.name))


def _details(model: Model) -> dict[str, object]:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": model.family,
        "families": [model.family],
        "parameter_size": model.parameter_size,
        "quantization_level": "Q4_K_M",
    }


def _capabilities(model: Model) -> list[str]:
    return ["embedding"] if model.embedding_only else ["completion", "tools"]


def _tag(model: Model) -> dict[str, object]:
    lengths = {"context_length": model.context_limit, "embedding_length": model.embedding_length}
    return {
        "name": _name(model),
        "model": _name(model),
        "modified_at": _MODIFIED_AT,
        "size": model.size_bytes,
        "digest": model.digest,
        "details": _details(model) | lengths,
        "capabilities": _capabilities(model),
    }


def _shown(model: Model) -> dict[str, object]:
    family = model.family
    info = {
        "general.architecture": family,
        f"{family}.block_count": model.layers,
        f"{family}.context_length": model.context_limit,
        f"{family}.embedding_length": model.embedding_length,
    }
    if model.embedding_only:
        info[f"{family}.pooling_type"] = 1
    return {
        # The blob in FROM is the scheduler's key: aliases of one model show the same one.
        "modelfile": f"# Modelfile\nFROM /root/.ollama/models/blobs/sha256-{model.blob}\n",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": _details(model),
        "model_info": info,
        "capabilities": _capabilities(model),
        "modified_at": _MODIFIED_AT,
    }


def _loaded(line: LoadedModel, expires_at: str) -> dict[str, object]:
    return {
        "name": _name(line.model),
        "model": _name(line.model),
        "size": line.size_bytes,
        "digest": line.model.digest,
        "details": _details(line.model),
        "expires_at": expires_at,
        "size_vram": line.size_vram_bytes,
        "context_length": line.num_ctx,
    }


def _v1_model(model: Model) -> dict[str, object]:
    namespace = names.canonical(model.name).split("/")[-2]
    return {"id": _name(model), "object": "model", "created": _CREATED, "owned_by": namespace}
