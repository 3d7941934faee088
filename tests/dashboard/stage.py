"""A fleet on a stage: a whole agent's real parts with its admin port, and instances that are as a test says."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from spoe_agent.admin.app import Admin
from spoe_agent.admin.status import status
from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.ending import Ending, Line
from spoe_agent.dashboard.app import Dashboard
from spoe_agent.dashboard.trend import Trend
from spoe_agent.fleet import HealthPolicy, Listen, loads, specs
from spoe_agent.gpus.board import GpuBoard
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.haproxy.contact import Contact
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.instances.lists import InstalledModel
from spoe_agent.instances.reading import PollResult, Reading
from spoe_agent.instances.watch import Watch
from spoe_agent.keys.operators import Operators
from spoe_agent.metrics.exposition import Exposition
from spoe_agent.process.listening import bind
from spoe_agent.rig.process import free_port
from spoe_agent.routing import Choice, Dialect, Kind, LoadedModel, RequestFacts
from spoe_agent.routing.names import canonical
from spoe_agent.routing.snapshot import GpuDoubt, GpuGroup
from spoe_agent.routing.wishes import Wishes

GIB = 1 << 30
SIZES = {"llama3.1:8b": 6, "qwen2.5:32b": 22, "gemma2:27b": 17, "mistral:7b": 5, "phi4:14b": 10, "nomic-embed-text": 1}
TOTAL = 48 * GIB


class Gpus:
    """One GPU for each instance."""

    def __init__(self, names: list[str]) -> None:
        self.board = GpuBoard(["nvidia"])
        self._names = names

    def orphans(self) -> dict[int, int]:
        return {}

    def seats(self) -> dict[str, tuple[str, ...]]:
        return {name: (f"GPU-{name}",) for name in self._names}

    def read(self, **fields: Any) -> None:
        self.board.publish("nvidia", [GpuReading(f"GPU-{name}", "NVIDIA L40S", **fields) for name in self._names])


class Stage:
    """`count` instances of 48 GiB with four slots for each model, all up, with nothing loaded.

    `keys`: a file of keys that the admin port asks for; "": it asks for none.
    """

    def __init__(
        self, count: int = 2, keys: str = "", clock: Callable[[], float] = time.monotonic, **of_dashboard: float
    ) -> None:
        self.clock = clock
        self.names = [f"gpu{number}" for number in range(count)]
        instances = [{"name": name, "url": f"http://127.0.0.1:{11_500 + n}"} for n, name in enumerate(self.names)]
        defaults = {"num_parallel": 4, "vram": "48GiB", "ollama": {"max_loaded_models": 3}}
        document = {"defaults": defaults, "instances": instances, "policies": {"hold_timeout": "60s"}}
        asks = {"keys": {"file": keys, "admin": True}} if keys else {}
        fleet = loads(json.dumps({**document, **asks}))
        self.fleet = fleet
        self.agent = Agent(specs(fleet), Board(), _nothing, clock)
        self.watch = Watch(self.agent, HealthPolicy(), _healthy, clock)
        self.limiter = Limiter(fleet, self.agent, self.watch)
        self.contact = Contact()
        self.gpus = Gpus(self.names)
        self.trend = Trend(self.agent, self.contact)
        self.warnings: list[str] = []
        self.dashboard = Dashboard(self.agent, self.status, self.trend, clock, **of_dashboard)
        self.listen = Listen("127.0.0.1", free_port())
        self._number = 0
        for name in self.names:
            self.reads(name)

    def status(self, now_s: float, most_held: int | None = None) -> dict[str, Any]:
        return status(self, self.limiter, self.contact, 0.0, now_s, self.warnings, most_held)

    def reads(self, name: str, *models: str, spilled: float = 0.0) -> None:
        """Have an instance say that it has these loaded."""
        loaded = {
            canonical(model): LoadedModel(SIZES[model] * GIB, int(SIZES[model] * GIB * (1 - spilled)), 8192)
            for model in models
        }
        installed = {canonical(model): InstalledModel(size * GIB) for model, size in SIZES.items()}
        reading = Reading(self.clock(), loaded=loaded, installed=installed, version="0.33.0")
        self.watch.published(name, reading)

    def dies(self, name: str) -> None:
        """Have an instance refuse connections."""
        for _ in range(2):
            self.watch.published(name, Reading(self.clock(), PollResult.REFUSED, "connection refused"))

    def telemetry(self, name: str, foreign_bytes: int = 0, slow: str = "", broken: str = "") -> None:
        """Have an instance's GPUs say this."""
        notes = (f"other programs hold {foreign_bytes / GIB:.1f} GiB of GPU memory",) if foreign_bytes else ()
        group = GpuGroup(TOTAL, TOTAL, foreign_bytes, 0.5, GpuDoubt(slow, broken), notes)
        self.agent.board.publish_gpus({**self.agent.board.snapshot({}, 0.0).gpus, name: group})

    def asks(self, model: str, instance: str | None = None, caller: str = "10.0.0.7") -> tuple[str, Choice]:
        """Have somebody ask; return the request's id, and what was decided."""
        self._number += 1
        facts = RequestFacts(f"r{self._number}", Kind.INFERENCE, Dialect.OLLAMA, caller=caller, wishes=Wishes(instance))
        return facts.request_id, self.agent.decide(facts.naming(model))

    def ends(self, request_id: str, server: str, first_byte_s: float = 0.2, is_whole: bool = True) -> None:
        """Have a request end."""
        ending = Ending(first_byte_s, first_byte_s + 2.0, is_whole)
        status, termination = (200, "--") if is_whole else (502, "SH--")
        line = Line(request_id, server, ending, status, termination, kind=Kind.INFERENCE)
        self.contact.ended(line)
        self.watch.ended(line)
        self.agent.record.ended(line)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Answer at the admin port; give its address."""
        metrics = Exposition(self, self.limiter, self.contact)
        # Nothing is reloaded, restarted or brought back here.
        by_hand = self._keep, self._told, None, None, None
        admin = Admin(
            self.agent,
            self.watch,
            self._status,
            *by_hand,  # type: ignore[arg-type]
            metrics,
            lambda: [],
            self.dashboard.application(),
            Operators(lambda: self.fleet),
        )
        await admin.listen(bind(self.listen))
        try:
            yield f"http://{self.listen}"
        finally:
            await admin.close()

    async def _status(self) -> dict[str, Any]:
        return self.status(self.clock())

    def _keep(self) -> bool:
        return True

    async def _told(self, _: str) -> bool:
        return True


async def _nothing() -> None:
    """Lists are always current here."""


async def _healthy(_instance: str, _what: object, _deadline_s: float) -> str:
    return ""


def busy(stage: Stage, pieces: int = 12) -> None:
    """A usual moment: models loaded and in use everywhere, loads under way, ends, a past hour."""
    models = list(SIZES)
    for number, name in enumerate(stage.names):
        own = {models[(number * 2 + step) % len(models)] for step in range(1 + number % 3)}
        stage.reads(name, *sorted(own))
        stage.telemetry(name)
        for model in sorted(own)[: number % 3]:
            for _ in range(1 + number % 4):
                stage.asks(model, name)
        if number % 4 == 1:
            stage.asks(next(model for model in models if model not in own), name)
    stage.gpus.read(utilisation=0.83, temperature_c=61.0, power_w=228.0, power_limit_w=350.0, throttle=frozenset())
    for piece in range(pieces):
        for _ in range(1 + piece % 3):
            request_id, choice = stage.asks(models[piece % len(models)])
            if choice.instance:
                stage.ends(request_id, choice.instance, 0.1 + 0.05 * (piece % 9), is_whole=bool(piece % 29))
        stage.trend.take()
