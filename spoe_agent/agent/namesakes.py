"""Names over one set of weights: Ollama serves copies of a model (`ollama cp`) by one runner, and `/api/ps` shows it
under the name that was asked for first. To routing they are one model, which goes by one of these names.

Told apart by the digest in `/api/tags`, which is of the manifest. Variants made from a Modelfile have others, though
their weights are the same: they count as models of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from spoe_agent.routing import RequestFacts

T = TypeVar("T")


class Namesakes:
    """What every instance's list says of names. Names are joined where the same instances have all of them."""

    def __init__(self) -> None:
        self._digests: dict[str, Mapping[str, str]] = {}
        self._lists: tuple[_List, ...] = ()
        """What the names below were worked out from: what was learned under one that was listed stays known when it is
        copied."""
        self._runners: dict[str, str] = {}

    @property
    def digests(self) -> Mapping[str, Mapping[str, str]]:
        """Of the models in each instance's list, by canonical key."""
        return self._digests

    def read(self, instance: str, digests: Mapping[str, str]) -> None:
        """Take an instance's list: digests by canonical key; "" is of nothing."""
        before = self._digests.get(instance)
        if before is not digests and before != digests:
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
        """Most names are nobody's namesakes, and instances that share a store share the list too."""
        before = {id(one.digests): one for one in self._lists}
        lists = {id(digests): digests for digests in self._digests.values()}
        now = tuple(before.get(number) or _List(digests) for number, digests in lists.items())
        alike: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        for model in {model for one in now for model in one.doubled}:
            where = tuple(number for number, one in enumerate(now) if model in one.digests)
            digest, *others = {now[number].digests[model] for number in where}
            if digest and not others:
                alike.setdefault((digest, where), []).append(model)
        runners: dict[str, str] = {}
        for models in alike.values():
            listed = [model for model in models if any(model in one.digests for one in self._lists)]
            kept = [name for name in map(self.runner, listed) if name in models]
            runners.update(dict.fromkeys(models, min(kept or models)))
        self._runners = {model: runner for model, runner in runners.items() if model != runner}
        self._lists = now


class _List:
    """The list of a store."""

    def __init__(self, digests: Mapping[str, str]) -> None:
        self.digests = digests
        times = Counter(digests.values())
        self.doubled = [model for model, digest in digests.items() if times[digest] > 1]
        """Names whose digest others have too."""
