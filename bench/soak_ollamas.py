"""The Ollamas of `bench.soak`: what is loaded where, who is down. They evict what was used least lately."""

from __future__ import annotations

from collections.abc import Sequence

from spoe_agent.routing import Health, InstanceState, LoadedModel

GIB = 1024**3
DOWN_S = 10.0


class Ollamas:
    """Instances that all have the same models. Times are virtual seconds."""

    def __init__(self, names: Sequence[str], models: Sequence[str], max_loaded: int) -> None:
        self._models = models
        self._max_loaded = max_loaded
        self._down_until_s = dict.fromkeys(names, -1.0)
        self._loaded: dict[str, dict[str, float]] = {name: {} for name in names}

    def is_up(self, name: str, now_s: float) -> bool:
        """Tell whether an instance takes connections."""
        return now_s >= self._down_until_s[name]

    def use(self, name: str, model: str, now_s: float) -> None:
        """A request for a model came to an instance."""
        loaded = self._loaded[name]
        loaded[model] = now_s
        if len(loaded) > self._max_loaded:
            del loaded[min(loaded, key=lambda other: loaded[other])]

    def die(self, name: str, now_s: float) -> None:
        """An instance is gone for a while, and all that it had loaded."""
        self._down_until_s[name] = now_s + DOWN_S
        self._loaded[name] = {}

    def state(self, name: str, now_s: float) -> InstanceState:
        """Return what a poll of an instance brings."""
        health = Health.UP if self.is_up(name, now_s) else Health.DOWN
        loaded = {model: LoadedModel(6 * GIB, 6 * GIB, 4096) for model in self._loaded[name]}
        return InstanceState(health, loaded, now_s, dict.fromkeys(self._models, 5 * GIB), now_s)
