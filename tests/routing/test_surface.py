import pytest

from spoe_agent.routing.surface import INFERENCE_PATHS, Dialect, Kind, classify, dialect, error_type, path_model

OLLAMA, OPENAI, ANTHROPIC = Dialect

PATHS = [
    # Every route of Ollama's server/routes.go GenerateRoutes, in its order.
    ("/", Kind.LIST, OLLAMA),
    ("/api/version", Kind.LIST, OLLAMA),
    ("/api/status", Kind.LIST, OLLAMA),
    ("/api/pull", Kind.MANAGE, OLLAMA),
    ("/api/push", Kind.MANAGE, OLLAMA),
    ("/api/tags", Kind.LIST, OLLAMA),
    ("/api/show", Kind.DESCRIBE, OLLAMA),
    ("/api/delete", Kind.MANAGE, OLLAMA),
    ("/api/me", Kind.LIST, OLLAMA),
    ("/api/signout", Kind.LIST, OLLAMA),
    ("/api/create", Kind.MANAGE, OLLAMA),
    ("/api/blobs/sha256:0123", Kind.MANAGE, OLLAMA),
    ("/api/copy", Kind.MANAGE, OLLAMA),
    ("/api/experimental/web_search", Kind.LIST, OLLAMA),
    ("/api/ps", Kind.LIST, OLLAMA),
    ("/api/generate", Kind.INFERENCE, OLLAMA),
    ("/api/chat", Kind.INFERENCE, OLLAMA),
    ("/api/embed", Kind.INFERENCE, OLLAMA),
    ("/api/embeddings", Kind.INFERENCE, OLLAMA),
    ("/v1/chat/completions", Kind.INFERENCE, OPENAI),
    ("/v1/completions", Kind.INFERENCE, OPENAI),
    ("/v1/embeddings", Kind.INFERENCE, OPENAI),
    ("/v1/models", Kind.LIST, OPENAI),
    ("/v1/models/llama3", Kind.DESCRIBE, OPENAI),
    ("/v1/responses", Kind.INFERENCE, OPENAI),
    ("/v1/audio/transcriptions", Kind.INFERENCE, OPENAI),
    ("/v1/messages", Kind.INFERENCE, ANTHROPIC),
    # What Ollama answers with 404 itself.
    ("/v1/messages/count_tokens", Kind.LIST, ANTHROPIC),
    ("/v1/models/", Kind.LIST, OPENAI),
    ("/api/chat/", Kind.LIST, OLLAMA),
    ("/API/chat", Kind.LIST, OLLAMA),
    ("/api/blobs", Kind.LIST, OLLAMA),
    ("", Kind.LIST, OLLAMA),
]


@pytest.mark.parametrize(("path", "kind", "in_dialect"), PATHS)
def test_path(path, kind, in_dialect):
    assert classify(path) is kind
    assert dialect(path) is in_dialect


def test_every_inference_path_is_in_the_table():
    assert {path for path, kind, _ in PATHS if kind is Kind.INFERENCE} == INFERENCE_PATHS


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/models/llama3:8b", "llama3:8b"),
        ("/v1/models/ns/m", "ns/m"),
        ("/v1/models/ns%2Fm", "ns%2Fm"),
        ("/v1/models/", None),
        ("/v1/models", None),
        ("/api/show", None),
    ],
)
def test_model_in_the_path(path, model):
    assert path_model(path) == model


ERROR_TYPES = [
    (OPENAI, 400, "invalid_request_error"),
    (OPENAI, 404, "not_found_error"),
    (OPENAI, 413, "api_error"),
    (OPENAI, 503, "api_error"),
    (ANTHROPIC, 400, "invalid_request_error"),
    (ANTHROPIC, 404, "not_found_error"),
    (ANTHROPIC, 413, "request_too_large"),
    (ANTHROPIC, 503, "overloaded_error"),
    (ANTHROPIC, 500, "api_error"),
    (OLLAMA, 400, ""),
    (OLLAMA, 503, ""),
]


@pytest.mark.parametrize(("in_dialect", "status", "expected"), ERROR_TYPES)
def test_error_type(in_dialect, status, expected):
    assert error_type(in_dialect, status) == expected
