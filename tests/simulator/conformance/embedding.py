"""/api/embed, /api/embeddings."""

from __future__ import annotations

from tests.simulator.conformance.call import PULL_FIRST, native, post
from tests.simulator.shapes import Each

VECTOR = Each(float)
NO_EMBEDDINGS = "This server does not support embeddings. Start it with `--embeddings`"
EMBEDDED = {"model": "embed", "embeddings": Each(VECTOR), "total_duration": int, "load_duration": int}
EMBEDDED |= {"prompt_eval_count": int}

EMBEDDING = {
    "embed": post("/api/embed", {"model": "embed", "input": "one"}, EMBEDDED),
    "embed many": post(
        "/api/embed", {"model": "embed", "input": ["one", "two", "three", "four"]}, EMBEDDED, chunked=True
    ),
    "embed nothing": post("/api/embed", {"model": "embed", "input": []}, {"model": "embed", "embeddings": []}),
    "embed without input": post("/api/embed", {"model": "embed"}, {"model": "embed", "embeddings": []}),
    "embed an empty text": post("/api/embed", {"model": "embed", "input": ""}, {"model": "embed", "embeddings": []}),
    "embed, three dimensions": post(
        "/api/embed",
        {"model": "embed", "input": "one", "dimensions": 3},
        EMBEDDED | {"embeddings": [[float, float, float]]},
    ),
    "embed a number": post("/api/embed", {"model": "embed", "input": 7}, native("invalid input type"), 400),
    "embed numbers": post("/api/embed", {"model": "embed", "input": [1]}, native("invalid input type"), 400),
    "embed with nobody": post(
        "/api/embed", {"model": "nobody", "input": "x"}, native(PULL_FIRST.format("nobody")), 404
    ),
    "embed without a model": post("/api/embed", {"input": "x"}, native("model '' not found"), 404),
    "embed with a chat model": post("/api/embed", {"model": "small", "input": "x"}, native(NO_EMBEDDINGS), 501),
    "embeddings": post("/api/embeddings", {"model": "embed", "prompt": "one"}, {"embedding": VECTOR}),
    "embeddings of nothing": post("/api/embeddings", {"model": "embed"}, {"embedding": []}),
    "embeddings with nobody": post(
        "/api/embeddings", {"model": "nobody", "prompt": "x"}, native(PULL_FIRST.format("nobody")), 404
    ),
    "embeddings without a model": post("/api/embeddings", {"prompt": "x"}, native("model is required"), 400),
    "embeddings with a chat model": post(
        "/api/embeddings", {"model": "small", "prompt": "x"}, native(NO_EMBEDDINGS), 500
    ),
}
