"""How long things take and how much room they need: what was learned, else priors from sizes.

Lives here: priors, each with its source, used until something better is known.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp

from spoe_agent.routing.memory import RUNNER_BYTES, Footprint, ModelShape, footprint
from spoe_agent.routing.snapshot import InstanceState, Learned, Snapshot
from spoe_agent.routing.specs import InstanceSpec, ModelRule

GIB = 1024**3

UNKNOWN_WEIGHTS_BYTES = 5_000_000_000
"""An 8B model at 4 bits, the commonest: used when no instance lists a size."""

UNKNOWN_CONTEXT = 4096
"""Tokens per slot on an instance of which nothing is known. Ollama may choose 262,144 by the GPUs' memory
(server/routes.go:2048), but the first model that is loaded there tells, and with that as a prior nothing would seem to
fit: in `python -m bench.policies --arm pointsman-blind`, F2 0.30, the mean TTFT was 11 % more."""

_LOAD_START_S = 0.7
_LOAD_BYTES_PER_S = 7.5e9
_DISK_BYTES_PER_S = 1.4e9
_GPU_BYTES_PER_S = 0.8e12
_STEP_OVERHEAD_S = 0.0012
_TYPICAL_OUTPUT_TOKENS = 200
_TYPICAL_PREFILL_S = 0.3
_PREFILL_TOKEN_BYTES_PER_S = 29e12
_BYTES_PER_TOKEN = 4

ALIKE_SLOWDOWN = 0.3
"""Part of its time by which a request grows with each further one of the same model: 0.14 to 0.16 of a decode step
(llama.cpp), and all of it while both read their prompts. With 0.15 first tokens came 4 % later than by leastconn where
every model fits everywhere, with 0.3 2 %."""

SOON_S = 60.0
"""A victim that is wanted again within this time went in vain. Shorter than keep_alive, so that of two models that
are both wanted within five minutes the one that is wanted sooner stays; 30 to 60 did best in `python -m bench.policies`
where models do not fit."""

AGAIN_WITHIN_S = 300.0
"""A model that is wanted within this time would still have been loaded: Ollama's default keep_alive."""

STAYS_S = 3600.0
"""A copy that no other model will ever need the room of stays as long as it is used; so long its gains count."""

WANTED = 0.1
"""Requests within Ollama's default keep_alive, from which on a model is one of those that are in use."""

UNLOAD_S = 3.2
"""Ollama waits so long for the memory of a model that goes while others stay: 5 s in 150 of 243 cases, else 0.25 to
0.5. Not for the first that it was asked to unload before the load."""

EMPTY_S = 1.7
"""Before a load on an empty instance a process of its own looks for GPUs: 1.0 to 2.4 s. It is no part of any cost: what
is saved once is no reason to crowd an instance for as long as its models stay."""

EMPTIED_S = 1.0
"""The same after the last model was unloaded just now."""


def weights_bytes(model: str, rule: ModelRule, snapshot: Snapshot) -> int:
    """Return the model's size on disk: the fleet file's word, else what any instance lists."""
    if rule.size_bytes is not None:
        return rule.size_bytes
    listed = (state.installed.get(model) for state in snapshot.instances.values())
    return next((size for size in listed if size), UNKNOWN_WEIGHTS_BYTES)


def vram_bytes(
    model: str, rule: ModelRule, weights: int, spec: InstanceSpec, state: InstanceState, context: int | None = None
) -> int:
    """Return what the model takes when loaded on this instance, with the context asked for (tokens per slot).

    In order: the fleet file's word, what `/api/ps` shows here, and a prior: weights + the key-value cache of every
    slot (`memory`, by the model's shape where that is known). All as `/api/ps` says it, without RUNNER_BYTES.
    """
    if rule.vram_bytes is not None:
        return rule.vram_bytes
    here, slots, element = state.loaded.get(model), rule.slots(spec.num_parallel), spec.cache_element_bytes
    if here is None:
        return _cold(weights, context or UNKNOWN_CONTEXT, slots, element, rule.shape).shown
    if not context or not here.context_length:
        return here.size_bytes
    asked, has = (_cold(weights, tokens, slots, element, rule.shape) for tokens in (context, here.context_length))
    return max(weights, here.size_bytes + asked.shown - has.shown)


def least_vram_bytes(rule: ModelRule, weights: int) -> int:
    """Return what the model needs at the very least: the fleet file's word, else its weights.

    The key-value cache is left out: its prior is rough, and Ollama shrinks the context before it gives up.
    """
    return rule.vram_bytes if rule.vram_bytes is not None else weights + RUNNER_BYTES


@lru_cache(maxsize=4096)
def _cold(weights: int, context: int, slots: int, element_bytes: float, shape: ModelShape | None) -> Footprint:
    return footprint(weights, context, slots, element_bytes, shape)


def load_s(learned: Learned, model: str, spec: InstanceSpec, weights: int) -> float:
    """Return the seconds a load takes there once it has begun, from the page cache or from disk."""
    if learned.cached is not None and (model, spec.store) not in learned.cached:
        return learned.from_disk.get(spec.store, 1.0) * disk_load_s(weights)
    known = learned.load_s.get((model, spec.name))
    return known if known is not None else usual_load_s(learned, model, weights)


def usual_load_s(learned: Learned, model: str, weights: int) -> float:
    """Return the seconds a load from the page cache takes on an instance that has not loaded the model yet.

    Prior: process start and warm-up, then the weights at 7.5 GB/s (H100, models of 1 to 18 GB).
    """
    known = learned.usual_load_s.get(model)
    return known if known is not None else _LOAD_START_S + weights / _LOAD_BYTES_PER_S


def disk_load_s(weights: int) -> float:
    """Return a prior for a load of a file that was not read lately: 12 GB took 9.1 s, 4.1 GB 3.3 s."""
    return _LOAD_START_S + weights / _DISK_BYTES_PER_S


def service_s(learned: Learned, model: str, instance: str, weights: int) -> float:
    """Return the seconds a request runs once it has a slot: learned there, else elsewhere, else the prior."""
    known = learned.service_s.get((model, instance))
    return known if known is not None else usual_service_s(learned, model, weights)


def usual_service_s(learned: Learned, model: str, weights: int) -> float:
    """Return the seconds a request runs on an instance that has not run the model yet.

    Prior: the weights are read for every token.
    """
    known = learned.usual_service_s.get(model)
    if known is not None:
        return known
    return _TYPICAL_PREFILL_S + _TYPICAL_OUTPUT_TOKENS * (weights / _GPU_BYTES_PER_S + _STEP_OVERHEAD_S)


def prefill_s(weights: int, body_bytes: int) -> float:
    """Return the seconds until the prompt is read: 4 bytes a token, 29,000 GB x tokens / s (A100, llama.cpp)."""
    return body_bytes / _BYTES_PER_TOKEN * weights / _PREFILL_TOKEN_BYTES_PER_S


def wanted_again(learned: Learned, model: str, within_s: float) -> float:
    """Return the chance that a model is asked for within a time, arrivals being independent (Poisson)."""
    if learned.rate_per_s is None:
        return 1.0
    return 1.0 - exp(-learned.rate_per_s.get(model, 0.0) * within_s)
