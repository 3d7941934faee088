"""The simulated instances and models of a replay: as they were recorded, and as a fleet file says they would be.

Speeds are one kind of GPU's: how long the recorded requests took is put into their lengths (`fit`), so whatever is
chosen here they take as long as they took. Only how long loads take is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from spoe_agent.fleet import Fleet, Instance
from spoe_agent.replay.recorded import Recorded
from spoe_agent.routing.memory import kv_bytes
from spoe_agent.simulator import GPU_SPEEDS, InstanceProfile, Model
from spoe_agent.simulator.profile import GB

ENDLESS_BYTES = 1 << 50
"""Memory of an instance of which nothing is known: only the number of models bounds what it loads."""

KEEP_ALIVE_S = 300.0
"""Ollama's own."""

_BUFFERS_BYTES = int(0.1 * GB)
"""What simulated models take beside weights and cache."""

_GUESSED_CONTEXT = 4096


def models(recorded: Recorded) -> dict[str, Model]:
    """Return the models that are asked for, by name, as large as they were; unknown ones as routing would take them."""
    sizes, in_memory = recorded.sizes(), recorded.in_memory()
    asked = {one.model for one in recorded.decisions if one.model}
    single = {one.model for one in recorded.decisions if one.embeds}
    found = {}
    for name in sorted(asked | in_memory.keys()):
        size = sizes.get(name, _UNKNOWN_BYTES)
        token_bytes = int(kv_bytes(size, 1, 1))
        if name in in_memory:
            loaded, where = in_memory[name]
            slots = 1 if name in single else where.num_parallel
            cache_bytes = loaded.bytes - size - _BUFFERS_BYTES
            token_bytes = max(1, round(cache_bytes / (slots * (loaded.context_length or _GUESSED_CONTEXT))))
        found[name] = Model(name, size, kv_bytes_per_token=token_bytes, embedding_only=name in single)
    return found


_UNKNOWN_BYTES = 5 * GB


def as_recorded(recorded: Recorded) -> dict[str, InstanceProfile]:
    """Return the instances as they were, by name. What left by itself is not known: nothing does."""
    found = {}
    for known in recorded.known:
        for name, one in known.instances.items():
            contexts = [loaded.context_length for loaded in one.loaded.values() if loaded.context_length]
            found[name] = InstanceProfile(
                vram_bytes=ENDLESS_BYTES if one.vram_bytes is None else one.vram_bytes,
                gpu=GPU_SPEEDS["a100"],
                num_parallel=one.num_parallel,
                max_loaded_models=one.max_loaded_models,
                keep_alive_s=math.inf,
                context_length=max(contexts, default=_GUESSED_CONTEXT),
            )
    return found


def as_in(fleet: Fleet, was: Mapping[str, InstanceProfile]) -> dict[str, InstanceProfile]:
    """Return the instances as the fleet file says, by name. `was`: the recorded ones, for how fast they load, and for
    the context that an Ollama chose itself.
    """
    like = next(iter(was.values()))
    return {one.name: _instance(one, was.get(one.name, like)) for one in fleet.instances}


def _instance(one: Instance, like: InstanceProfile) -> InstanceProfile:
    keep_alive_s = one.ollama.keep_alive
    if keep_alive_s is None:
        keep_alive_s = KEEP_ALIVE_S
    return replace(
        like,
        vram_bytes=ENDLESS_BYTES if one.vram_bytes is None else one.vram_bytes,
        num_parallel=one.num_parallel,
        max_loaded_models=one.max_loaded_models,
        keep_alive_s=math.inf if keep_alive_s < 0 else keep_alive_s,
        context_length=one.ollama.context_length or like.context_length,
    )
