"""Ollama's errors: the exception that handlers raise, and its JSON in the dialect of the path that was asked.

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


def error_body(path: str, error: OllamaError) -> dict[str, object]:
    """The JSON of ``error`` for a client of ``path`` (openai.go:225-237, anthropic.go:38-62)."""
    if path == "/v1/messages":
        kind = _ANTHROPIC_TYPES.get(error.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": error.text}, "request_id": "req_simulated"}
    if path.startswith("/v1/"):
        kind = _OPENAI_TYPES.get(error.status, "api_error")
        return {"error": {"message": error.text, "type": kind, "param": None, "code": None}}
    return {"error": error.text}
