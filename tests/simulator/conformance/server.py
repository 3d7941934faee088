"""The server itself, and its lists of models."""

from __future__ import annotations

from tests.simulator.conformance.call import (
    BARE_JSON,
    GIN_TEXT,
    NO_BODY,
    SHOWN,
    TAG,
    TEXT,
    V1_MODEL,
    Call,
    native,
    not_allowed,
    openai,
    post,
)

SERVER = {
    "root": Call("GET", "/", None, "Ollama is running", media=TEXT),
    "root, head": Call("HEAD", "/", media=TEXT),
    "version": Call("GET", "/api/version", None, {"version": str}),
    "version, head": Call("HEAD", "/api/version"),
    "status": Call("GET", "/api/status", None, {"cloud": {"disabled": True, "source": "env"}}),
    "no such path": Call("GET", "/nothing", None, "404 page not found", 404, GIN_TEXT),
    "wrong method": not_allowed("GET", "/api/chat", "POST"),
    "wrong method, two allowed": not_allowed("DELETE", "/api/tags", "HEAD, GET"),
    "wrong method, delete": not_allowed("POST", "/api/delete", "DELETE"),
    "wrong method, blobs": not_allowed("GET", "/api/blobs/x", "HEAD, POST"),
    "wrong method, root": not_allowed("POST", "/", "HEAD, GET"),
    "slash at the end": Call("POST", "/api/chat/", {}, "", 307, NO_BODY, answer_headers={"Location": "/api/chat"}),
    "foreign host": Call("GET", "/api/version", None, "", 403, NO_BODY, {"Host": "evil.example"}),
    "foreign origin": Call("GET", "/api/version", None, "", 403, NO_BODY, {"Origin": "http://evil.example"}),
    "local origin": Call(
        "GET",
        "/api/version",
        None,
        {"version": str},
        headers={"Origin": "http://localhost:3000"},
        answer_headers={"Access-Control-Allow-Origin": "http://localhost:3000"},
    ),
    "me, without the cloud": post("/api/me", None, native("account unavailable"), 503),
    "sign out, without the cloud": post("/api/signout", None, native("there was an error signing out"), 500),
    "web search, without the cloud": post(
        "/api/experimental/web_search",
        {"query": "x"},
        native("ollama cloud is disabled: web search is unavailable"),
        403,
    ),
}

MODELS = {
    "tags": Call("GET", "/api/tags", None, {"models": [TAG, TAG, TAG]}),
    "tags, head": Call("HEAD", "/api/tags"),
    "nothing loaded": Call("GET", "/api/ps", None, {"models": []}),
    "show": post("/api/show", {"model": "small"}, SHOWN, chunked=True),
    "show by name": post("/api/show", {"model": "", "name": "small"}, SHOWN, chunked=True),
    "show in other words": post("/api/show", {"model": "registry.ollama.ai/library/SMALL:latest"}, SHOWN, chunked=True),
    "show nobody": post("/api/show", {"model": "nobody"}, native("model 'nobody:latest' not found"), 404),
    "show without a name": post("/api/show", {}, native("model is required"), 400),
    "show a bad name": post("/api/show", {"model": "a b"}, native("invalid model name"), 400),
    "models": Call(
        "GET", "/v1/models", None, {"object": "list", "data": [V1_MODEL, V1_MODEL, V1_MODEL]}, media=BARE_JSON
    ),
    "a model": Call("GET", "/v1/models/small", None, V1_MODEL | {"id": "small"}, media=BARE_JSON),
    "no such model": Call(
        "GET",
        "/v1/models/nobody",
        None,
        openai("model 'nobody:latest' not found", "not_found_error"),
        404,
        BARE_JSON,
    ),
}
