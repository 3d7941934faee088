"""Ollama's own words for requests that name no model, or one that nobody has: they differ from path to path.

What Ollama 0.33 answered, asked each; clients match on these texts.
"""

from __future__ import annotations

from dataclasses import dataclass

from spoe_agent.routing.surface import DESCRIBE_PATH, FORM_PATH, path_model


@dataclass(frozen=True, slots=True)
class Words:
    """What callers of one path are told. `{}` stands for the model as they wrote it."""

    struct: str
    """The type of Go that Ollama reads the body into, with its package."""
    unknown: str = "model '{}' not found"
    nameless: str = ""
    """Said with 404, of a name without a letter; where it is empty, that is 400 "model is required"."""
    nothing: str = "EOF"
    """Of an empty body."""
    is_short: bool = False
    """Names are told in their shortest form (names.shortest), not as they were written."""
    takes_name: bool = False
    """`name` stands in for an empty `model`."""
    is_form: bool = False
    """The body is a form with parts, not JSON."""

    def about(self, fault: str, found: str) -> str:
        """Return Go's text on a body (of requests.body.BodyFault), or "" where it has none.

        Args:
            found: Go's word for what is there instead: `number`, `bool`, `array`, ...
        """
        if fault == "nothing":
            return self.nothing
        if not found:
            return ""
        struct = self.struct.partition(".")[2]
        return {
            "mistyped": f"json: cannot unmarshal {found} into Go struct field {struct}.model of type string",
            "no object": f"json: cannot unmarshal {found} into Go value of type {self.struct}",
        }.get(fault, "")


NAMELESS = "model '{}' not found"
PULL_FIRST = 'model "{}" not found, try pulling it first'
NOTHING = "missing request body"

SHOW = Words("api.ShowRequest", nothing=NOTHING, is_short=True, takes_name=True)
WORDS = {
    "/api/generate": Words("api.GenerateRequest", nameless=NAMELESS, nothing=NOTHING),
    "/api/chat": Words("api.ChatRequest", nothing=NOTHING),
    "/api/embed": Words("api.EmbedRequest", PULL_FIRST, NAMELESS, NOTHING),
    "/api/embeddings": Words("api.EmbeddingRequest", PULL_FIRST, nothing=NOTHING),
    DESCRIBE_PATH: SHOW,
    "/v1/chat/completions": Words("openai.ChatCompletionRequest"),
    "/v1/completions": Words("openai.CompletionRequest", nameless=NAMELESS),
    "/v1/embeddings": Words("openai.EmbedRequest", PULL_FIRST, NAMELESS),
    "/v1/responses": Words("openai.ResponsesRequest"),
    "/v1/messages": Words("anthropic.MessagesRequest"),
    FORM_PATH: Words("openai.TranscriptionRequest", is_form=True),
}


USUAL = WORDS["/api/chat"]


def words_of(path: str) -> Words:
    """Return the words for a path that names a model, in its body or itself."""
    return SHOW if path_model(path) else WORDS.get(path, USUAL)
