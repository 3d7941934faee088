"""What was learned, kept across restarts in one small JSON file.

Written whole to a file beside it and moved into place, so that no reader sees half of it. A damaged or foreign file is
left out with a warning: priors do until the agent has learned anew. Must not live here: learning.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from spoe_agent.telemetry.learner import Learner, Mean, Pair

log = structlog.get_logger()


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str
    instance: str
    log_s: Annotated[float, Field(ge=-20, le=20)]
    """Nanoseconds to years: what is beyond was not written by us, and its exponential could be none."""
    samples: NonNegativeInt


class _State(BaseModel):
    """The file. Arrival rates are not in it: they are stale after minutes."""

    model_config = ConfigDict(extra="forbid")

    version: int = 1
    service: list[_Row]
    load: list[_Row]
    first_byte: list[_Row]


def restore(path: Path) -> Learner:
    """Return a Learner that knows what the file says, or nothing when there is none or it cannot be read."""
    try:
        state = _State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Learner()
    except (OSError, ValidationError) as error:
        log.warning("what was learned before cannot be read, starting anew", file=str(path), why=str(error))
        return Learner()
    return Learner(_means(state.service), _means(state.load), _means(state.first_byte))


def save(learner: Learner, path: Path) -> None:
    """Write what a Learner knows. A failure is logged: the agent serves without."""
    state = _State(service=_rows(learner.service), load=_rows(learner.load), first_byte=_rows(learner.first_byte))
    beside = path.with_name(f".{path.name}.new")
    try:
        with beside.open("w") as file:
            file.write(state.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        log.warning("what was learned cannot be kept", file=str(path), why=str(error))


def _rows(means: dict[Pair, Mean]) -> list[_Row]:
    return [
        _Row(model=model, instance=instance, log_s=mean.log_s, samples=mean.samples)
        for (model, instance), mean in means.items()
    ]


def _means(rows: list[_Row]) -> dict[Pair, Mean]:
    return {(row.model, row.instance): Mean(row.log_s, row.samples) for row in rows}
