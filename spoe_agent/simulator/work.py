"""What goes into the scheduler core and what comes out: work and events, as frozen values.

All times are seconds of the simulation's own clock. Nothing here acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from spoe_agent.simulator.catalog import Model

RUNNER_STOPPED = "model runner has unexpectedly stopped, this may be due to resource limitations"
QUEUE_FULL = "server busy, please try again.  maximum pending requests exceeded"
"""Ollama's ErrMaxQueue, two spaces included (sched.go)."""


class Task(Enum):
    """What a request asks of the runner."""

    GENERATE = "generate"
    EMBED = "embed"
    PRELOAD = "preload"
    """An empty prompt: load the model, answer done_reason "load"."""
    UNLOAD = "unload"
    """An empty prompt with keep_alive 0: answered at once, done when the runner is idle."""


@dataclass(frozen=True, slots=True)
class Work:
    """One request, reduced to what costs time or memory. ``id`` must be unique among requests in flight."""

    id: int
    model: Model
    kind: Task = Task.GENERATE
    prompt_tokens: int = 1
    output_tokens: int = 1
    num_ctx: int | None = None
    """options.num_ctx; None takes the model's own, or the instance's context length."""
    runner_options: tuple[tuple[str, int | bool], ...] = ()
    """The other options that a runner is started with, in order: others need another start (api/types.go:587-596)."""
    keep_alive_s: float | None = None
    """0 unloads when idle, ``math.inf`` keeps forever, None leaves the runner's value as it is."""
    session: str | None = None
    """Requests of one session extend the same prompt, so a slot that served it last has most of it cached."""


@dataclass(frozen=True, slots=True)
class Durations:
    """The figures of Ollama's last chunk. ``load_s`` runs from arrival until a runner was obtained."""

    total_s: float
    load_s: float
    prompt_eval_s: float
    eval_s: float


class UnloadReason(Enum):
    """Why a runner went away."""

    EVICTED = "evicted"
    RELOAD = "reload"
    EXPIRED = "expired"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class LoadStarted:
    """A runner is being started for request ``id``."""

    at_s: float
    id: int
    model: Model


@dataclass(frozen=True, slots=True)
class LoadFinished:
    """The runner that was started for request ``id`` is ready."""

    at_s: float
    id: int
    model: Model
    load_s: float


@dataclass(frozen=True, slots=True)
class LoadAborted:
    """The client that caused the load left, so the load was thrown away (llama_server.go:1300)."""

    at_s: float
    id: int
    model: Model


@dataclass(frozen=True, slots=True)
class UnloadStarted:
    """A runner was stopped; its memory comes back after the recovery time."""

    at_s: float
    model: Model
    reason: UnloadReason


@dataclass(frozen=True, slots=True)
class FirstToken:
    """Prefill is done and the first token exists."""

    at_s: float
    id: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The request was served to its end."""

    at_s: float
    id: int
    kind: Task
    durations: Durations
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """The request was refused at arrival."""

    at_s: float
    id: int
    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The client left and the request's place was freed."""

    at_s: float
    id: int


Event = LoadStarted | LoadFinished | LoadAborted | UnloadStarted | FirstToken | Finished | Rejected | Cancelled


@dataclass(frozen=True, slots=True)
class RunningModel:
    """One line of /api/ps."""

    model: Model
    size_bytes: int
    size_vram_bytes: int
    num_ctx: int
    expires_at_s: float
    """``math.inf`` when kept forever; may lie in the past while requests run, as in Ollama."""
