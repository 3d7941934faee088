"""Ollama's errors: the exceptions that handlers raise, and their JSON in the dialect of the path that was asked.

Texts that only one handler uses stand there; the shapes are here.
"""

from __future__ import annotations

_OPENAI_TYPES = {400: "invalid_request_error", 404: "not_found_error"}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


class OllamaError(Exception):
    """An answer other than success, with the text that Ollama gives."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.streamed = False
        """It came out of what would have been a stream."""


class BadBody(OllamaError):
    """A body that is refused before any handler sees it."""

    def __init__(self, text: str) -> None:
        super().__init__(400, text)


class CloudDisabled(OllamaError):
    """Something that only ollama.com could do: refused in Ollama's own dialect, whatever the path (cloud_proxy.go)."""

    def __init__(self, what: str) -> None:
        super().__init__(403, f"ollama cloud is disabled: {what}")


def error_body(path: str, error: OllamaError) -> dict[str, object]:
    """The JSON of ``error`` for a client of ``path`` (openai.go:225-237, anthropic.go:38-62)."""
    if not path.startswith("/v1/") or isinstance(error, CloudDisabled):
        return {"error": error.text}
    if path == "/v1/messages":
        kind = _ANTHROPIC_TYPES.get(error.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": error.text}, "request_id": "req_simulated"}
    kind = _OPENAI_TYPES.get(error.status, "api_error")
    return {"error": {"message": error.text, "type": kind, "param": None, "code": None}}


def is_bare(path: str, error: OllamaError) -> bool:
    """True if the answer's Content-Type has no charset: Ollama's translators to other dialects write none."""
    return error.streamed or (path.startswith("/v1/") and not isinstance(error, (BadBody, CloudDisabled)))
