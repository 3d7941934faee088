"""Which context (tokens per slot) models are loaded with at one instance when nobody asks for any, as its list of
loaded models shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from spoe_agent.agent.account import Account
from spoe_agent.agent.grant import Ledger
from spoe_agent.routing.snapshot import Health, InstanceState

_MAY_CHANGE = frozenset({Health.DOWN, Health.DRAINED})
"""An instance with nothing loaded may come back with other settings."""


@dataclass(slots=True)
class Contexts:
    """What was seen of one instance. Mappings are replaced, not changed: they are given out as they are."""

    own: Mapping[str, int] = field(default_factory=dict)
    """What models were last loaded with unasked."""
    shown: Mapping[str, int] = field(default_factory=dict)
    """What the last list said of those that are loaded."""
    usual: int | None = None
    """What most models are loaded with unasked; of contexts that as many have, the larger."""

    def read(self, state: InstanceState, account: Account | None, at_s: float) -> InstanceState:
        """Take readings of a moment, which the instance's account has yet to take, and return them with what is known.

        A model that is listed anew, or with another context than before, was loaded since, and so was one that a
        request of ours was to load; unless a request asked for its context, it has that by itself.
        """
        if not state.loaded and state.health in _MAY_CHANGE:
            self.forget()
        loaded = {model: here.context_length for model, here in state.loaded.items()}
        anew = {model for model, context in loaded.items() if self.shown.get(model) != context}
        if account is not None:
            anew.update(account.loaded_by(state, at_s))
            anew = {model for model in anew if not account.asked_for(model, loaded[model])}
        found = {model: loaded[model] for model in anew if loaded[model]}
        self.take({**self.own, **found} if found.items() - self.own.items() else self.own, loaded)
        if state.own_contexts == self.own and state.usual_context == self.usual:
            return state
        return replace(state, own_contexts=self.own, usual_context=self.usual)

    def take(self, own: Mapping[str, int], shown: Mapping[str, int]) -> None:
        """Know this."""
        self.shown = shown
        if own is not self.own:
            counts = Counter(own.values())
            self.usual = max(counts, key=lambda context: (counts[context], context)) if counts else None
            self.own = own

    def forget(self) -> None:
        """It may be started with other settings."""
        self.take({}, {})


class ContextsByInstance:
    """What was seen of all instances."""

    def __init__(self) -> None:
        self._seen: dict[str, Contexts] = {}
        self.own: Mapping[str, int] = {}
        """Contexts that models have by themselves: not what most have on the same instance."""

    def read(self, instance: str, state: InstanceState, account: Account | None) -> InstanceState:
        """Take an instance's readings before its account does; see Contexts."""
        if state.loaded_at_s is None:
            return state
        seen = self._seen.setdefault(instance, Contexts())
        before = seen.own
        state = seen.read(state, account, state.loaded_at_s)
        if seen.own is not before:
            self._compare()
        return state

    def _compare(self) -> None:
        own = {m: has for seen in self._seen.values() for m, has in seen.own.items() if has != seen.usual}
        if own != self.own:
            # Decisions take what they worked out for the same as long as this is the same object.
            self.own = own

    def forget(self, instance: str) -> None:
        """The instance is another server now."""
        self._seen.pop(instance, None)
        self._compare()

    def noted(self, ledgers: Mapping[str, Ledger]) -> dict[str, Ledger]:
        """Return the ledgers with what was seen of each instance."""
        return {
            **ledgers,
            **{
                name: replace(ledgers.get(name, Ledger()), own_contexts=seen.own, shown_contexts=seen.shown)
                for name, seen in self._seen.items()
            },
        }

    def take(self, instance: str, ledger: Ledger) -> None:
        """Go on where an agent before this one was."""
        self._seen.setdefault(instance, Contexts()).take(ledger.own_contexts, ledger.shown_contexts)
        self._compare()
