"""The structs that Ollama reads request bodies into: what they are called, and the Go type of fields that are checked.

Fields that take any JSON (``format``, ``input``, ``stop``) are not among them (api/types.go, openai/openai.go,
openai/responses.go, anthropic/anthropic.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_MAP = "map[string]interface {}"
_DIGESTS = "map[string]string"
_MODEL = {"model": "string"}
_NAMED = {"model": "string", "name": "string"}
_PROGRESS = {**_NAMED, "stream": "bool", "insecure": "bool"}
_RUN = {**_MODEL, "options": _MAP, "keep_alive": "api.Duration", "truncate": "bool"}
_GENERATION = {"stream": "bool", "think": "api.ThinkValue", "shift": "bool", "logprobs": "bool", "top_logprobs": "int"}


@dataclass(frozen=True, slots=True)
class Struct:
    """One of Go's."""

    name: str
    fields: Mapping[str, str]


STRUCTS: Mapping[str, Struct] = {
    "/api/generate": Struct(
        "api.GenerateRequest",
        {**_RUN, **_GENERATION, "prompt": "string", "suffix": "string", "system": "string", "template": "string"}
        | {"context": "[]int", "raw": "bool", "images": "[]api.ImageData"},
    ),
    "/api/chat": Struct("api.ChatRequest", {**_RUN, **_GENERATION, "messages": "[]api.Message", "tools": "[]api.Tool"}),
    "/api/embed": Struct("api.EmbedRequest", {**_RUN, "dimensions": "int"}),
    "/api/embeddings": Struct("api.EmbeddingRequest", {**_RUN, "prompt": "string"}),
    "/api/show": Struct("api.ShowRequest", {**_NAMED, "system": "string", "verbose": "bool", "options": _MAP}),
    "/api/delete": Struct("api.DeleteRequest", _NAMED),
    "/api/copy": Struct("api.CopyRequest", {"source": "string", "destination": "string"}),
    "/api/pull": Struct("api.PullRequest", _PROGRESS),
    "/api/push": Struct("api.PushRequest", _PROGRESS),
    "/api/create": Struct(
        "api.CreateRequest",
        {**_NAMED, "stream": "bool", "from": "string", "template": "string", "system": "string", "quantize": "string"}
        | {"files": _DIGESTS, "adapters": _DIGESTS, "parameters": _MAP, "messages": "[]api.Message", "info": _MAP},
    ),
    "/v1/chat/completions": Struct(
        "openai.ChatCompletionRequest",
        {**_MODEL, "messages": "[]openai.Message", "stream": "bool", "stream_options": "openai.StreamOptions"}
        | {"max_tokens": "int", "tools": "[]api.Tool", "reasoning_effort": "string", "top_logprobs": "int"},
    ),
    "/v1/completions": Struct(
        "openai.CompletionRequest",
        {**_MODEL, "prompt": "string", "suffix": "string", "stream": "bool", "max_tokens": "int"}
        | {"stream_options": "openai.StreamOptions"},
    ),
    "/v1/embeddings": Struct("openai.EmbedRequest", {**_MODEL, "dimensions": "int", "encoding_format": "string"}),
    "/v1/responses": Struct(
        "openai.ResponsesRequest",
        {**_MODEL, "instructions": "string", "max_output_tokens": "int", "stream": "bool", "background": "bool"},
    ),
    "/v1/messages": Struct(
        "anthropic.MessagesRequest",
        {**_MODEL, "max_tokens": "int", "messages": "[]anthropic.MessageParam", "stream": "bool"}
        | {"tools": "[]anthropic.Tool"},
    ),
}
"""By path."""
