"""What experience says of times and arrivals, as frozen data. Where it says nothing, `estimates` has priors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Pair = tuple[str, str]
"""Canonical model and instance."""

_NONE: Mapping[Pair, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Learned:
    """Seconds by model and instance, requests per second by model."""

    service_s: Mapping[Pair, float] = field(default_factory=lambda: _NONE)
    """A request's time in a slot, warm."""
    load_s: Mapping[Pair, float] = field(default_factory=lambda: _NONE)
    rate_per_s: Mapping[str, float] | None = None
    """None: nothing is known of arrivals. A model that is not in it was not asked for lately."""
    usual_service_s: Mapping[str, float] = field(default_factory=dict)
    """By model, on all instances together: for those where it has not run yet."""
    usual_load_s: Mapping[str, float] = field(default_factory=dict)


NOTHING = Learned()
