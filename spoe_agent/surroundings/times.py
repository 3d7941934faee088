"""Whether each time is long enough for what happens within it: the chain from a client's patience down to a load.

client ── response_timeout ──▶ Ollama is silent: waits for room, loads (load_timeout without progress), reads the prompt
   └─ hold_timeout: for a slot; within it a busy model gives way ─┘    queue_timeout: the same, where nothing is held
"""

from __future__ import annotations

from collections.abc import Iterator

from spoe_agent.agent.reservations import PATIENCE_S
from spoe_agent.fleet import Fleet, Instance
from spoe_agent.fleet.units import duration
from spoe_agent.surroundings.remark import Remark, note
from spoe_agent.surroundings.seen import Seen

LOAD_S = 300.0
"""Ollama's own OLLAMA_LOAD_TIMEOUT (envconfig/config.go)."""


def chain(seen: Seen) -> Iterator[Remark]:
    """No outer time is shorter than what it must cover."""
    yield from _loads(seen.fleet)
    yield from _holding(seen.fleet)
    yield from _staying(seen.fleet)


def _loads(fleet: Fleet) -> Iterator[Remark]:
    policies = fleet.policies
    response, stall = policies.response_timeout, policies.health.load_stall
    short = [one.name for one in fleet.instances if response < _load_s(one)]
    if short:
        load = duration(max(map(_load_s, fleet.instances)))
        who = f"{', '.join(short)} may load for {load} without progress"
        text = f"{duration(response)} of silence end a request, and {who}"
        hint = f"write more than {load}, or a shorter ollama.load_timeout: a load ends with whoever waits for it"
        yield note(text, hint, ("policies", "response_timeout"))
    elif response <= stall:
        text = (
            f"{duration(response)} of silence end a request before a load that hangs is looked into ({duration(stall)})"
        )
        yield note(text, "write more, or a shorter health.load_stall", ("policies", "response_timeout"))
    queued = [one.name for one in fleet.instances if policies.queue_timeout < _load_s(one)]
    if not policies.hold_timeout and queued:
        who = f"{', '.join(queued)} may load for longer"
        text = f"{duration(policies.queue_timeout)} in the queue end a request, and {who}"
        yield note(text, "write more, or a hold_timeout: then nobody queues there", ("policies", "queue_timeout"))


def _load_s(instance: Instance) -> float:
    """Return how long a load may make no progress; 0: nothing ends it, and nothing outside can cover that."""
    said = instance.ollama.load_timeout
    return LOAD_S if said is None else max(0.0, said)


def _holding(fleet: Fleet) -> Iterator[Remark]:
    hold = fleet.policies.hold_timeout
    if 0 < hold <= PATIENCE_S:
        text = f"{duration(hold)} are over before a busy model gives way to others ({duration(PATIENCE_S)})"
        yield note(text, "write 60s, or what your clients can wait", ("policies", "hold_timeout"))
    for index, one in enumerate(fleet.models):
        if one.latency is not None and not hold:
            text = f"{one.match} is {one.latency}, and no request is held: that says only whether it stays loaded"
            yield note(text, "write a hold_timeout, 60s for one", ("models", index, "latency"))


def _staying(fleet: Fleet) -> Iterator[Remark]:
    age = fleet.policies.poll.max_age
    for index, one in enumerate(fleet.instances):
        stays = one.ollama.keep_alive
        if stays is not None and 0 <= stays < age:
            text = f"models are gone after {duration(stays)} without a request, readings count for {duration(age)}"
            hint = "nearly every request loads: write 5m, as Ollama has it, or more"
            yield note(text, hint, ("instances", index, "ollama", "keep_alive"))
