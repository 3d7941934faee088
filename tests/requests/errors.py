"""What Ollama 0.33 answered to requests that name no model, or one that it does not have; asked each.

Behind both fronts the same is answered (tests/e2e/test_door.py); `{}` is an error's text in the dialect of its path.
"""

from __future__ import annotations

import json

PULL_FIRST = 'model "{}" not found, try pulling it first'
REQUIRED = (400, "model is required")
NOBODY = (404, "model '' not found")
GO = "json: cannot unmarshal"

PATHS = {
    # path: an unknown model's text, what no name gets, Go's struct, what an empty body gets
    "/api/generate": ("model '{}' not found", NOBODY, "api.GenerateRequest", "missing request body"),
    "/api/chat": ("model '{}' not found", REQUIRED, "api.ChatRequest", "missing request body"),
    "/api/embed": (PULL_FIRST, NOBODY, "api.EmbedRequest", "missing request body"),
    "/api/embeddings": (PULL_FIRST, REQUIRED, "api.EmbeddingRequest", "missing request body"),
    "/api/show": ("model '{}' not found", REQUIRED, "api.ShowRequest", "missing request body"),
    "/v1/chat/completions": ("model '{}' not found", REQUIRED, "openai.ChatCompletionRequest", "EOF"),
    "/v1/completions": ("model '{}' not found", NOBODY, "openai.CompletionRequest", "EOF"),
    "/v1/embeddings": (PULL_FIRST, NOBODY, "openai.EmbedRequest", "EOF"),
    "/v1/responses": ("model '{}' not found", REQUIRED, "openai.ResponsesRequest", "EOF"),
    "/v1/messages": ("model '{}' not found", REQUIRED, "anthropic.MessagesRequest", "EOF"),
}

NEEDED = {
    "messages": [{"role": "user", "content": "hello"}],
    "input": "hello",
    "prompt": "hello",
    "max_tokens": 5,
    "stream": False,
}
"""What one or another path wants besides."""

Case = tuple[str, bytes, int, str]
"""Path, body, status and text."""


def cases() -> dict[str, Case]:
    """Return all cases by name."""
    found = [case for path in PATHS for case in _of_path(path)]
    return {f"{path} {what}": (path, body, status, text) for what, path, body, status, text in found}


def _of_path(path: str) -> list[tuple[str, str, bytes, int, str]]:
    unknown, nameless, struct, nothing = PATHS[path]
    show = path == "/api/show"
    shown = "nobody:latest" if show else "nobody"
    field = struct.partition(".")[2]
    blank = (404, nameless[1].replace("''", "'  '"))
    return [
        ("unknown", path, _with(path, model="nobody"), 404, unknown.format(shown)),
        ("padded", path, _with(path, model="  nobody "), 404, unknown.format(shown if show else "  nobody ")),
        ("tagged", path, _with(path, model="Nobody:7B"), 404, unknown.format("Nobody:7B")),
        ("the last wins", path, _pairs(path, '"model":"alpha","MODEL":"nobody"'), 404, unknown.format(shown)),
        ("null changes nothing", path, _pairs(path, '"model":"nobody","model":null'), 404, unknown.format(shown)),
        ("no model", path, _with(path), *nameless),
        ("empty", path, _with(path, model=""), *nameless),
        ("null", path, _with(path, model=None), *nameless),
        ("the last is empty", path, _pairs(path, '"model":"alpha","model":""'), *nameless),
        ("only deeper down", path, _with(path, options={"model": "alpha"}), *nameless),
        ("blank", path, _with(path, model="  "), *(REQUIRED if nameless == REQUIRED else blank)),
        (
            "by name",
            path,
            _with(path, model="", name="nobody"),
            *((404, "model 'nobody:latest' not found") if show else nameless),
        ),
        ("bad name", path, _with(path, model="a b"), 400, "invalid model name"),
        ("quote", path, _with(path, model='no"x'), 400, "invalid model name"),
        *[
            (f"{kind} for a model", path, _with(path, model=value), 400, f"{GO} {kind} {_field(field)}")
            for kind, value in {"number": 7, "bool": True, "array": ["a"], "object": {"a": 1}}.items()
        ],
        ("an array", path, b'["no", "object"]', 400, f"{GO} array into Go value of type {struct}"),
        ("a text", path, b'"model"', 400, f"{GO} string into Go value of type {struct}"),
        ("a number", path, b"7", 400, f"{GO} number into Go value of type {struct}"),
        ("nothing", path, b"", 400, nothing),
        ("white space", path, b" \r\n", 400, nothing),
    ]


def _field(struct: str) -> str:
    return f"into Go struct field {struct}.model of type string"


def _with(path: str, **members: object) -> bytes:
    return json.dumps({**members, **_needed(path)}).encode()


def _pairs(path: str, members: str) -> bytes:
    return ("{" + members + "," + json.dumps(_needed(path))[1:]).encode()


def _needed(path: str) -> dict[str, object]:
    """Without `messages`, embeddings and such would be refused by Ollama for another reason."""
    wanted = {
        "/api/chat": ["messages"],
        "/v1/chat/completions": ["messages"],
        "/v1/messages": ["messages", "max_tokens"],
        "/api/generate": ["prompt"],
        "/v1/completions": ["prompt"],
        "/api/embeddings": ["prompt"],
        "/api/show": [],
    }.get(path, ["input"])
    return {name: NEEDED[name] for name in wanted} | {"stream": False}
