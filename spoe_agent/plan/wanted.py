"""The file that says what is wanted: models, what is asked of them, and GPUs where they are not this machine's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from spoe_agent.fleet import FleetError, Problem
from spoe_agent.fleet.document import Document, read
from spoe_agent.fleet.load import read_bytes
from spoe_agent.fleet.problems import dotted
from spoe_agent.fleet.schema_models import Latency, Shape
from spoe_agent.fleet.section import Section
from spoe_agent.fleet.units import Count, GpuId, GpuMemory, ModelSize, Tokens, refuse
from spoe_agent.fleet.wording import message_of
from spoe_agent.routing.names import canonical

USUAL_CONTEXT = 4096


def _name(text: str) -> str:
    try:
        return canonical(text)
    except ValueError as error:
        raise refuse("model", "is not a model name", "write it as Ollama takes it, like llama3.1:70b") from error


ModelName = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string"})]


class WantedGpu(Section):
    """One GPU."""

    id: GpuId
    memory: GpuMemory


class WantedModel(Section):
    """One model."""

    model: ModelName
    demand: Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)] = 1.0
    """Requests of it that run at a time, on average."""
    context: Tokens | None = None
    """Tokens per slot; left out: the file's `context`."""
    slots: Count | None = None
    """Requests at a time in one copy. Left out: as many as the demand has, 4 at most."""
    copies: Count = 1
    """At least so many, where one instance is not enough to rely on."""
    latency: Latency | None = None
    """As the fleet file's `models[].latency`, where it is written."""
    size: ModelSize | None = None
    """Bytes on disk, where no Ollama has it."""
    shape: Shape | None = None
    """What each token takes, where no Ollama has it."""


class WantedFile(Section):
    """The whole file."""

    gpus: tuple[WantedGpu, ...] = ()
    """Left out: those of the fleet file, else those of this machine."""
    context: Tokens = USUAL_CONTEXT
    """Tokens per slot of models that say nothing else."""
    kv_cache_type: Literal["f16", "q8_0", "q4_0"] | None = None
    """OLLAMA_KV_CACHE_TYPE of the instances. Left out: as the fleet file has it."""
    models: tuple[WantedModel, ...] = ()
    """Left out: all that the Ollamas have installed, once each."""


def load(path: Path) -> WantedFile:
    """Read the file. Raises FleetError with all that is wrong in it."""
    try:
        source = read(read_bytes(path).decode("utf-8-sig"), str(path), "models")
        wanted = WantedFile.model_validate(source.data)
    except UnicodeDecodeError as error:
        raise FleetError([Problem(str(path), None, "", "is not UTF-8 text", f"look at byte {error.start}")]) from None
    except ValidationError as error:
        raise FleetError([*source.problems, *(_problem(source, details) for details in error.errors())]) from None
    problems = [*source.problems, *_twice(source, wanted)]
    if problems:
        raise FleetError(problems)
    return wanted


def _problem(source: Document, details: ErrorDetails) -> Problem:
    """Return what is wrong with a value. Refusals of our own types bring a hint."""
    path, hint = details["loc"], details.get("ctx", {}).get("hint", "")
    return Problem(source.file, source.line(path), dotted(path), message_of(details), hint)


def _twice(source: Document, wanted: WantedFile) -> list[Problem]:
    found = []
    for key, names in (
        ("models", [one.model for one in wanted.models]),
        ("gpus", [str(one.id) for one in wanted.gpus]),
    ):
        for place, name in enumerate(names):
            if name in names[:place]:
                path = (key, place)
                found.append(Problem(source.file, source.line(path), dotted(path), "is here twice", "keep one of them"))
    return found
