"""Which context (tokens per slot) a model is loaded with where a request asks for none."""

from __future__ import annotations

from spoe_agent.routing.snapshot import InstanceState, Snapshot
from spoe_agent.routing.specs import InstanceSpec


def unasked(spec: InstanceSpec, state: InstanceState, snapshot: Snapshot, model: str) -> int | None:
    """Return the context that Ollama gives the model on this instance by itself; None: nothing tells.

    In order: what it was loaded with there before when nobody asked for any; what it has elsewhere although that is
    not the instance's usual (`PARAMETER num_ctx` in its Modelfile, or trained for less); the instance's own setting,
    which is the fleet file's word, else what most models are loaded with there, cut to what it was trained for.
    """
    own = state.own_contexts.get(model) or snapshot.own_contexts.get(model)
    if own is not None:
        return own
    usual = spec.context_length or state.usual_context
    return None if usual is None else min(usual, snapshot.trained.get(model, usual))
