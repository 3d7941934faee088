"""What one poll of an Ollama brought. No judgement: that is `health`'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from spoe_agent.agent.namesakes import Namesakes
from spoe_agent.instances.lists import Installed, InstalledModel
from spoe_agent.routing.snapshot import LoadedModel


class PollResult(StrEnum):
    """How a poll ended."""

    ANSWERED = "answered"
    SLOW = "slow"
    """Its lists did not come in time, but it answers what takes no lock in Ollama."""
    SILENT = "silent"
    """Nothing gave a proper answer."""
    REFUSED = "refused"
    """Nobody listens there."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a poll was told, all or part of it. None: not asked for, or not answered."""

    asked_at_s: float
    """Monotonic second."""
    outcome: PollResult = PollResult.ANSWERED
    why: str = ""
    """What went wrong, for people; "" when nothing did."""
    loaded: Mapping[str, LoadedModel] | None = None
    """`/api/ps` by canonical key."""
    installed: Mapping[str, InstalledModel] | None = None
    """`/api/tags` by canonical key."""
    is_starting: bool = False
    """`installed` is empty, so soon after the server came up that it proves nothing."""
    version: str | None = None


def joined(namesakes: Namesakes, instance: str, reading: Reading) -> Reading:
    """Return what a poll brought, with copies of a model under the one name that it goes by."""
    if reading.installed is not None:
        namesakes.read(instance, Installed.of(reading.installed).digests)
    return reading if reading.loaded is None else replace(reading, loaded=namesakes.joined(reading.loaded))
