"""Requests, and the model that each is for: both front ends must find it, whatever they see of a body."""

from __future__ import annotations

import json
from dataclasses import dataclass

from spoe_agent.routing import Kind, RequestProblem
from spoe_agent.routing.names import canonical
from spoe_agent.routing.surface import DESCRIBE_PATH, INFERENCE_PATHS

INFERENCE, DESCRIBE, MANAGE, LIST, UNLOAD = Kind
UNREADABLE, _, BAD_NAME, *_ = RequestProblem
LLAMA3 = canonical("llama3")
JSON = b'{"model":"llama3"}'
FORM = b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nllama3\r\n--B--\r\n'
FORM_TYPE = "multipart/form-data; boundary=B"
SPEECH = "/v1/audio/transcriptions"
REQUIRED, INVALID = "model is required", "invalid model name"


@dataclass(frozen=True)
class Named:
    """A request, and what it is for."""

    path: str = "/api/chat"
    body: bytes = JSON
    kind: Kind = INFERENCE
    model: str | None = LLAMA3
    problem: RequestProblem | None = None
    told: str = ""
    """How that begins what the caller is told."""
    method: str = "POST"
    type: str = "application/json"
    encoding: str = ""

    @property
    def names_in_body(self) -> bool:
        """HAProxy shows the agent its body."""
        return self.method == "POST" and self.path in {*INFERENCE_PATHS, DESCRIBE_PATH}


def of(name: object) -> bytes:
    return json.dumps({"model": name}).encode()


def bad(body: bytes, told: str, problem: RequestProblem = UNREADABLE, **more: str) -> Named:
    return Named(body=body, model=None, problem=problem, told=told, **more)


def get(path: str, kind: Kind, model: str | None = None, body: bytes = b"") -> Named:
    return Named(path, body, kind, model, method="GET")


CASES = {
    "a model": Named(),
    "an escaped key": Named(body=b'{"\\u006dodel":"llama3"}'),
    "a key in another case": Named(body=b'{"Model":"llama3"}'),
    "behind megabytes": Named(body=b'{"x":"%s","model":"llama3"}' % (b"y" * 5_000_000)),
    "cloud": Named(body=of("gpt-oss:20b-cloud"), model=canonical("gpt-oss:20b:cloud")),
    "an encoding that Ollama does not look at": Named(encoding="zstd"),
    "a form": Named(SPEECH, FORM, type=FORM_TYPE),
    "a form without its type": bad(FORM, "", path=SPEECH),
    "no body": bad(b"", "missing request body"),
    "no JSON": bad(b"hello", "invalid JSON"),
    "a number": bad(of(7), "json: cannot unmarshal number into Go struct field"),
    "no model": bad(b"{}", REQUIRED, BAD_NAME),
    "an empty name": bad(of(""), REQUIRED, BAD_NAME),
    "a bad name": bad(of("a b"), INVALID, BAD_NAME),
    "a name with broken UTF-8": bad(of("ll\udcffama"), INVALID, BAD_NAME),
    "an unloading": Named("/api/generate", b'{"model":"llama3","keep_alive":0}', UNLOAD),
    "one of a chat": Named("/api/chat", b'{"model":"llama3","messages":[],"keep_alive":"0"}', UNLOAD),
    "an unloading of a bad name": bad(b'{"model":"a b","keep_alive":0}', INVALID, BAD_NAME, kind=UNLOAD),
    "a long body that may be none": Named("/api/generate", b'{"model":"llama3","keep_alive":0%s}' % (b" " * 20_000)),
    "a method that unloads nothing": get("/api/chat", LIST, body=b'{"model":"llama3","keep_alive":0}'),
    "show": Named("/api/show", kind=DESCRIBE),
    "show by name": Named("/api/show", b'{"name":"llama3"}', DESCRIBE),
    "show by both": Named("/api/show", b'{"model":"","name":"llama3"}', DESCRIBE),
    "one of OpenAI's list": get("/v1/models/llama3", DESCRIBE, LLAMA3),
    "a bad name in the path": Named("/v1/models/a b", b"", DESCRIBE, None, BAD_NAME, INVALID, "GET"),
    "a model of a namespace in the path": get("/v1/models/ns/m:8b", LIST),
    "a list": get("/api/tags", LIST),
    "a list, whatever its body": Named("/api/tags", of("a b"), LIST, None),
    "a method that Ollama refuses": get("/api/chat", LIST, body=JSON),
    "a pull": Named("/api/pull", kind=MANAGE, model=None),
}
