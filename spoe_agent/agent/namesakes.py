"""Names over one set of weights: Ollama serves copies of a model (`ollama cp`) by one runner, and `/api/ps` shows it
under the name that was asked for first. To routing they are one model, which goes by one of these names.

Told apart by the digest in `/api/tags`, which is of the manifest. Variants made from a Modelfile have others, though
their weights are the same: they count as models of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from spoe_agent.routing import RequestFacts

T = TypeVar("T")


class Namesakes:
    """What every instance's list says of names. Names are joined where the same instances have all of them."""

    def __init__(self) -> None:
        self._digests: dict[str, Mapping[str, str]] = {}
        self._known: frozenset[str] = frozenset()
        """Names that were listed before: what was learned under one stays known when it is copied."""
        self._runners: dict[str, str] = {}

    def read(self, instance: str, digests: Mapping[str, str]) -> None:
        """Take an instance's list: digests by canonical key; "" is of nothing."""
        if self._digests.get(instance) != digests:
            self._digests[instance] = digests
            self._join()

    def forget(self, instance: str) -> None:
        """An instance is not in the fleet any more."""
        if self._digests.pop(instance, None) is not None:
            self._join()

    def runner(self, model: str) -> str:
        """Return the name that routing has for a model."""
        return self._runners.get(model, model)

    def identify(self, facts: RequestFacts) -> RequestFacts:
        """Return a request's facts with that name, where it is another than was asked for."""
        runner = self._runners.get(facts.model or "", "")
        return facts if runner == facts.namesake else replace(facts, namesake=runner)

    def joined(self, models: Mapping[str, T]) -> Mapping[str, T]:
        """Return what is known by model with the names that routing has for them."""
        if self._runners.keys().isdisjoint(models):
            return models
        return {self.runner(model): about for model, about in models.items()}

    def _join(self) -> None:
        found: dict[str, dict[str, str]] = {}
        for instance, digests in self._digests.items():
            for model, digest in digests.items():
                found.setdefault(model, {})[instance] = digest
        alike: dict[tuple[str, frozenset[str]], list[str]] = {}
        for model, where in found.items():
            digest, *others = set(where.values())
            if digest and not others:
                alike.setdefault((digest, frozenset(where)), []).append(model)
        runners: dict[str, str] = {}
        for models in alike.values():
            before = [name for name in map(self.runner, self._known.intersection(models)) if name in models]
            runners.update(dict.fromkeys(models, min(before or models)))
        self._runners = {model: runner for model, runner in runners.items() if model != runner}
        self._known = frozenset(found)
