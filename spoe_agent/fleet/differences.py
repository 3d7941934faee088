"""What differs between two fleets, in the words of the fleet file."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from spoe_agent.fleet.resolved import Fleet

OF_THE_URL = ("host", "port", "has_tls", "prefix", "onward")
"""What an instance has from its `url` alone."""

WORKED_OUT = ("context_length", "says")
"""What it has from other keys, or from other instances."""

OWN_LISTENERS = ("spop", "log", "check", "admin", "door")
"""Listeners that the agent itself opens, at its start only."""


def differences(old: Fleet, new: Fleet) -> tuple[str, ...]:
    """Return what changed, one entry for each key or instance; empty: nothing."""
    return tuple([*_instances(old, new), *_keys(old, new, leave_out=("instances",))])


def needing_restart(old: Fleet, new: Fleet) -> tuple[str, ...]:
    """Return the keys that a running agent cannot follow."""
    return tuple(f"listeners.{key}" for key in OWN_LISTENERS if _of(old, key) != _of(new, key))


def with_listeners_of(old: Fleet, new: Fleet) -> Fleet:
    """Return the new fleet as an agent with the old one's sockets can have it."""
    kept = {key: _of(old, key) for key in OWN_LISTENERS}
    return new.model_copy(update={"listeners": new.listeners.model_copy(update=kept)})


def _of(fleet: Fleet, key: str) -> object:
    return getattr(fleet.listeners, key)


def _instances(old: Fleet, new: Fleet) -> Iterator[str]:
    before, after = ({one.name: one for one in fleet.instances} for fleet in (old, new))
    yield from (f"instance {name} added" for name in after if name not in before)
    yield from (f"instance {name} removed" for name in before if name not in after)
    for name in before.keys() & after.keys():
        if before[name] != after[name]:
            one, other = before[name], after[name]
            keys = list(_keys(one, other, leave_out=(*OF_THE_URL, *WORKED_OUT))) or sorted(one.says ^ other.says)
            yield f"instance {name} changed: {', '.join(keys or WORKED_OUT[:1])}"
    if list(before) != list(after) and before.keys() == after.keys():
        yield "order of instances"


def _keys(old: BaseModel, new: BaseModel, leave_out: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the keys whose values differ, each as deep as there are sections."""
    for key in type(new).model_fields:
        one, other = getattr(old, key), getattr(new, key)
        if one == other or key in leave_out:
            continue
        if isinstance(one, BaseModel) and isinstance(other, BaseModel):
            yield from (f"{key}.{inner}" for inner in _keys(one, other))
        else:
            yield key
