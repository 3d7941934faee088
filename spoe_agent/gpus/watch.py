"""The GPUs behind each instance: reads the fleet file's sources, and says what the readings mean for each instance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
import structlog

from spoe_agent.agent.board import Board
from spoe_agent.agent.persistently import persistently
from spoe_agent.fleet import Fleet, Instance
from spoe_agent.fleet.schema_watch import GpuSource, SignalPolicy, Telemetry
from spoe_agent.gpus.board import GpuBoard
from spoe_agent.gpus.exporter import DCGM, ExporterSource
from spoe_agent.gpus.group import GroupReading, group
from spoe_agent.gpus.inventory import disagreements, reads
from spoe_agent.gpus.local import local_sources
from spoe_agent.gpus.orphans import left_over, orphans
from spoe_agent.gpus.poll import GpuPoller, Source
from spoe_agent.gpus.reading import SourceError
from spoe_agent.gpus.remote import RemoteSource
from spoe_agent.gpus.resolve import UnknownGpu, resolve
from spoe_agent.instances.beat import Beat
from spoe_agent.routing.memory import RUNNER_BYTES
from spoe_agent.routing.snapshot import GpuDoubt, GpuGroup, Snapshot

log = structlog.get_logger()

LOOK_S = 1.0

NOISE_BYTES = 1 << 30
"""Less than this in other hands proves nothing."""

SETTLE_S = 2.0
"""After a model came or went, /api/ps and the driver tell of different moments for so long."""

AT_FULL_LOAD = frozenset({"sw_power_cap"})
"""A big GPU that works is at its power cap much of the time."""


@dataclass(slots=True)
class _Seat:
    """One instance with GPUs."""

    instance: Instance
    sources: tuple[str, ...]
    uuids: tuple[str, ...] | None = None
    complaint: str = ""
    models: frozenset[tuple[str, str]] = frozenset()
    """Of all instances on these GPUs: instance, model."""
    changed_s: float = 0.0
    foreign_bytes: int | None = field(default=None)


class GpuWatch:
    """Keeps the board told of the instances' GPUs. `run` reads until cancelled."""

    def __init__(
        self,
        fleet: Fleet,
        board: Board,
        session: aiohttp.ClientSession,
        clock: Callable[[], float] = time.monotonic,
        local: Callable[[], tuple[Source, ...]] = local_sources,
    ) -> None:
        self._fleet = fleet
        self._policy = fleet.telemetry
        self._board = board
        self._clock = clock
        self._seats: list[_Seat] = []
        self._by_gpu: dict[str, list[_Seat]] = {}
        self._remote = [(entry, _remote(entry, session)) for entry in self._policy.sources]
        # Also where no instance names one: then they are looked at once, so that the status can say so.
        here = self._policy.local and any(instance.is_here for instance in fleet.instances)
        self._here = local() if here else ()
        sources = self._seat(fleet)
        self._spare = [source for source in self._here if source.name not in sources]
        self._gpus = GpuBoard([*sources, *(source.name for source in self._spare)])
        beat = Beat(self._policy.interval, clock)
        self._pollers = [GpuPoller(source, self._gpus, beat, self._policy.timeout) for source in sources.values()]

    def _seat(self, fleet: Fleet) -> dict[str, Source]:
        """Find for each instance with GPUs who reads them; return the sources that are needed, by name."""
        used: dict[str, Source] = {}
        for instance in fleet.instances:
            if not instance.gpus:
                continue
            found: list[Source] = [source for entry, source in self._remote if reads(entry, instance)]
            own = tuple(found) or (self._here if instance.is_here else ())
            used.update({source.name: source for source in own})
            self._seats.append(_Seat(instance, tuple(source.name for source in own)))
        return used

    @property
    def board(self) -> GpuBoard:
        """What was read last."""
        return self._gpus

    def seats(self) -> dict[str, tuple[str, ...]]:
        """Return the UUIDs of each instance's GPUs, as far as they are known."""
        return {seat.instance.name: seat.uuids for seat in self._seats if seat.uuids is not None}

    def warnings(self) -> list[str]:
        """Return where the fleet file and the GPUs that are there do not go together."""
        return [*disagreements(self._fleet, self._read_here()), *left_over(self.orphans())]

    def orphans(self) -> dict[int, int]:
        """Return what Ollamas that ended have left on this host's GPUs: bytes by process id."""
        return orphans(self._read_here().readings.values())

    def _read_here(self) -> GpuBoard:
        return self._gpus.only(*(source.name for source in self._here))

    async def _look_once(self, source: Source) -> None:
        """Read GPUs that nobody asked for. That there are none, or that they do not answer, is nobody's business."""
        try:
            async with asyncio.timeout(self._policy.timeout):
                self._gpus.publish(source.name, await source.read(self._clock()))
        except (SourceError, TimeoutError):
            return
        except Exception:  # our own fault: it must not cost the sources that are asked for, and be seen
            log.exception("GPUs that no instance names cannot be read", source=source.name)

    async def run(self) -> None:
        """Read, and tell the board, until cancelled."""
        await asyncio.gather(*map(self._look_once, self._spare))
        if not self._pollers:
            return
        async with asyncio.TaskGroup() as tasks:
            for poller in self._pollers:
                tasks.create_task(persistently("reading GPUs", poller.run))
            tasks.create_task(persistently("judging GPUs", self._look_often))

    async def _look_often(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Tell the board what the readings mean now."""
        snapshot = self._board.snapshot({}, self._clock())
        self._board.publish_gpus({seat.instance.name: self._group(seat, snapshot) for seat in self._seats})

    def _group(self, seat: _Seat, snapshot: Snapshot) -> GpuGroup:
        readings = self._gpus.of(*seat.sources)
        if seat.uuids is None:
            self._resolve(seat)
        if seat.uuids is None:
            return judged(GroupReading(missing=tuple(map(str, seat.instance.gpus))), self._policy, None, seat.complaint)
        sharing = list({other.instance.name: other for gpu in seat.uuids for other in self._by_gpu[gpu]}.values())
        found = group(readings, seat.uuids, snapshot.at_s, own_bytes=_own_bytes(sharing, snapshot))
        _take_foreign(seat, sharing, found, snapshot)
        return judged(found, self._policy, seat.foreign_bytes)

    def _resolve(self, seat: _Seat) -> None:
        """Find the UUIDs of an instance's GPUs, as soon as there are readings. What is not there is said once."""
        there = list(self._gpus.of(*seat.sources).values())
        if not there:
            return
        try:
            seat.uuids = tuple(resolve(gpu, there) for gpu in seat.instance.gpus)
        except UnknownGpu as error:
            if str(error) != seat.complaint:
                seat.complaint = str(error)
                log.error("fleet file names a GPU that is not there", instance=seat.instance.name, why=str(error))
            return
        for uuid in seat.uuids:
            self._by_gpu.setdefault(uuid, []).append(seat)


def _own_bytes(sharing: list[_Seat], snapshot: Snapshot) -> int:
    """What the instances on these GPUs say they hold."""
    own = 0
    for seat in sharing:
        loaded = snapshot.state(seat.instance.name).loaded.values()
        own += sum(model.vram_bytes + RUNNER_BYTES * len(seat.uuids or ()) for model in loaded)
    return own


def _take_foreign(seat: _Seat, sharing: list[_Seat], found: GroupReading, snapshot: Snapshot) -> None:
    """Believe what is in other hands only when no model came or went around the reading."""
    names = [other.instance.name for other in sharing]
    models = frozenset((name, model) for name in names for model in snapshot.state(name).loaded)
    if models != seat.models or any(snapshot.active(name).loading for name in names):
        seat.models, seat.changed_s = models, snapshot.at_s
    read_at_s = snapshot.at_s - (found.age_s or 0.0)
    if found.foreign_bytes is not None and read_at_s > seat.changed_s + SETTLE_S:
        seat.foreign_bytes = found.foreign_bytes if found.foreign_bytes > NOISE_BYTES else 0


def judged(found: GroupReading, policy: Telemetry, foreign_bytes: int | None, complaint: str = "") -> GpuGroup:
    """Return what counts of a group's readings, by the policy of each signal."""
    notes: list[str] = [complaint] if complaint else []
    broken: list[str] = []
    counts: Mapping[str, bool] = {
        name: _counts(name, signal, found, notes, broken)
        for name, signal in (("memory", policy.memory), ("throttle", policy.throttle), ("faults", policy.faults))
    }
    slow = sorted(found.throttled - AT_FULL_LOAD) if counts["throttle"] else []
    if counts["faults"]:
        broken += found.failing
    if counts["memory"] and foreign_bytes:
        notes.append(f"other programs hold {foreign_bytes / (1 << 30):.1f} GiB of GPU memory")
    memory = found if counts["memory"] else GroupReading()
    return GpuGroup(
        memory.memory_free_bytes,
        memory.memory_total_bytes,
        foreign_bytes if counts["memory"] else None,
        found.age_s,
        GpuDoubt(f"GPU held down: {', '.join(slow)}" if slow else "", "; ".join(broken)),
        tuple(notes),
    )


def _counts(name: str, policy: SignalPolicy, found: GroupReading, notes: list[str], broken: list[str]) -> bool:
    """Tell whether a signal counts; what is stale is noted, or held against the instance."""
    if found.age_s is not None and found.age_s <= policy.max_age and not found.missing:
        return True
    why = f"GPU {name} is {found.age_s:.0f} s old" if found.age_s is not None and not found.missing else ""
    why = why or f"no reading of GPU {', '.join(found.missing)}"
    told = broken if policy.on_stale == "exclude" else notes
    if why not in told:
        told.append(why)
    return policy.on_stale == "use" and found.age_s is not None


def _remote(entry: GpuSource, session: aiohttp.ClientSession) -> Source:
    return ExporterSource(session, entry.url, DCGM) if entry.exporter else RemoteSource(session, entry.url)
