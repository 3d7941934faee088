"""Calls by curl at URL: status, headers and body as they come over the wire."""

import json
import subprocess
import sys

from calls import HELLO, make, until

url = sys.argv[1]
HEADERS = {"content-type", "transfer-encoding", "allow", "access-control-allow-origin", "cache-control"}
"""What clients go by."""

FEW = {"options": {"num_predict": 8}}


def body(text):
    """Return a body's lines, read where they are JSON."""
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line.removeprefix("data: ")))
        except ValueError:
            found.append(line)
    return found


def curl(path, *arguments, json_body=None):
    """Make one call; `json_body` is sent as curl sends data unless told otherwise: as a form."""
    data = [] if json_body is None else ["--data-raw", json.dumps(json_body)]
    command = ["curl", "--silent", "--include", "--max-time", "60", *arguments, *data, url + path]
    raw = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    head, _, text = raw.partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    kept = {name: value.partition(";")[0] for name, value in headers.items() if name in HEADERS}
    return {"status": status, "headers": kept, "body": body(text)}


def chat(**more):
    return {"model": "alpha", "messages": HELLO, **FEW, **more}


make(
    {
        "GET /": lambda: curl("/"),
        "HEAD /": lambda: curl("/", "--head"),
        "version": lambda: curl("/api/version"),
        "tags": lambda: curl("/api/tags"),
        "HEAD of tags": lambda: curl("/api/tags", "--head"),
        "models": lambda: curl("/v1/models"),
        "model": lambda: curl("/v1/models/alpha"),
        "show": lambda: curl("/api/show", json_body={"model": "alpha"}),
        "show by name": lambda: curl("/api/show", json_body={"name": "alpha"}),
        "chat": lambda: curl("/api/chat", json_body=chat()),
        "chat at once": lambda: curl("/api/chat", json_body=chat(stream=False)),
        "generate": lambda: curl("/api/generate", json_body={"model": "alpha", "prompt": "hello", **FEW}),
        "load": lambda: curl("/api/generate", json_body={"model": "alpha"}),
        "unload": lambda: curl("/api/generate", json_body={"model": "alpha", "keep_alive": 0}),
        "unload by chat": lambda: curl("/api/chat", json_body={"model": "alpha", "messages": [], "keep_alive": 0}),
        "ps": lambda: until(lambda: curl("/api/ps"), lambda said: "alpha" not in str(said)),
        "embed": lambda: curl("/api/embed", json_body={"model": "embed", "input": "one", "dimensions": 4}),
        "openai's chat": lambda: curl(
            "/v1/chat/completions", json_body={"model": "alpha", "messages": HELLO, "max_tokens": 8, "stream": True}
        ),
        "anthropic's message": lambda: curl(
            "/v1/messages", json_body={"model": "alpha", "messages": HELLO, "max_tokens": 8, "stream": True}
        ),
        "unknown model": lambda: curl("/api/chat", json_body=chat(model="nobody-has-this")),
        "openai's unknown model": lambda: curl("/v1/chat/completions", json_body=chat(model="nobody-has-this")),
        "anthropic's unknown model": lambda: curl(
            "/v1/messages", json_body=chat(model="nobody-has-this", max_tokens=8)
        ),
        "bad JSON": lambda: curl("/api/chat", "--data-raw", "{no"),
        "openai's bad JSON": lambda: curl("/v1/chat/completions", "--data-raw", "{no"),
        "no body": lambda: curl("/api/chat", "--request", "POST"),
        "wrong type": lambda: curl("/api/chat", json_body={"model": 5}),
        "wrong option": lambda: curl("/api/chat", json_body=chat(options={"num_ctx": "many"})),
        "no such path": lambda: curl("/api/nothing"),
        "no such method": lambda: curl("/api/chat"),
        "a page's preflight": lambda: curl(
            "/api/chat",
            *("--request", "OPTIONS", "--header", "Origin: http://localhost:3000"),
            *("--header", "Access-Control-Request-Method: POST"),
        ),
        "a page's question": lambda: curl("/api/version", "--header", "Origin: http://localhost:3000"),
        "a foreign page's question": lambda: curl("/api/version", "--header", "Origin: http://example.com"),
        "a file that is not there": lambda: curl("/api/blobs/sha256:" + 64 * "0", "--head"),
    }
)
