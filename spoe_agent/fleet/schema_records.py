"""The fleet file's sections on what is recorded of requests: decision log, traces."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from spoe_agent.fleet.section import Section
from spoe_agent.fleet.units import AbsolutePath, Count, Size


class DecisionLogPolicy(Section):
    """A file with every request: all that was weighed for it, and how it ended. `pointsman replay` runs it again."""

    file: AbsolutePath | None = Field(default=None, examples=["/var/lib/pointsman/decisions.jsonl"])
    """Where: lines of JSON, which only the agent's user and group can read. Nothing of a prompt, no key. Left out: none
    is written. Only the agent behind HAProxy writes it."""
    max_size: Annotated[Size, Field(ge=64 << 10, examples=["100MiB"])] = Field(default="100MiB", validate_default=True)
    """From here on the file is put aside as FILE.1, that one as FILE.2, and a new one is begun."""
    keep: Count = 5
    """So many files that were put aside; older ones are deleted."""


class TracesPolicy(Section):
    """A span of OpenTelemetry for each decision, as a part of the client's own trace (its header `traceparent`)."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/]+$", examples=["http://127.0.0.1:4318"])] | None = None
    """A collector that takes OTLP over HTTP: its address, without `/v1/traces`. Left out: there are no spans, and
    HAProxy does not tell the agent of the header; Ollama gets it in any case."""
