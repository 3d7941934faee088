"""What a request is refused for before any model is loaded: its name, what the model cannot do, its options."""

from __future__ import annotations

import json
from collections.abc import Mapping

from spoe_agent.routing import names
from spoe_agent.simulator.catalog import Catalog, Model
from spoe_agent.simulator.errors import CloudDisabled, OllamaError

NO_EMBEDDINGS = "This server does not support embeddings. Start it with `--embeddings`"
"""llama-server's own words, for a model that chats: only its start tells it what it serves."""
PULL_FIRST = 'model "{}" not found, try pulling it first'

_OPTION_TYPES = dict.fromkeys(
    ["num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict", "num_keep", "seed"], "integer"
)
_OPTION_TYPES |= dict.fromkeys(["num_predict", "top_k", "repeat_last_n"], "integer")
_OPTION_TYPES |= dict.fromkeys(
    ["top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty"], "float32"
)
_OPTION_TYPES |= {"use_mmap": "boolean", "stop": "array"}


def find_model(
    catalog: Catalog,
    text: str,
    missing: str = "model '{}' not found",
    is_required: bool = True,
    cloud: str = "remote model",
) -> Model:
    """The model that a request names.

    Raises OllamaError: 400 for a bad name, 404 for a missing model, either for none at all, as the path has it; 403 for
    a model of the cloud, whose ``cloud`` is unavailable.
    """
    if not text.strip():
        raise OllamaError(400, "model is required") if is_required else OllamaError(404, f"model '{text}' not found")
    head = _without_source(text.strip())
    if head is not None and _without_source(head) is not None:
        raise OllamaError(400, f'use either :local or :cloud, not both: "{text.strip()}"')
    try:
        if names.canonical(text).endswith(":cloud"):
            raise CloudDisabled(f"{cloud} {'are' if cloud.endswith('s') else 'is'} unavailable")
        model = catalog.find(text)
    except ValueError:
        raise OllamaError(400, "invalid model name") from None
    if model is None:
        raise OllamaError(404, missing.format(text))
    return model


def check_abilities(
    model: Model, text: str, verb: str, tools: object = None, thinks: bool = False, inserts: bool = False
) -> None:
    """Raise OllamaError 400 for what the model cannot do (Model.CheckCapabilities, images.go)."""
    if thinks and not model.thinking:
        raise OllamaError(400, f'"{text}" does not support thinking')
    if model.embedding_only:
        raise OllamaError(400, f'"{text}" does not support {verb}')
    for lacks, what in ((tools and not model.tools, "tools"), (inserts, "insert")):
        if lacks:
            raise OllamaError(400, f"{names.canonical(model.name)} does not support {what}")


def check_options(fields: Mapping[str, object]) -> None:
    """Raise OllamaError 500 for an option of the wrong type (Options.FromMap, api/types.go)."""
    options = fields.get("options")
    for key, value in options.items() if isinstance(options, dict) else ():
        kind = _OPTION_TYPES.get(key)
        if kind is not None and value is not None and not _is_option(value, kind):
            raise OllamaError(500, f'option "{key}" must be of type {kind}')


def bad_format(value: object) -> OllamaError | None:
    """What a ``format`` gets that llama-server would not understand; None for a good one (llama_server.go)."""
    if value in (None, "", "json") or isinstance(value, dict):
        return None
    shown = json.dumps(json.dumps(value))
    return OllamaError(500, f'invalid format: {shown}; expected "json" or a valid JSON Schema object')


def _without_source(name: str) -> str | None:
    """``name`` without `:local`, `:cloud` or `-cloud`; None if it ends in neither (modelref.go)."""
    head, colon, suffix = name.rpartition(":")
    if colon and suffix.lower() in ("local", "cloud"):
        return head
    return name[: -len("-cloud")] if colon and suffix.lower().endswith("-cloud") else None


def _is_option(value: object, kind: str) -> bool:
    if isinstance(value, bool) or kind == "boolean":
        return isinstance(value, bool) and kind == "boolean"
    return isinstance(value, list if kind == "array" else (int, float))
