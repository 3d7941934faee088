"""The table of calls: client by client, what each call is answered with, whether one Ollama answers or the front.

An expectation is a part of the answer: of an object those keys, of a list each item, of a type any value that is not
empty. The calls themselves are in `clients/`.
"""

from __future__ import annotations

from typing import Any

NDJSON, SSE, PLAIN, JSON = "application/x-ndjson", "text/event-stream", "text/plain", "application/json"
ANY: dict[str, Any] = {}
TOLD = {"raised": str}
UNKNOWN = {"raised": str, "status": 404}
WRONG = {"raised": str, "status": 400}
EIGHT = [str] * 8
CHAT = {"message": {"role": "assistant", "content": str}, "done": True}
CHAT_STREAM = [{"message": {"content": str}, "done": False}] * 8 + [{"done": True, "done_reason": "length"}]
TEXT = {"response": str, "done": True}
TEXT_STREAM = [{"response": str, "done": False}] * 8 + [{"done": True, "done_reason": "length"}]
VECTOR = [float] * 4
VECTORS = [VECTOR, VECTOR]
LIST = {"models": [{"model": name} for name in ("alpha:latest", "beta:7b", "embed:latest")]}
RUNNING = {"models": [{"model": "embed:latest"}, {"model": "alpha:latest"}]}
OPENAI_LIST = [{"id": name} for name in ("alpha:latest", "beta:7b", "embed:latest")]
PULLED = {"statuses": ["pulling manifest", "pulling", "verifying sha256 digest", "writing manifest", "success"]}
DONE = {"status": "success"}
CHOICE = {"choices": [{"message": {"content": str}, "finish_reason": "length"}]}
CHOICES = [{"choices": [{"delta": {"content": str}}]}] * 8
OPENAI_VECTORS = {"data": [{"embedding": VECTOR}, {"embedding": VECTOR}]}
MESSAGE = {"content": [{"type": "text", "text": str}], "stop_reason": "max_tokens"}
SAID = {"text": str, "finishReason": "length", "tokens": 8}


def wire(status: str, media: str | None = JSON, *body: object) -> dict[str, Any]:
    """Return what curl shows."""
    shown: dict[str, Any] = {"status": f"HTTP/1.1 {status}", "headers": {"content-type": media} if media else {}}
    return shown | ({"body": list(body)} if body else {})


TABLE: dict[str, dict[str, Any]] = {
    "ollama.py": {
        "list": LIST,
        "show": {"capabilities": ["completion", "tools"]},
        "chat": CHAT,
        "chat in a stream": CHAT_STREAM,
        "chat with tools": CHAT,
        "chat in a shape": CHAT,
        "generate": TEXT,
        "generate in a stream": TEXT_STREAM,
        "embed": {"embeddings": VECTORS},
        "embeddings": {"embedding": [float] * 4096},
        "ps": RUNNING,
        "unload": {"done_reason": "unload"},
        "pull": DONE,
        "pull in a stream": PULLED,
        "copy": DONE,
        "create": {"statuses": [str, "writing manifest", "success"]},
        "list with what came": {"models": [ANY] * 7},
        "delete": [DONE] * 4,
        "delete what is not there": UNKNOWN,
        "chat with an unknown model": UNKNOWN | {"text": "model 'nobody-has-this' not found (status code: 404)"},
        "stream of an unknown model": UNKNOWN,
        "chat with no model": TOLD,
        "chat with a model of embeddings": WRONG,
        "embed with a model of texts": {"status": 501},
        "show what is not there": UNKNOWN,
        "pull what is nowhere": {"status": 500},
    },
    "openai.py": {
        "models": {"data": OPENAI_LIST},
        "model": {"id": "alpha"},
        "chat": CHOICE,
        "chat in a stream": [*CHOICES, ANY, {"usage": {"completion_tokens": 8}}],
        "chat with tools": CHOICE,
        "chat in a shape": CHOICE,
        "chat with a long message": CHOICE,
        "completion": {"choices": [{"text": str}]},
        "response": {"status": "completed", "output": [{"content": [{"text": str}]}]},
        "response in a stream": [str] * 16,
        "embeddings": OPENAI_VECTORS,
        "transcription": {"text": str},
        "chat with an unknown model": UNKNOWN,
        "stream of an unknown model": UNKNOWN,
        "unknown model": UNKNOWN,
        "chat of a wrong type": WRONG,
        "chat without messages": WRONG,
        "embeddings with a model of texts": {"status": 501},
    },
    "anthropic.py": {
        "message": MESSAGE,
        "message in a stream": {"texts": EIGHT, "message": MESSAGE},
        "events of a stream": [{"type": "message_start"}, *[ANY] * 11, {"type": "message_stop"}],
        "message with tools": MESSAGE,
        "message with a system text": MESSAGE,
        "models": {"data": OPENAI_LIST},
        "unknown model": UNKNOWN,
        "stream of an unknown model": UNKNOWN,
        "no tokens": WRONG,
        "count of tokens": UNKNOWN,
    },
    "curl.py": {
        "GET /": wire("200 OK", PLAIN, "Ollama is running"),
        "HEAD /": wire("200 OK", PLAIN),
        "version": wire("200 OK"),
        "tags": wire("200 OK"),
        "HEAD of tags": wire("200 OK"),
        "models": wire("200 OK"),
        "model": wire("200 OK"),
        "show": wire("200 OK"),
        "show by name": wire("200 OK"),
        "chat": wire("200 OK", NDJSON, *CHAT_STREAM),
        "chat at once": wire("200 OK"),
        "generate": wire("200 OK", NDJSON, *TEXT_STREAM),
        "load": wire("200 OK"),
        "unload": wire("200 OK"),
        "unload by chat": wire("200 OK"),
        "ps": wire("200 OK"),
        "embed": wire("200 OK"),
        "openai's chat": wire("200 OK", SSE),
        "anthropic's message": wire("200 OK", SSE),
        "unknown model": wire("404 Not Found"),
        "openai's unknown model": wire("404 Not Found"),
        "anthropic's unknown model": wire("404 Not Found"),
        "bad JSON": wire("400 Bad Request"),
        "openai's bad JSON": wire("400 Bad Request"),
        "no body": wire("400 Bad Request"),
        "wrong type": wire("400 Bad Request"),
        "wrong option": wire("500 Internal Server Error"),
        "no such path": wire("404 Not Found", PLAIN),
        "no such method": wire("405 Method Not Allowed", PLAIN),
        "a page's preflight": wire("204 No Content", None),
        "a page's question": wire("200 OK"),
        "a foreign page's question": wire("403 Forbidden", None),
        "a file that is not there": wire("404 Not Found"),
    },
    "ollama_cli.py": {
        "list": {"exit": 0},
        "show": {"exit": 0},
        "run": {"exit": 0},
        "ps": list,
        "stop": {"exit": 0},
        "pull": {"exit": 0, "said": ["success"]},
        "cp": {"exit": 0, "said": ["copied 'mistral:7b' to 'twin'"]},
        "create": {"exit": 0, "said": ["success"]},
        "list with what came": [str] * 7,
        "rm": {"exit": 0, "said": ["deleted 'twin'", "deleted 'mine'", "deleted 'mistral:7b'"]},
        "rm of what is not there": {"exit": 1, "said": ["Error: model 'twin' not found"]},
        "run of what is nowhere": {"exit": 1, "said": ["Error: pull model manifest: file does not exist"]},
        "stop of what is not there": {"exit": 1, "said": ['Error: couldn\'t find model "nobody" to stop']},
    },
    "ollama.mjs": {
        "list": LIST,
        "version": {"version": str},
        "show": {"capabilities": ["completion", "tools"]},
        "chat": CHAT,
        "chat in a stream": CHAT_STREAM,
        "chat with tools": CHAT,
        "chat in a shape": CHAT,
        "generate": TEXT,
        "generate in a stream": TEXT_STREAM,
        "embed": {"embeddings": VECTORS},
        "ps": RUNNING,
        "unload": {"done_reason": "unload"},
        "pull in a stream": PULLED,
        "copy": DONE,
        "create": DONE,
        "delete": [DONE] * 3,
        "chat with an unknown model": UNKNOWN,
        "stream of an unknown model": UNKNOWN,
        "chat that is given up": {"raised": "AbortError"},
    },
    "openai.mjs": {
        "models": OPENAI_LIST,
        "model": {"id": "alpha"},
        "chat": CHOICE,
        "chat in a stream": [*CHOICES, ANY, {"usage": {"completion_tokens": 8}}],
        "chat with tools": CHOICE,
        "chat in a shape": CHOICE,
        "completion": {"choices": [{"text": str}]},
        "response": {"status": "completed"},
        "embeddings": OPENAI_VECTORS,
        "chat with an unknown model": UNKNOWN,
        "stream of an unknown model": UNKNOWN,
        "unknown model": UNKNOWN,
    },
    "ai_sdk.mjs": {
        "text of ollama": {"text": str, "finishReason": "stop"},
        "stream of ollama": {"texts": list, "finishReason": "stop"},
        "embeddings of ollama": VECTORS,
        "unknown model of ollama": UNKNOWN,
        "unknown model in a stream of ollama": UNKNOWN,
        "text of openai": SAID,
        "stream of openai": {"texts": EIGHT, "finishReason": "length"},
        "embeddings of openai": VECTORS,
        "unknown model of openai": UNKNOWN,
        "unknown model in a stream of openai": UNKNOWN,
    },
    "litellm.py": {
        "chat": CHOICE,
        "chat in a stream": list,
        "chat with tools": CHOICE,
        "chat in a shape": CHOICE,
        "generate": {"choices": [{"message": {"content": str}}]},
        "embeddings": OPENAI_VECTORS,
        "unknown model": UNKNOWN,
        "unknown model in a stream": UNKNOWN,
        "openai's chat": CHOICE,
        "openai's chat in a stream": list,
        "openai's unknown model": UNKNOWN,
    },
    "langchain.py": {
        "chat": {"content": str},
        "chat in a stream": list,
        "chat with tools": {"content": str},
        "chat in a shape": {"content": str},
        "chat with a model that must be there": {"content": str},
        "text": str,
        "embeddings": VECTORS,
        "unknown model": UNKNOWN,
        "unknown model in a stream": UNKNOWN,
        "a model that must be there and is not": TOLD,
    },
    "llama_index.py": {
        "chat": {"message": {"role": "assistant"}},
        "chat in a stream": [*EIGHT, ""],
        "text": str,
        "text in a stream": [*EIGHT, ""],
        "embeddings": VECTOR,
        "unknown model": UNKNOWN,
        "unknown model in a stream": UNKNOWN,
    },
    "llm.py": {
        "models": ["ollama/alpha:latest", "ollama/beta:7b"],
        "models of embeddings": ["ollama/embed:latest"],
        "prompt": str,
        "prompt in a stream": EIGHT,
        "prompt in a shape": str,
        "embeddings": VECTOR,
        "unknown model": TOLD,
    },
    "aider.py": {"message": {"exit": 0, "said": str}},
}
"""By client and call."""

OWN_WORDS = {
    ("curl.py", "bad JSON"),  # says where, in the words of another parser than Go's
    ("curl.py", "openai's bad JSON"),
    ("curl.py", "a foreign page's question"),  # says what to do; Ollama says nothing
}
"""Calls of which the front answers the same status with more, or other, words."""
