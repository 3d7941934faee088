"""From a decoded request body to work for the scheduler, the same for all dialects.

Here: keep_alive, options, token counts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count

from spoe_agent.simulator.catalog import Model
from spoe_agent.simulator.errors import OllamaError
from spoe_agent.simulator.go_json import duration_s, fold, string
from spoe_agent.simulator.work import Task, Work

_RUNNER_OPTIONS = ("main_gpu", "num_batch", "num_gpu", "num_thread", "use_mmap")

_ids = count(1)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client wants."""

    model_text: str
    """The model as the client wrote it: answers echo this, not the canonical name."""
    work: Work
    stream: bool
    stopped_by_limit: bool = False
    """The output is as long as the client allowed: done_reason "length" instead of "stop"."""
    seed: int = 0
    """Of the words in the answer: the same for the same prompt."""


def keep_alive_s(fields: Mapping[str, object]) -> float | None:
    """``keep_alive``: seconds as a number or a Go duration; negative means for ever (api/types.go:1232-1271)."""
    value = fields.get("keep_alive")
    if not isinstance(value, (str, int, float)):
        return None
    return for_ever_if_negative(duration_s(value) if isinstance(value, str) else float(value))


def for_ever_if_negative(seconds: float) -> float:
    """Seconds as Ollama takes them of ``keep_alive`` and OLLAMA_KEEP_ALIVE."""
    return math.inf if seconds < 0 else seconds


def option(fields: Mapping[str, object], name: str) -> int | None:
    """A positive integer out of ``options``; None when missing or when it means "no limit"."""
    options = fields.get("options")
    value = options.get(name) if isinstance(options, dict) else None
    return positive(value)


def runner_options(fields: Mapping[str, object]) -> tuple[tuple[str, int | bool], ...]:
    """What else a runner is started with; a negative num_gpu is the default."""
    options = fields.get("options")
    given = options if isinstance(options, dict) else {}
    kept = ((name, given[name]) for name in _RUNNER_OPTIONS if isinstance(given.get(name), (int, bool)))
    return tuple((name, value) for name, value in kept if name != "num_gpu" or value >= 0)


def positive(value: object) -> int | None:
    """``value`` if it is a number above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 1:
        return None
    return int(value)


def count_tokens(text: str) -> int:
    """Tokens of a text: about four characters each."""
    return max(1, len(text) // 4) if text else 0


def conversation(messages: object) -> tuple[str, str | None]:
    """All text of a list of messages, and a key that stays the same while the conversation goes on."""
    if not isinstance(messages, list):
        return "", None
    texts = [_content(fold(message).get("content")) for message in messages]
    opening = "\n".join(texts[:2]) if _is_system(messages) else "\n".join(texts[:1])
    return "\n".join(texts), digest(opening) if opening else None


def digest(text: str) -> str:
    """A short stable hash."""
    return blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()


def generation(
    model_text: str,
    model: Model,
    prompt: str,
    limit: int | None,
    stream: bool,
    fields: Mapping[str, object],
    session: str | None = None,
) -> Ask:
    """An ask for text. Without a limit the length of the answer is drawn from the hash of the prompt."""
    seed = int(digest(prompt), 16)
    natural_tokens = 20 + seed % 200
    work = Work(
        id=next(_ids),
        model=model,
        prompt_tokens=count_tokens(prompt),
        output_tokens=natural_tokens if limit is None else limit,
        num_ctx=option(fields, "num_ctx"),
        runner_options=runner_options(fields),
        keep_alive_s=keep_alive_s(fields),
        session=session,
    )
    return Ask(model_text, work, stream, stopped_by_limit=limit is not None, seed=seed)


def without_prompt(model_text: str, model: Model, fields: Mapping[str, object]) -> Ask:
    """An empty prompt loads the model, or unloads it when keep_alive is 0 (routes.go:404-415, 478-486)."""
    keep = keep_alive_s(fields)
    work = Work(
        id=next(_ids),
        model=model,
        kind=Task.UNLOAD if keep == 0 else Task.PRELOAD,
        output_tokens=0,
        num_ctx=option(fields, "num_ctx"),
        runner_options=runner_options(fields),
        keep_alive_s=keep,
    )
    return Ask(model_text, work, stream=False)


def embedding(model_text: str, model: Model, inputs: list[str], fields: Mapping[str, object]) -> Ask:
    """An ask for embeddings; without any input, or if the model has none to give, it only loads the model."""
    work = Work(
        id=next(_ids),
        model=model,
        kind=Task.EMBED if inputs and model.embedding_only else Task.PRELOAD,
        prompt_tokens=sum(count_tokens(text) for text in inputs),
        output_tokens=0,
        num_ctx=option(fields, "num_ctx"),
        runner_options=runner_options(fields),
        keep_alive_s=keep_alive_s(fields),
    )
    return Ask(model_text, work, stream=False)


def inputs_of(value: object) -> list[str]:
    """The texts of ``input``: a string, or a list of strings. Raises OllamaError 400 for other types."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return value
    raise OllamaError(400, "invalid input type")


def model_field(fields: Mapping[str, object]) -> str:
    """``model``, or ``name``, which older clients send (cmp.Or in routes.go)."""
    return string(fields, "model") or string(fields, "name")


def _content(value: object) -> str:
    if isinstance(value, str):
        return value
    # Parts of OpenAI and Anthropic messages: their JSON is as long as their text, nearly.
    return "" if value is None else json.dumps(value)


def _is_system(messages: list[object]) -> bool:
    return bool(messages) and fold(messages[0]).get("role") == "system"
