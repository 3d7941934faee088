"""The fleet file's section `models`: what is known of some models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from spoe_agent.fleet.called import InstanceName, ModelMatch
from spoe_agent.fleet.section import Section
from spoe_agent.fleet.units import Count, ModelSize, Size, Tokens

Latency = Literal["interactive", "batch"]
"""Who waits for a model's answers: somebody who looks on, or nobody."""


class Shape(Section):
    """What each token takes of GPU memory, from the model's own metadata."""

    cache_per_token: Size
    """Keys and values in f16, of layers that see the whole context: layers x KV heads x (key + value length) x 2."""
    windowed_cache_per_token: Size | None = None
    """The same of the layers with a sliding window."""
    window: Tokens | None = None
    """How many tokens those layers see."""
    batch_per_token: Size | None = None
    """What one layer computes of a token while a prompt is read: 4 x (2 x feed-forward + 4 x embedding length)."""


class ModelDraft(Section):
    """`ModelEntry` with nothing required."""

    match: ModelMatch | None = None
    instances: Annotated[tuple[InstanceName, ...], Field(min_length=1)] | None = None
    """Pins: only these instances serve the model. Left out: any."""
    num_parallel: Count | None = None
    """Slots per instance when Ollama gives this model other than the instance's num_parallel (some families get 1)."""
    vram: ModelSize | None = None
    """Memory the model takes when loaded, if you know it; measured otherwise."""
    size: ModelSize | None = None
    """Its weights on disk, if no instance has it installed yet."""
    shape: Shape | None = None
    """What its context takes; `pointsman plan --write` writes it. Left out: what an Ollama that has it says of it
    (`/api/show`); until one was asked, expected by its size."""
    max_concurrent: Count | None = None
    """Requests of the model that run at a time in the whole fleet; more are held. Left out: as slots allow."""
    priority: Annotated[int, Field(strict=True, ge=-100, le=100)] | None = None
    """Class in the held queue; lower is more urgent. Left out: 0, or what `latency` says."""
    latency: Latency | None = None
    """Who waits for it. interactive: somebody looks on; a request is held for 20s at most, and the model stays loaded
    while no other needs its room. batch: nobody does; a request is held for as long as `queue_timeout` says, in class
    100, and the model goes when its keep_alive is over. Left out: held for `hold_timeout`, kept while asked for."""


class ModelEntry(ModelDraft):
    """What you know of some models. The first entry that matches a model holds."""

    match: ModelMatch
    """A model name as Ollama takes it (llama3 is llama3:latest), or a pattern over name and tag (`llama3.1:*`)."""
