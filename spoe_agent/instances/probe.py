"""One request of one token, to see whether an instance answers prompts.

It asks for what is loaded, with the context it is loaded with: Ollama reloads a model for another one. It sets no
keep_alive, so the model stays as long as its users want.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import aiohttp

from spoe_agent.instances.http import Remote
from spoe_agent.routing.names import display, is_cloud
from spoe_agent.routing.snapshot import InstanceState

MAX_REASON = 120


class Target(NamedTuple):
    """What to probe with."""

    model: str
    context_length: int
    is_cold: bool
    """The model must be loaded first."""


def target(state: InstanceState, of_loads: bool, silent: str = "") -> Target | None:
    """Return the model to probe with, or None when no probe would tell.

    The one that is silent, else the smallest that is loaded. One that is not loaded only where nothing is: it evicts
    nobody, and nothing else would tell. `of_loads`: what is in doubt is loading, of which a loaded model says nothing.
    """
    if state.loaded:
        if of_loads:
            return None
        name = (
            silent if silent in state.loaded else min(state.loaded, key=lambda key: (state.loaded[key].size_bytes, key))
        )
        return Target(name, state.loaded[name].context_length, False)
    local = {name: size for name, size in state.installed.items() if size and not is_cloud(name)}
    return Target(min(local, key=lambda key: (local[key], key)), 0, True) if local else None


async def probe(session: aiohttp.ClientSession, remote: Remote, what: Target, deadline_s: float) -> str:
    """Ask for one token. Return "" when it was answered, else what went wrong."""
    name = display(what.model)
    options = {"num_predict": 1} | ({"num_ctx": what.context_length} if what.context_length else {})
    asked = {"model": name, "prompt": ".", "stream": False, "options": options}
    try:
        async with asyncio.timeout(deadline_s):
            failure = await _post(session, remote, "/api/generate", asked)
            if "does not support generate" in failure:  # an embedding model (server/routes.go GenerateHandler)
                embed = {"model": name, "input": ".", "options": {k: v for k, v in options.items() if k == "num_ctx"}}
                failure = await _post(session, remote, "/api/embed", embed)
    except TimeoutError:
        return f"{name} gave no token within {deadline_s:.0f} s"
    return f"{name} {failure}" if failure else ""


async def _post(session: aiohttp.ClientSession, remote: Remote, path: str, body: object) -> str:
    try:
        async with remote.post(session, path, body) as answer:
            text = await answer.text(errors="replace")
    except (OSError, aiohttp.ClientError) as error:
        return f"{error or type(error).__name__}"[:MAX_REASON]
    return "" if answer.status == 200 else f"answered {answer.status}: {text[:MAX_REASON]}"
