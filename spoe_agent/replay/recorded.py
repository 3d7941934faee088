"""What a decision log says: its requests, each joined with its end, and what the agent knew. Times are seconds since
1970.

Lines of JSON that cannot be read are counted and left out: the last one of a file may be half written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ValidationError, ValidationInfo, field_validator
from pydantic_core import from_json

from spoe_agent.decisions.file import chain


class NoLog(Exception):
    """The log cannot be replayed; the text says why."""


class RecordedCandidate(BaseModel):
    """An instance as it was weighed."""

    state: str | None = None
    evicts: list[str] = []


class Ended(BaseModel):
    """How a request ended. Times are from the connection to the instance on, but for the queue's."""

    server: str
    status: int
    termination: str
    queue_s: float = 0.0
    first_byte_s: float
    total_s: float
    is_whole: bool
    fell_back: bool = False


class Decision(BaseModel):
    """One request."""

    id: str
    time: float
    """When the agent was asked."""
    kind: str
    model: str | None = None
    caller: str = ""
    action: str
    instance: str | None = None
    reason: str
    candidates: dict[str, RecordedCandidate] = {}
    """Of those only the one that was chosen: a large fleet's others take most of the memory."""
    body_bytes: int = 0
    num_ctx: int | None = None
    only_loads: bool = False
    embeds: bool = False
    conversation: str = ""
    wants_instance: str = ""
    wants_priority: int | None = None
    wants_wait_s: float | None = None
    held_s: float | None = None
    ended: Ended | None = None

    @field_validator("candidates", mode="before")
    @classmethod
    def _chosen(cls, candidates: object, info: ValidationInfo) -> object:
        if not isinstance(candidates, dict):
            return candidates
        return {name: one for name, one in candidates.items() if name == info.data.get("instance")}

    @property
    def tier(self) -> str | None:
        """How warm the instance was."""
        chosen = self.candidates.get(self.instance or "")
        return None if chosen is None else chosen.state

    @property
    def victims(self) -> list[str]:
        """Models that had to go for it."""
        chosen = self.candidates.get(self.instance or "")
        return [] if chosen is None else chosen.evicts

    @property
    def waited_s(self) -> float:
        """In the held queue, and for a connection."""
        return (self.held_s or 0.0) + (self.ended.queue_s if self.ended else 0.0)

    @property
    def begins_load(self) -> bool:
        """A model was to be loaded for it."""
        return self.tier in ("room", "evict", "reload")


class RecordedModel(BaseModel):
    """A model in memory."""

    bytes: int
    context_length: int


class RecordedInstance(BaseModel):
    """An instance as it was."""

    store: str
    vram_bytes: int | None
    num_parallel: int
    max_loaded_models: int
    max_connections: int
    loaded: dict[str, RecordedModel] = {}


class RecordedTimes(BaseModel):
    """Times that were learned: model, instance, seconds, of how many requests."""

    service_s: list[tuple[str, str, float, int]] = []
    first_byte_s: list[tuple[str, str, float, int]] = []
    load_s: list[tuple[str, str, float, int]] = []
    from_disk: dict[str, tuple[float, int]] = {}
    """By store: so many times longer than expected, of how many loads."""


class RecordedFleet(BaseModel):
    """What the agent knew at a time."""

    time: float
    instances: dict[str, RecordedInstance]
    stores: dict[str, dict[str, int]]
    cached: dict[str, list[str]] = {}
    """Models whose files were taken to be in the page cache, by store."""
    learned: RecordedTimes = RecordedTimes()


@dataclass(slots=True)
class Recorded:
    """A log, or several one after the other."""

    decisions: list[Decision] = field(default_factory=list)
    """In the order in which they came."""
    known: list[RecordedFleet] = field(default_factory=list)
    unread: int = 0
    """Lines that could not be read."""
    undecided: int = 0
    """Requests that HAProxy decided alone: nobody knows their models."""

    def first(self) -> RecordedFleet:
        """Return what was known at the beginning."""
        return self.known[0]

    def sizes(self) -> dict[str, int]:
        """Return each model's bytes on disk."""
        return {model: size for one in self.known for listed in one.stores.values() for model, size in listed.items()}

    def in_memory(self) -> Mapping[str, tuple[RecordedModel, RecordedInstance]]:
        """Return what models took once they were loaded, and where."""
        found = {}
        for one in self.known:
            for instance in one.instances.values():
                found.update({model: (loaded, instance) for model, loaded in instance.loaded.items()})
        return found


def read(paths: Iterable[Path]) -> Recorded:
    """Read logs, oldest lines first; of each also what was put aside. Raises NoLog."""
    found, joined = Recorded(), _Joined()
    for row in _rows(paths, found):
        try:
            if "known" in row:
                found.known.append(RecordedFleet.model_validate(row["known"]))
            else:
                joined.take(row)
        except ValidationError:
            found.unread += 1
    found.decisions = sorted(joined.decisions.values(), key=lambda one: one.time)
    found.undecided = len(joined.ends)
    if not found.known:
        raise NoLog("there is no line `known` in it: is it a decision log (policies.decision_log of the fleet file)?")
    return found


def _rows(paths: Iterable[Path], found: Recorded) -> Iterator[dict[str, object]]:
    for path in paths:
        files = list(chain(path))
        if not files:
            raise NoLog(f"{path}: there is no such file")
        for file in files:
            for line in filter(bytes.strip, _lines(file)):
                row = _json(line)
                found.unread += row is None
                if row is not None:
                    yield row


def _lines(file: Path) -> Iterator[bytes]:
    """Yield them one after the other: a log may be larger than the memory."""
    try:
        with file.open("rb") as opened:
            yield from opened
    except OSError as error:
        raise NoLog(f"{file} cannot be read: {error.strerror}") from None


def _json(line: bytes) -> dict[str, object] | None:
    try:
        row = from_json(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


class _End(BaseModel):
    """A row of an end alone."""

    id: str
    ended: Ended


class _Joined:
    """Decisions and ends, by id; nothing else of a row is kept."""

    def __init__(self) -> None:
        self.decisions: dict[str, Decision] = {}
        self.ends: dict[str, Ended] = {}
        """Of requests whose decision has not been read."""

    def take(self, row: dict[str, object]) -> None:
        """Take a row, in any order; of two decisions on a request the later one holds. Raises ValidationError."""
        if "action" in row:
            one = Decision.model_validate(row)
            earlier, end = self.decisions.get(one.id), self.ends.pop(one.id, None)
            one.ended = one.ended or end or (earlier.ended if earlier else None)
            self.decisions[one.id] = one
            return
        alone = _End.model_validate(row)
        decided = self.decisions.get(alone.id)
        if decided is None:
            self.ends[alone.id] = alone.ended
        else:
            decided.ended = alone.ended
