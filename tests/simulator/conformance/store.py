"""What changes the store."""

from __future__ import annotations

from hashlib import sha256

from tests.simulator.conformance.call import (
    BARE_JSON,
    CHAT,
    GENERATE,
    GENERATED,
    NDJSON,
    NO_BODY,
    SHOWN,
    Call,
    native,
    post,
    reason,
    with_context,
)
from tests.simulator.shapes import Lines

BLOB = b"not a model"
DIGEST = f"sha256:{sha256(BLOB).hexdigest()}"
OTHER_DIGEST, NO_DIGEST = f"sha256:{sha256(b'x').hexdigest()}", f"sha256:{'0' * 64}"

STORE = {
    "what embeds, unloaded": post(
        "/api/generate", {"model": "embed", "keep_alive": 0}, reason("unload") | {"model": "embed"}
    ),
    "blob, is it there?": Call("HEAD", f"/api/blobs/{DIGEST}", status=404),
    "blob of another digest": post(
        f"/api/blobs/{NO_DIGEST}", b"x", native(f'digest mismatch, expected "{NO_DIGEST}", got "{OTHER_DIGEST}"'), 400
    ),
    "blob of another digest: it is kept under its own": Call("HEAD", f"/api/blobs/{OTHER_DIGEST}", media=NO_BODY),
    "blob": post(f"/api/blobs/{DIGEST}", BLOB, "", 201, NO_BODY),
    "blob, it is there": Call("HEAD", f"/api/blobs/{DIGEST}", media=NO_BODY),
    "blob, again": post(f"/api/blobs/{DIGEST}", BLOB, "", 200, NO_BODY),
    "blob of no digest": Call("HEAD", "/api/blobs/x", status=400),
    "copy": post("/api/copy", {"source": "small", "destination": "third"}, "", 200, NO_BODY),
    "copied": post("/api/show", {"model": "third"}, SHOWN, chunked=True),
    "copy nobody": post("/api/copy", {"source": "nobody", "destination": "x"}, native('model "nobody" not found'), 404),
    "copy from no name": post(
        "/api/copy", {"source": "a b", "destination": "x"}, native('source "a b" is invalid'), 400
    ),
    "copy to no name": post(
        "/api/copy", {"source": "small", "destination": "a b"}, native('destination "a b" is invalid'), 400
    ),
    "create": post(
        "/api/create",
        {"model": "fourth", "from": "small"},
        Lines({"status": str}, {"status": "success"}),
        media=NDJSON,
        chunked=True,
    ),
    "create, not streamed": post(
        "/api/create", {"model": "fourth", "from": "small", "stream": False}, {"status": "success"}, media=BARE_JSON
    ),
    "create with a context of its own": post(
        "/api/create",
        {"model": "fifth", "from": "small", "parameters": {"num_ctx": 2048}, "stream": False},
        {"status": "success"},
        media=BARE_JSON,
    ),
    "what was loaded before, unloaded": post("/api/generate", {"model": "small", "keep_alive": 0}, reason("unload")),
    "its own context is its default": post(
        "/api/generate", {**GENERATE, "model": "fifth"}, GENERATED | {"model": "fifth"}
    ),
    "its own context, loaded": with_context("fifth:latest", 2048),
    "create from nothing": post(
        "/api/create",
        {"model": "sixth"},
        native("neither 'from' or 'files' was specified"),
        400,
        BARE_JSON,
        chunked=True,
    ),
    "create without a name": post("/api/create", {"from": "small"}, native("invalid model name"), 400),
    "created": post("/api/generate", {**GENERATE, "model": "fourth"}, GENERATED | {"model": "fourth"}),
    "delete": Call("DELETE", "/api/delete", {"model": "third"}, "", media=NO_BODY),
    "delete by name": Call("DELETE", "/api/delete", {"name": "fourth"}, "", media=NO_BODY),
    "deleted": post("/api/chat", {**CHAT, "model": "third"}, native("model 'third' not found"), 404),
    "delete nobody": Call("DELETE", "/api/delete", {"model": "nobody"}, native("model 'nobody' not found"), 404),
    "delete no name": Call("DELETE", "/api/delete", {"model": "a b"}, native('name "a b" is invalid'), 400),
    "pull no name": post("/api/pull", {"model": "a b"}, native("invalid model name"), 400),
    "push without a name": post("/api/push", {}, native("model is required"), 400),
}
