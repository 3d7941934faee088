"""What was seen, made by hand."""

from __future__ import annotations

import json

from spoe_agent.fleet import loads
from spoe_agent.gpus.board import GpuBoard
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.surroundings.remark import Level
from spoe_agent.surroundings.seen import FoundOllama, Seen

GIB = 1 << 30
A, B = (GpuReading(f"GPU-aaaaaaaa-000{number}", index=number, memory_total_bytes=24 * GIB) for number in (0, 1))


def fleet(*instances, **sections):
    """A fleet; each instance is given by keys of its own."""
    entries = [
        {"name": f"g{number}", "url": f"http://127.0.0.1:{11500 + number}"} | keys
        for number, keys in enumerate(instances or ({},))
    ]
    return loads(json.dumps({"instances": entries, **sections}))


def board(*readings):
    found = GpuBoard(["nvidia"])
    found.publish("nvidia", readings)
    return found


def seen(of, *found, gpus=(), **known):
    """`found`: keys of what was found of each instance, in order."""
    ollamas = tuple(
        FoundOllama(instance, **({"version": "0.33.0"} | keys))
        for instance, keys in zip(of.instances, found or [{}] * len(of.instances), strict=True)
    )
    return Seen(of, board(*gpus), ollamas, **known)


def wrongs(remarks):
    return [str(one.text) for one in remarks if one.level is Level.WRONG]


def notes(remarks):
    return [str(one.text) for one in remarks if one.level is Level.NOTE]
