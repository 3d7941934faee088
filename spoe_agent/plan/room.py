"""What a group of GPUs holds: the one rule that says whether models fit together. Pure.

1. All of them together leave MARGIN_BYTES free on each GPU, so that none spills to the CPU.
2. Ollama loads one beside others only where that takes at most FIT_FRACTION of what is free (server/sched.go); in
   whichever order they come, the largest may be the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spoe_agent.plan.wishes import MARGIN_BYTES, Wish
from spoe_agent.routing.memory import Footprint
from spoe_agent.routing.warmth import FIT_FRACTION


@dataclass(frozen=True, slots=True)
class Room:
    """So many GPUs of one size, on which one instance runs."""

    gpu_bytes: int
    gpus: int
    element_bytes: float = 2.0
    """One number of the cache."""

    @property
    def bytes(self) -> int:
        """Memory of all."""
        return self.gpu_bytes * self.gpus

    @property
    def usable(self) -> int:
        """What models can have of it."""
        return self.bytes - MARGIN_BYTES * self.gpus

    def footprints(self, wishes: Sequence[Wish]) -> list[Footprint]:
        """Return what each takes on an instance that has the context and the slots that all need."""
        context, slots = profile(wishes)
        return [self._footprint(one, context, slots) for one in wishes]

    def holds(self, wishes: Sequence[Wish]) -> bool:
        """Tell whether all of them fit at the same time."""
        return fit(self.footprints(wishes), self)

    def _footprint(self, wish: Wish, context: int, slots: int) -> Footprint:
        """A model that one GPU holds is on one; else Ollama spreads it over all."""
        alone = wish.footprint(context, slots, self.element_bytes)
        if alone.total <= self.gpu_bytes - MARGIN_BYTES:
            return alone
        return wish.footprint(context, slots, self.element_bytes, self.gpus)


def profile(wishes: Iterable[Wish]) -> tuple[int, int]:
    """Return the context and the slots of an instance that serves all of them."""
    there = list(wishes)
    return max(one.context for one in there), max(one.slots for one in there)


def fit(found: Sequence[Footprint], room: Room) -> bool:
    """Tell whether models that take so much fit at the same time."""
    needed = sum(one.total for one in found)
    if needed > room.usable:
        return False
    return len(found) < 2 or needed + max(map(beside, found)) <= room.bytes


def beside(one: Footprint) -> int:
    """Return what must be free beyond what a model takes, for Ollama to load it beside others."""
    return int(one.shown / FIT_FRACTION) - one.total
