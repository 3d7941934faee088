"""What an agent leaves to the next one, kept across restarts in one small JSON file: what was learned, who was drained
by hand, what is in flight, what speaks against instances, what they had loaded, and what they are to load.

Written whole to a file beside it and moved into place, so that no reader sees half of it. A damaged or foreign file is
left out with a warning: priors do until the agent has learned anew.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError
from pydantic_core import PydanticSerializationError

from spoe_agent.agent.grant import Ledger
from spoe_agent.agent.learner import Learner, Mean
from spoe_agent.agent.preload import Wanted
from spoe_agent.routing.memory import ModelShape
from spoe_agent.routing.snapshot import Health, Pair

log = structlog.get_logger()

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Times of another boot mean nothing now."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """What speaks against an instance, as one agent tells the next."""

    base: Health
    evidence: str
    loads_in_doubt: bool
    load_evidence: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What a file says."""

    learner: Learner = field(default_factory=Learner)
    drained: frozenset[str] = frozenset()
    """Instances that were drained by hand."""
    ledgers: Mapping[str, Ledger] = field(default_factory=dict)
    """By instance; empty when the machine was started anew since."""
    doubts: Mapping[str, Doubt] = field(default_factory=dict)
    """By instance."""
    loaded: Mapping[str, list[str]] = field(default_factory=dict)
    """Models that instances had when they were read last, the most wanted first."""
    to_load: Mapping[str, Wanted] = field(default_factory=dict)
    """By instance; empty when the machine was started anew since."""
    shapes: Mapping[str, ModelShape] = field(default_factory=dict)
    """Of models, by digest."""


class _Mean(BaseModel):
    model_config = ConfigDict(extra="forbid")

    log_s: Annotated[float, Field(ge=-20, le=20)]
    """Nanoseconds to years: what is beyond was not written by us, and its exponential could be none."""
    samples: PositiveInt


class _Row(_Mean):
    model: str
    instance: str


class _State(BaseModel):
    """The file. Arrival rates are not in it: they are stale after minutes."""

    model_config = ConfigDict(extra="forbid")

    version: int = 1
    service: list[_Row]
    load: list[_Row]
    first_byte: list[_Row]
    drained: list[str] = []
    """Older files have neither this nor what follows."""
    from_disk: dict[str, _Mean] = {}
    """By store."""
    cached: dict[str, dict[str, int]] = {}
    boot: str = ""
    ledgers: dict[str, Ledger] = {}
    doubts: dict[str, Doubt] = {}
    loaded: dict[str, list[str]] = {}
    to_load: dict[str, Wanted] = {}
    shapes: dict[str, ModelShape] = {}


def restore(path: Path) -> Kept:
    """Return what the file says, or nothing when there is none or it cannot be read."""
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return Kept()
    except (OSError, ValidationError) as error:
        said = "the state file cannot be read: nothing is learned, nobody drained by hand"
        log.warning(said, file=str(path), why=_first(error) if isinstance(error, ValidationError) else str(error))
        return Kept()


def parse(text: bytes) -> Kept:
    """Return what a file's text says. Raises ValidationError."""
    state = _State.model_validate_json(text)
    is_same_boot = state.boot == _boot()
    learner = Learner(
        service=_means(state.service),
        load=_means(state.load),
        first_byte=_means(state.first_byte),
        from_disk={store: Mean(mean.log_s, mean.samples) for store, mean in state.from_disk.items()},
        cached=state.cached if is_same_boot else {},
    )
    ledgers, to_load = (state.ledgers, state.to_load) if is_same_boot else ({}, {})
    return Kept(learner, frozenset(state.drained), ledgers, state.doubts, state.loaded, to_load, state.shapes)


def dump(kept: Kept) -> str:
    """Return the text of a file."""
    state = _State(
        service=_rows(kept.learner.service),
        load=_rows(kept.learner.load),
        first_byte=_rows(kept.learner.first_byte),
        from_disk={name: _Mean(log_s=it.log_s, samples=it.samples) for name, it in kept.learner.from_disk.items()},
        cached=kept.learner.cached,
        drained=sorted(kept.drained),
        boot=_boot(),
        ledgers=dict(kept.ledgers),
        doubts=dict(kept.doubts),
        loaded=dict(kept.loaded),
        to_load=dict(kept.to_load),
        shapes=dict(kept.shapes),
    )
    return state.model_dump_json()


def _boot() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, found['loc'])) or 'file'}: {found['msg']}"


def save(kept: Kept, path: Path) -> bool:
    """Write it down; tell whether that went well. A failure is logged: the agent serves without."""
    beside = path.with_name(f".{path.name}.new")
    try:
        with beside.open("wb") as file:
            file.write(dump(kept).encode())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except (OSError, PydanticSerializationError) as error:
        log.warning("the state file cannot be written", file=str(path), why=str(error))
        return False
    return True


def _rows(means: dict[Pair, Mean]) -> list[_Row]:
    return [
        _Row(model=model, instance=instance, log_s=mean.log_s, samples=mean.samples)
        for (model, instance), mean in means.items()
    ]


def _means(rows: list[_Row]) -> dict[Pair, Mean]:
    return {(row.model, row.instance): Mean(row.log_s, row.samples) for row in rows}
