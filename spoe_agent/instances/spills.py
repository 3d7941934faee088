"""Models that an instance holds on the CPU although its GPUs have room: what is wrong, and its repair.

Ollama believes in memory figures of long ago while a model stays loaded (server/sched.go updateFreeSpace), so beside
other programs layers go to the CPU, and stay there as long as the model is used. Unloaded while nobody needs it, it is
whole after its next load.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

import structlog

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.unloading import Unload
from spoe_agent.routing.names import display
from spoe_agent.routing.snapshot import GpuGroup, InstanceState, Snapshot
from spoe_agent.routing.specs import InstanceSpec
from spoe_agent.routing.warmth import FIT_FRACTION

log = structlog.get_logger()

LOOK_S = 5.0

GPUS_LOST_S = 600.0
"""An instance that seemed to have lost its GPUs, and has nothing loaded any more, is tried again after so long."""

PAUSE_S, LONGEST_S = 300.0, 3600.0
"""Until the same copy is unloaded again, at first and at most; doubled each time."""


def spilled(spec: InstanceSpec, state: InstanceState, gpus: GpuGroup) -> list[str]:
    """Return the models that are partly on the CPU, though the GPUs would hold them whole beside the rest."""
    known = [size for size in (spec.vram_bytes, gpus.total_bytes) if size is not None]
    if not known:
        return []
    free = min(known) - (gpus.foreign_bytes or 0) - sum(one.vram_bytes for one in state.loaded.values())
    # Beside others Ollama wants a part of the free memory to stay free.
    part = FIT_FRACTION if len(state.loaded) > 1 else 1.0
    return [
        model
        for model, one in sorted(state.loaded.items())
        if one.spilled_bytes and one.size_bytes <= part * (free + one.vram_bytes)
    ]


def lost_gpus(spec: InstanceSpec, state: InstanceState) -> str:
    """Return why an instance with GPUs seems to have lost them; "": it does not.

    All it has loaded is on the CPU, and its GPUs would hold any of that.
    """
    room, loaded = spec.vram_bytes or 0, state.loaded
    if not loaded or any(one.vram_bytes or not one.size_bytes or one.size_bytes > room for one in loaded.values()):
        return ""
    names = ", ".join(display(model) for model in sorted(loaded))
    return f"has {names} on the CPU alone: Ollama has lost its GPUs; start it again"


@dataclass(slots=True)
class LostGpus:
    """Whether an instance has lost its GPUs, as its lists tell: only a load tells more, so it holds for a while."""

    at_s: float = -inf
    """When it last seemed so, in monotonic seconds."""

    def see(self, spec: InstanceSpec, state: InstanceState, now_s: float) -> InstanceState:
        """Return a state that was read with what it tells of them."""
        lost = lost_gpus(spec, state)
        if lost:
            self.at_s = now_s
        elif any(model.vram_bytes for model in state.loaded.values()):
            self.at_s = -inf
        is_lost = now_s - self.at_s < GPUS_LOST_S
        return replace(state, lost_gpus=(lost or state.lost_gpus) if is_lost else "")


@dataclass(slots=True)
class _Tried:
    again_at_s: float
    pause_s: float


class Repairs:
    """Unloads what is partly on the CPU for no reason while nobody needs it, but not again and again."""

    def __init__(self, agent: Agent, unload: Unload, clock: Callable[[], float] = time.monotonic) -> None:
        self._agent = agent
        self._unload = unload
        self._clock = clock
        self._tried: dict[tuple[str, str], _Tried] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Repair what can be repaired now."""
        now_s, board = self._clock(), self._agent.board
        snapshot = board.snapshot({}, now_s)
        for spec in self._agent.fleet.instances:
            state = snapshot.state(spec.name)
            for model in [] if state.lost_gpus else spilled(spec, state, snapshot.gpu(spec.name)):
                if self._is_idle(spec.name, model, snapshot) and self._is_due(spec.name, model, now_s):
                    board.unload(spec.name, model, now_s)
                    await self._repair(spec.name, display(model))

    async def _repair(self, instance: str, model: str) -> None:
        log.info("model is partly on the CPU without need: unloading it", instance=instance, model=model)
        failure = await self._unload(instance, model)
        if failure:
            log.warning("unloading failed", instance=instance, model=model, why=failure)

    def _is_idle(self, instance: str, model: str, snapshot: Snapshot) -> bool:
        """Nothing runs, loads or waits that the unloading could disturb."""
        activity, others = snapshot.active(instance), snapshot.state(instance).others
        is_held = any(ticket.facts.model == model for ticket in self._agent.hold)
        return not (
            activity.loading or activity.reserved or activity.in_flight.get(model) or model in others or is_held
        )

    def _is_due(self, instance: str, model: str, now_s: float) -> bool:
        last = self._tried.get((instance, model))
        if last is not None and now_s < last.again_at_s:
            return False
        pause_s = PAUSE_S if last is None else min(LONGEST_S, 2 * last.pause_s)
        self._tried[instance, model] = _Tried(now_s + pause_s, pause_s)
        return True
