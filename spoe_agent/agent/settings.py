"""What instances really run with, where it is not what the fleet file says: how many requests a model serves at a time
(OLLAMA_NUM_PARALLEL), and how many models stay loaded (OLLAMA_MAX_LOADED_MODELS).

What a running process was started with is the surest, then what it does, then the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

from spoe_agent.agent.ending import Ending
from spoe_agent.agent.grant import Grant
from spoe_agent.agent.streams import Streams
from spoe_agent.routing.specs import FleetSpec, InstanceSpec

BELIEVED_S = 3600.0
"""How long evictions are taken for the instance's own limit: they may have had another cause."""


class Started(NamedTuple):
    """What a process was started with. None: it does not tell."""

    num_parallel: int | None = None
    max_loaded_models: int | None = None


@dataclass(slots=True)
class _Known:
    """Of one instance."""

    streams: Streams
    started: Started
    keeps: int | None = None
    """Models that it kept loaded when it let others go."""
    keeps_until_s: float = -inf


class Settings:
    """Of all instances. Times are monotonic seconds."""

    def __init__(self, fleet: FleetSpec) -> None:
        self._said: dict[str, InstanceSpec] = {}
        self._known: dict[str, _Known] = {}
        self.adopt(fleet)

    def adopt(self, fleet: FleetSpec) -> None:
        """Take what a fleet file says. An instance of which it says what it said before is known as before."""
        before, self._said = self._said, {spec.name: spec for spec in fleet.instances}
        stay = {name for name, spec in self._said.items() if name in before and _same(before[name], spec)}
        self._known = {name: self._known[name] if name in stay else _new(spec) for name, spec in self._said.items()}

    def forget(self, instance: str) -> None:
        """Another process may be there now."""
        if instance in self._said:
            self._known[instance] = _new(self._said[instance])

    def started(self, instance: str, started: Started) -> None:
        """Take what an instance's process was started with."""
        if instance in self._known:
            self._known[instance].started = started

    def keeps(self, instance: str, models: int, now_s: float) -> None:
        """Take how many models an instance keeps loaded, as evictions that nobody asked for show it."""
        if instance in self._known:
            self._known[instance].keeps, self._known[instance].keeps_until_s = models, now_s + BELIEVED_S

    def ended(self, grant: Grant, ending: Ending, in_flight: Iterable[Grant], now_s: float) -> None:
        """Take a request of a loaded model that ended well, and the grants at its instance that have not ended."""
        if grant.instance in self._known:
            self._known[grant.instance].streams.ended(grant, ending, in_flight, now_s)

    def real(self, name: str, now_s: float) -> InstanceSpec:
        """Return an instance as it really is, as far as that is known."""
        said, known = self._said[name], self._known[name]
        parallel = known.started.num_parallel or known.streams.tries(now_s)
        most = known.started.max_loaded_models or said.max_loaded_models
        if known.keeps is not None and now_s < known.keeps_until_s:
            most = min(most, known.keeps)
        if (parallel, most) == (said.num_parallel, said.max_loaded_models):
            return said
        connections = said.max_connections if "max_connections" in said.says else parallel * most
        return replace(said, num_parallel=parallel, max_loaded_models=most, max_connections=connections)

    def instances(self, limits: Mapping[str, int], now_s: float) -> tuple[InstanceSpec, ...]:
        """Return all instances as they really are, with these limits of connections instead of their own."""
        all_real = [self.real(name, now_s) for name in self._said]
        return tuple(replace(one, max_connections=limits.get(one.name, one.max_connections)) for one in all_real)

    def differences(self, now_s: float) -> Iterator[tuple[str, str]]:
        """Yield where the fleet file says something else: the instance, and a sentence."""
        for name, said in self._said.items():
            known, real = self._known[name], self.real(name, now_s)
            found = known.started.num_parallel
            shown = found or known.streams.believed
            if "num_parallel" in said.says and shown != said.num_parallel:
                how = (
                    f"its process was started with OLLAMA_NUM_PARALLEL={found}"
                    if found
                    else f"{shown} answers came at once"
                )
                yield name, _differs(name, "num_parallel", said.num_parallel, how, shown)
            most = real.max_loaded_models
            if "max_loaded_models" in said.says and most != said.max_loaded_models:
                by_process = most == known.started.max_loaded_models
                how = f"its process was started with OLLAMA_MAX_LOADED_MODELS={most}"
                how = how if by_process else f"it lets models go to keep {most}, though memory is left"
                yield name, _differs(name, "max_loaded_models", said.max_loaded_models, how, most)


def _new(said: InstanceSpec) -> _Known:
    is_sure = "num_parallel" in said.says and said.num_parallel > 1
    return _Known(Streams(said.num_parallel, is_sure), Started())


def _same(one: InstanceSpec, other: InstanceSpec) -> bool:
    return replace(one, max_connections=0) == replace(other, max_connections=0)


def _differs(name: str, key: str, said: int, how: str, real: int) -> str:
    return f"{name}: the fleet file says {key} {said}, but {how}: {real} is used; write {key}: {real}"
