"""What whoever asks may do, and how it counts beside others: what a key says. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from spoe_agent.routing.names import matches

MOST_URGENT = -100
"""The most urgent class of the held queue that a model or a key may have."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Of one caller."""

    name: str = ""
    """Of the key; "" for who needs none."""
    models: tuple[str, ...] | None = None
    """Names and patterns, as `names.matches` reads them, of the models that may be used; None: all."""
    priority: int = MOST_URGENT
    """No request is of a more urgent class in the held queue."""
    weight: float = 1.0
    """Share of held requests, where the fleet file gives the caller none."""
    concurrent: int = 0
    """Requests that run a model, running or held, at a time; 0: any number."""
    may_manage: bool = True
    """Whether it may change the model stores."""

    def may_use(self, model: str) -> bool:
        """Tell whether the model of this canonical key may be used, or be seen."""
        return self.models is None or any(matches(pattern, model) for pattern in self.models)


EVERYTHING = Rights()
"""Of everybody where no keys are asked for."""
