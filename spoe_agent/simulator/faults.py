"""Faults that tests switch on and off while the server runs.

Here: which faults are in force, and for whom. They are acted out in serving, api_models and loader.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field

from spoe_agent.simulator.errors import OllamaError
from spoe_agent.simulator.loader import LoaderFaults

Kind = Literal[
    "hang_before_first_byte",
    "wedged_loader",
    "slow_load",
    "slow_ps",
    "wrong_ps",
    "cut_stream",
    "end_stream",
    "wrong_status",
    "spill",
    "steal_vram",
    "full_disk",
    "kill_runner",
    "none",
]


class Fault(BaseModel):
    """One fault, as POST /sim/fault takes it. ``none`` lifts all; ``active: false`` lifts one kind; ``kill_runner`` is
    over at once; with a ``full_disk`` the store takes nothing new, and a pull gets half of its file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    active: bool = True
    model: str | None = None
    """Only requests for this model (the name in the catalogue) are hit; all when missing."""
    count: Annotated[int, Field(ge=1)] | None = None
    """After so many hits the fault is over."""
    seconds: Annotated[float, Field(ge=0)] = 10.0
    """slow_ps: real seconds."""
    after_tokens: Annotated[int, Field(ge=0)] = 1
    """cut_stream, end_stream: tokens that are sent first. The latter ends well, but for the last chunk."""
    status: Annotated[int, Field(ge=400, le=599)] = 500
    text: str = "model runner has unexpectedly stopped, this may be due to resource limitations"
    fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    """spill: part of new loads that ends up outside VRAM."""
    bytes: ByteSize = ByteSize(8 * 1024**3)
    """steal_vram."""
    factor: Annotated[float, Field(gt=0)] = 5.0
    """slow_load: loads take so many times longer."""


class FaultBoard:
    """The faults in force, at most one of each kind."""

    def __init__(self) -> None:
        self._faults: dict[str, Fault] = {}
        self._hits: dict[str, int] = {}
        self._changed = asyncio.Event()

    def set(self, fault: Fault) -> None:
        """Put a fault in force or lift it, and wake the requests that hang."""
        if fault.kind == "none":
            self._faults.clear()
        elif fault.active:
            self._faults[fault.kind] = fault
            self._hits[fault.kind] = 0
        else:
            self._faults.pop(fault.kind, None)
        self._changed.set()
        self._changed = asyncio.Event()

    def active(self) -> list[str]:
        """The kinds in force."""
        return sorted(self._faults)

    def take(self, kind: Kind, model: str | None = None) -> Fault | None:
        """The fault of ``kind`` if it hits a request for ``model``; that hit is counted."""
        fault = self._faults.get(kind)
        if fault is None or (fault.model is not None and fault.model != model):
            return None
        self._hits[kind] += 1
        if fault.count is not None and self._hits[kind] >= fault.count:
            del self._faults[kind]
        return fault

    def before_write(self) -> None:
        """Raise OllamaError when the store is full."""
        if self.take("full_disk") is not None:
            raise OllamaError(500, "write /root/.ollama/models/blobs/sha256-0: no space left on device")

    async def before_answer(self, model: str) -> None:
        """Hang as long as the fault says so, then raise OllamaError if the answer shall be wrong."""
        if self.take("hang_before_first_byte", model) is not None:
            await self._hang()
        wrong = self.take("wrong_status", model)
        if wrong is not None:
            raise OllamaError(wrong.status, wrong.text)

    async def _hang(self) -> None:
        """A request that hangs stays so until somebody sets or lifts a fault and hanging is no longer in force."""
        await self._changed.wait()
        while "hang_before_first_byte" in self._faults:
            await self._changed.wait()

    def for_loader(self) -> LoaderFaults:
        """The part that the scheduler core acts out."""
        spill, stolen, slow = (self._faults.get(kind) for kind in ("spill", "steal_vram", "slow_load"))
        return LoaderFaults(
            wedged="wedged_loader" in self._faults,
            stolen_bytes=stolen.bytes if stolen is not None else 0,
            spill=spill.fraction if spill is not None else 0.0,
            slowdown=slow.factor if slow is not None else 1.0,
        )
