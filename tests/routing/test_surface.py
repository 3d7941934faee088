import pytest

from spoe_agent.routing.surface import (
    DESCRIBE_PATH,
    INFERENCE_PATHS,
    Dialect,
    Kind,
    classify,
    dialect,
    path_model,
)

OLLAMA, OPENAI, ANTHROPIC = Dialect

ROUTES = [
    # Every route of Ollama's server/routes.go GenerateRoutes, in its order.
    ("GET", "/", Kind.LIST, OLLAMA),
    ("HEAD", "/", Kind.LIST, OLLAMA),
    ("HEAD", "/api/version", Kind.LIST, OLLAMA),
    ("GET", "/api/version", Kind.LIST, OLLAMA),
    ("GET", "/api/status", Kind.LIST, OLLAMA),
    ("POST", "/api/pull", Kind.MANAGE, OLLAMA),
    ("POST", "/api/push", Kind.MANAGE, OLLAMA),
    ("HEAD", "/api/tags", Kind.LIST, OLLAMA),
    ("GET", "/api/tags", Kind.LIST, OLLAMA),
    ("POST", "/api/show", Kind.DESCRIBE, OLLAMA),
    ("DELETE", "/api/delete", Kind.MANAGE, OLLAMA),
    ("POST", "/api/me", Kind.LIST, OLLAMA),
    ("POST", "/api/signout", Kind.LIST, OLLAMA),
    ("POST", "/api/create", Kind.MANAGE, OLLAMA),
    ("POST", "/api/blobs/sha256:0123", Kind.MANAGE, OLLAMA),
    ("HEAD", "/api/blobs/sha256:0123", Kind.MANAGE, OLLAMA),
    ("POST", "/api/copy", Kind.MANAGE, OLLAMA),
    ("POST", "/api/experimental/web_search", Kind.LIST, OLLAMA),
    ("GET", "/api/ps", Kind.LIST, OLLAMA),
    ("POST", "/api/generate", Kind.INFERENCE, OLLAMA),
    ("POST", "/api/chat", Kind.INFERENCE, OLLAMA),
    ("POST", "/api/embed", Kind.INFERENCE, OLLAMA),
    ("POST", "/api/embeddings", Kind.INFERENCE, OLLAMA),
    ("POST", "/v1/chat/completions", Kind.INFERENCE, OPENAI),
    ("POST", "/v1/completions", Kind.INFERENCE, OPENAI),
    ("POST", "/v1/embeddings", Kind.INFERENCE, OPENAI),
    ("GET", "/v1/models", Kind.LIST, OPENAI),
    ("GET", "/v1/models/llama3", Kind.DESCRIBE, OPENAI),
    ("POST", "/v1/responses", Kind.INFERENCE, OPENAI),
    ("POST", "/v1/audio/transcriptions", Kind.INFERENCE, OPENAI),
    ("POST", "/v1/messages", Kind.INFERENCE, ANTHROPIC),
    # What Ollama answers with 404 itself.
    ("POST", "/v1/messages/count_tokens", Kind.LIST, ANTHROPIC),
    ("GET", "/v1/models/", Kind.LIST, OPENAI),
    ("GET", "/v1/models/ns/m", Kind.LIST, OPENAI),
    ("HEAD", "/v1/models/llama3", Kind.LIST, OPENAI),
    ("DELETE", "/v1/models/llama3", Kind.LIST, OPENAI),
    ("POST", "/api/chat/", Kind.LIST, OLLAMA),
    ("POST", "/API/chat", Kind.LIST, OLLAMA),
    ("HEAD", "/api/blobs", Kind.LIST, OLLAMA),
    ("", "", Kind.LIST, OLLAMA),
    # What it answers with 405, or 404: no body is read for these, so no model is asked for.
    ("GET", "/api/chat", Kind.LIST, OLLAMA),
    ("OPTIONS", "/v1/chat/completions", Kind.LIST, OPENAI),
    ("PUT", "/v1/messages", Kind.LIST, ANTHROPIC),
    ("post", "/api/generate", Kind.LIST, OLLAMA),
    ("GET", "/api/show", Kind.LIST, OLLAMA),
]


@pytest.mark.parametrize(("method", "path", "kind", "in_dialect"), ROUTES)
def test_route(method, path, kind, in_dialect):
    assert classify(method, path) is kind
    assert dialect(path) is in_dialect


def test_every_inference_path_is_in_the_table():
    assert {path for _, path, kind, _ in ROUTES if kind is Kind.INFERENCE} == INFERENCE_PATHS


@pytest.mark.parametrize("path", sorted(INFERENCE_PATHS | {DESCRIBE_PATH}))
@pytest.mark.parametrize("method", ["", "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_only_a_post_has_a_body_that_names_a_model(method, path):
    assert classify(method, path) is Kind.LIST
    assert classify("POST", path) is not Kind.LIST


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/models/llama3:8b", "llama3:8b"),
        ("/v1/models/ns/m", None),
        ("/v1/models/llama3/", None),
        ("/v1/models/", None),
        ("/v1/models", None),
        ("/api/show", None),
    ],
)
def test_model_in_the_path(path, model):
    assert path_model(path) == model
