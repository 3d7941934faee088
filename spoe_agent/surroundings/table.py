"""All checks of what stands around a fleet file, in the order in which they are told. Each rule is here once: `check`
shows the first rows, `check --live` more, `doctor` all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from spoe_agent.fleet import Fleet
from spoe_agent.surroundings import gpu_use, host, live, ollamas, times
from spoe_agent.surroundings.names import doubtful_names
from spoe_agent.surroundings.remark import Remark, note
from spoe_agent.surroundings.seen import Seen, Senses, see


class Depth(StrEnum):
    """How far one has to look."""

    FILE = "check"
    """At the file: names, GPUs and times."""
    LIVE = "check --live"
    """At whether everybody is there."""
    DOCTOR = "doctor"
    """At how they run, too."""


@dataclass(frozen=True, slots=True)
class Check:
    """One row."""

    depth: Depth
    look: Callable[[Seen], Iterable[Remark]]


def _names(senses: Senses) -> Callable[[Seen], Iterator[Remark]]:
    def names(seen: Seen) -> Iterator[Remark]:
        """Names lead somewhere, for HAProxy too."""
        yield from (note(one.message, one.hint, one.path) for one in doubtful_names(seen.fleet, senses.lookup))

    return names


def checks(senses: Senses) -> tuple[Check, ...]:
    """Return the table."""
    return (
        Check(Depth.FILE, _names(senses)),
        Check(Depth.FILE, gpu_use.named),
        Check(Depth.FILE, times.chain),
        Check(Depth.LIVE, live.answers),
        Check(Depth.LIVE, live.ports),
        Check(Depth.LIVE, live.haproxy),
        Check(Depth.DOCTOR, ollamas.versions),
        Check(Depth.DOCTOR, ollamas.as_started),
        Check(Depth.DOCTOR, ollamas.contexts),
        Check(Depth.DOCTOR, ollamas.stores),
        Check(Depth.DOCTOR, host.clocks),
        Check(Depth.DOCTOR, host.unix_sockets),
        Check(Depth.DOCTOR, host.many_files),
        Check(Depth.DOCTOR, gpu_use.free),
        Check(Depth.DOCTOR, gpu_use.mig),
    )


async def examine(fleet: Fleet, depths: Iterable[Depth], senses: Senses | None = None) -> list[Remark]:
    """Return what the checks of some depths have to say."""
    senses, wanted = senses or Senses(), set(depths)
    seen = await see(fleet, senses, asks=bool(wanted - {Depth.FILE}))
    found: list[Remark] = []
    for check in checks(senses):
        if check.depth in wanted:
            found += await asyncio.to_thread(_looked, check, seen)
    return found


def _looked(check: Check, seen: Seen) -> list[Remark]:
    return list(check.look(seen))
