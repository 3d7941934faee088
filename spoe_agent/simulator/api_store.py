"""What changes the model store: pull, push, create, copy, delete, blobs (routes.go:1102-1300, 1647-1753; create.go).

The registry that is pulled from has the built-in models and no others. Of blobs only the size is kept: nothing is
looked for in a GGUF.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from hashlib import sha256

from aiohttp import web

from spoe_agent.simulator import asks
from spoe_agent.simulator.catalog import DEFAULT_MODELS, Catalog, Model
from spoe_agent.simulator.errors import OllamaError
from spoe_agent.simulator.go_json import string
from spoe_agent.simulator.profile import GB
from spoe_agent.simulator.serving import BARE_JSON, json_answer, read_fields, serve_lines
from spoe_agent.simulator.state import SimulatedInstance, instance_of

REGISTRY = Catalog(DEFAULT_MODELS)

TRANSFER_BYTES_PER_S = 0.1 * GB
"""Of a good line to the registry, in the simulator's time."""

_STEPS = 20
_CONFIG_BYTES = 487
_DIGEST = re.compile(r"sha256[:-][0-9a-f]{64}")

Progress = AsyncIterator[Mapping[str, object]]


async def pull(request: web.Request) -> web.StreamResponse:
    """POST /api/pull."""
    fields = await read_fields(request)
    instance, name = instance_of(request), asks.model_field(fields)
    _known_name(instance.catalog, name, "invalid model name")
    return await _progress(request, fields, _pull(instance, name))


async def push(request: web.Request) -> web.StreamResponse:
    """POST /api/push."""
    fields = await read_fields(request)
    name = asks.model_field(fields)
    if not name:
        raise OllamaError(400, "model is required")
    return await _progress(request, fields, _push(instance_of(request), name))


async def create(request: web.Request) -> web.StreamResponse:
    """POST /api/create."""
    fields = await read_fields(request)
    instance, name = instance_of(request), asks.model_field(fields)
    _known_name(instance.catalog, name, "invalid model name")
    return await _progress(request, fields, _create(instance, name, fields))


async def copy(request: web.Request) -> web.Response:
    """POST /api/copy: 200 without a body."""
    fields, catalog = await read_fields(request), instance_of(request).catalog
    source, destination = string(fields, "source"), string(fields, "destination")
    model = _known_name(catalog, source, f'source "{source}" is invalid')
    _known_name(catalog, destination, f'destination "{destination}" is invalid')
    if model is None:
        raise OllamaError(404, f'model "{source}" not found')
    instance_of(request).faults.before_write()
    catalog.put(_called(destination, model))
    return web.Response()


async def delete(request: web.Request) -> web.Response:
    """DELETE /api/delete: 200 without a body. A runner that has the model loaded keeps it."""
    fields, catalog = await read_fields(request), instance_of(request).catalog
    name = asks.model_field(fields)
    model = _known_name(catalog, name, f'name "{name}" is invalid')
    if model is None:
        raise OllamaError(404, f"model '{name}' not found")
    catalog.drop(model)
    return web.Response()


async def head_blob(request: web.Request) -> web.Response:
    """HEAD /api/blobs/{digest}."""
    digest = _digest(request)
    if instance_of(request).catalog.blob_bytes(digest) is None:
        raise OllamaError(404, f'blob "{digest}" not found')
    return web.Response()


async def put_blob(request: web.Request) -> web.Response:
    """POST /api/blobs/{digest}: 200 when it is there, 201 when it is written."""
    catalog, digest = instance_of(request).catalog, _digest(request)
    if catalog.blob_bytes(digest) is not None:
        return web.Response()
    found, size_bytes = sha256(), 0
    async for chunk in request.content.iter_any():
        found.update(chunk)
        size_bytes += len(chunk)
        instance_of(request).faults.before_write()
    got = f"sha256:{found.hexdigest()}"
    # It is kept under its own digest even when that is not the one that was promised.
    catalog.put_blob(got, size_bytes)
    if got != digest:
        raise OllamaError(400, f'digest mismatch, expected "{digest}", got "{got}"')
    return web.Response(status=201)


async def _progress(request: web.Request, fields: Mapping[str, object], steps: Progress) -> web.StreamResponse:
    """Stream, or wait and answer with the last line (routes.go waitForStream)."""
    if fields.get("stream") is not False:
        return await serve_lines(request, steps)
    last: Mapping[str, object] = {}
    async for line in steps:
        last = line
    return json_answer(last, media=BARE_JSON)


async def _pull(instance: SimulatedInstance, name: str) -> Progress:
    yield {"status": "pulling manifest"}
    async for line in _download(instance, name):
        yield line
    yield {"status": "success"}


async def _download(instance: SimulatedInstance, name: str) -> Progress:
    model = REGISTRY.find(name)
    if model is None:
        raise OllamaError(500, "pull model manifest: file does not exist")
    have = instance.catalog.find(name)
    if have is None or have.blob != model.blob:
        async for line in _file(instance, model):
            yield line
    for digest, size_bytes in ((model.blob, model.size_bytes), (model.digest, _CONFIG_BYTES)):
        yield _about("pulling", digest, size_bytes) | {"completed": size_bytes}
    for status in ("verifying sha256 digest", "writing manifest"):
        yield {"status": status}
    instance.catalog.put(model)


async def _file(instance: SimulatedInstance, model: Model) -> Progress:
    """Fetch a file, from where it was left before (server/download.go keeps what it has in partial files)."""
    about, partial = _about("pulling", model.blob, model.size_bytes), instance.catalog.partial
    for step in range(partial.get(model.blob, 0), _STEPS):
        partial[model.blob] = step
        # Go leaves out what is 0.
        yield about | ({"completed": model.size_bytes * step // _STEPS} if step else {})
        if step >= _STEPS // 2:
            instance.faults.before_write()
        await _transfer(instance, model.size_bytes / _STEPS)
    partial.pop(model.blob, None)


def _about(doing: str, digest: str, size_bytes: int) -> dict[str, object]:
    return {"status": f"{doing} {digest[:12]}", "digest": f"sha256:{digest}", "total": size_bytes}


async def _push(instance: SimulatedInstance, name: str) -> Progress:
    yield {"status": "retrieving manifest"}
    model = _known_name(instance.catalog, name, "invalid model name")
    if model is None:
        yield {"status": "couldn't retrieve manifest"}
        raise OllamaError(500, "file does not exist")
    about = _about("pushing", model.blob, model.size_bytes)
    for step in range(_STEPS):
        yield about | {"completed": model.size_bytes * step // _STEPS}
        await _transfer(instance, model.size_bytes / _STEPS)
    for status in ("pushing manifest", "success"):
        yield {"status": status}


async def _create(instance: SimulatedInstance, name: str, fields: Mapping[str, object]) -> Progress:
    """From a model, which is pulled when it is not there (parseFromModel), or from uploaded files."""
    catalog, origin = instance.catalog, string(fields, "from")
    digests = [*_digests(fields.get("files")), *_digests(fields.get("adapters"))]
    sizes = [catalog.blob_bytes(digest) for digest in digests]
    if origin and _known_name(catalog, origin, "invalid model name") is None:
        async for line in _download(instance, origin):
            yield line
    if None in sizes:
        path = f"/root/.ollama/models/blobs/{digests[sizes.index(None)].replace(':', '-')}"
        raise OllamaError(500, f"open {path}: no such file or directory")
    if not origin and not digests:
        raise OllamaError(400, "neither 'from' or 'files' was specified")
    base = catalog.find(origin) if origin else None
    yield {"status": "parsing GGUF" if base is None else f"using existing layer sha256:{base.blob}"}
    made = _called(name, base) if base is not None else _made(name, digests[0], sum(filter(None, sizes)))
    instance.faults.before_write()
    parameters = fields.get("parameters")
    own_ctx = asks.positive(parameters.get("num_ctx")) if isinstance(parameters, dict) else None
    catalog.put(replace(made, num_ctx=own_ctx or made.num_ctx))
    for status in ("writing manifest", "success"):
        yield {"status": status}


async def _transfer(instance: SimulatedInstance, size_bytes: float) -> None:
    await asyncio.sleep(instance.engine.clock.real_s(size_bytes / TRANSFER_BYTES_PER_S))


def _known_name(catalog: Catalog, name: str, invalid: str) -> Model | None:
    """Return the model of that name, or None. Raises OllamaError 400 for what is no name."""
    try:
        return catalog.find(name)
    except ValueError:
        raise OllamaError(400, invalid) from None


def _called(name: str, model: Model) -> Model:
    """Return the same model under another name: the same blob, and so the same runner."""
    return replace(model, name=name)


def _made(name: str, digest: str, size_bytes: int) -> Model:
    return Model(name=name, size_bytes=size_bytes, blob=digest.partition(":")[2], embedding_only="embed" in name)


def _digests(files: object) -> list[str]:
    return [str(digest) for digest in files.values()] if isinstance(files, dict) else []


def _digest(request: web.Request) -> str:
    """Return the digest in the path. Raises OllamaError 400 when it is none."""
    digest = request.match_info["digest"]
    if not _DIGEST.fullmatch(digest):
        raise OllamaError(400, "invalid digest format")
    return digest.replace("-", ":", 1)
