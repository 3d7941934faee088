"""What makes the parts of an agent, and has them follow the fleet file while they run.

Lives here: who is connected to whom, and in which order a new fleet is put in force.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

import aiohttp
import structlog

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.ending import Ending
from spoe_agent.agent.grant import Grant
from spoe_agent.agent.learner import Learner
from spoe_agent.agent.persistently import persistently
from spoe_agent.agent.preload import without_own
from spoe_agent.agent.statefile import Kept
from spoe_agent.door.catalogue import differing
from spoe_agent.fleet import Fleet, Instance, PollPolicy, specs
from spoe_agent.gpus.board import InstanceGpus
from spoe_agent.gpus.watch import GpuWatch
from spoe_agent.instances.lists import Lists
from spoe_agent.instances.ollama import OllamaClient
from spoe_agent.instances.ollamas import Ollamas
from spoe_agent.instances.probe import Target, probe
from spoe_agent.instances.processes import OllamaProcesses
from spoe_agent.instances.reach import reach
from spoe_agent.instances.relist import Relister
from spoe_agent.instances.shown import Shown
from spoe_agent.instances.spills import Repairs
from spoe_agent.instances.watch import Watch
from spoe_agent.routing import Health
from spoe_agent.routing.keep import Touch
from spoe_agent.routing.names import display

log = structlog.get_logger()

TICK_S = 0.25
"""How often held requests are looked at for time alone."""

PRELOAD_S = 1.0
"""Between the beginnings of two loads of the agent's own: those of several instances at once slow each other down."""

KEEP_S = 1.0
"""How often it is asked whether a loaded model is to be kept."""


class Runs(Protocol):
    """Something that keeps the agent informed."""

    async def run(self) -> None:
        """Run until cancelled."""


NOTHING_ELSE: Mapping[str, Callable[[], Awaitable[None]]] = {}


class Gpus(Runs, InstanceGpus, Protocol):
    """What reads the instances' GPUs, and is run for that."""

    def warnings(self) -> list[str]:
        """Return what people should know of that."""


class Parts:
    """An agent and what keeps it informed. `run` must be running for that; `adopt` before or meanwhile.

    `background`: what else runs for that, by its name in the log.
    """

    def __init__(
        self,
        fleet: Fleet,
        agent: Agent,
        watch: Watch,
        ollamas: Ollamas,
        gpus: Callable[[Fleet], Gpus],
        background: Mapping[str, Callable[[], Awaitable[None]]] = NOTHING_ELSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.fleet = fleet
        self.agent = agent
        self.board: Board = agent.board
        self.watch = watch
        self.ollamas = ollamas
        self.gpus = gpus(fleet)
        self._gpus_of = gpus
        self.shown = Shown(agent, ollamas.shape, clock)
        self._background = background
        self._clock = clock
        self._gpu_task: asyncio.Task[None] | None = None
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Keep the agent informed until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                runs: dict[str, Callable[[], Awaitable[None]]] = {
                    "reading Ollama's lists": self.ollamas.run,
                    "judging instances": self.watch.run,
                    "looking at the time": self._tick,
                    "keeping models loaded": self._keep,
                    "preloading": self._preload,
                    "reading what models are like": self.shown.run,
                    **self._background,
                }
                for what, run in runs.items():
                    group.create_task(persistently(what, run))
                self._gpu_task = group.create_task(persistently("GPUs", self.gpus.run))
        finally:
            self._group = None

    def kept(self) -> Kept:
        """Return what the next agent must know."""
        watch, ledgers, to_load = self.watch, without_own(self.board.ledgers()), self.agent.preload.to_load()
        return Kept(
            self.agent.learner, watch.drained, ledgers, watch.doubts(), watch.loaded(), to_load, self.shown.kept()
        )

    def take(self, kept: Kept) -> None:
        """Go on where an agent before this one was."""
        self.agent.learner.take(kept.learner)
        self.board.take(kept.ledgers, self._clock())
        self.watch.restore(kept)
        self.agent.preload.take(kept.to_load)
        self.shown.take(kept.shapes)

    def warnings(self) -> list[str]:
        """Return what the status says first: where the fleet file and the world do not go together."""
        missing = self.agent.missing_in_haproxy()
        not_there = [f"HAProxy did not have {name}, or not at this address, when it asked last" for name in missing]
        wrong = [what for _, what in self.agent.settings.differences(self._clock())]
        return [*self.gpus.warnings(), *wrong, *not_there, *self._differing()]

    def _differing(self) -> list[str]:
        lists = self.lists()
        found = differing({one.store: lists[one.name] for one in reversed(self.fleet.instances) if one.name in lists})
        names = ", ".join(map(display, found[:4])) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
        return [f"not the same in every store that has a model of this name: {names}"] if found else []

    def lists(self) -> dict[str, Lists]:
        """Return what the instances say of their models; nothing is loaded where nobody answers any more."""
        said = self.ollamas.lists()
        return {name: lists if self.board.state(name).loaded else lists.unloaded() for name, lists in said.items()}

    async def look(self) -> None:
        """Have the lists of what is installed read now, of every store once."""
        await self.ollamas.refresh_stores([one.name for one in self.fleet.instances if self._is_down(one.name)])

    def _is_down(self, name: str) -> bool:
        return self.board.state(name).health is Health.DOWN

    async def adopt(self, fleet: Fleet) -> None:
        """Put a fleet in force. What is new in it is read first, so that answers come before questions; what is as it
        was goes on as it is, with all that is known of it.
        """
        ollamas = await self.ollamas.read(fleet, self.watch.published)
        gone = [one.name for one in self.fleet.instances if not _stays(one, fleet)]
        before, self.fleet = self.fleet, fleet
        for name in gone:
            self.board.forget_instance(name)
        self.agent.adopt(specs(fleet))
        self.watch.adopt(fleet.policies.health, gone)
        self.ollamas.put_in_force(ollamas)
        if _gpus(before) != _gpus(fleet):
            self._renew_gpus()
        self.agent.release()

    def _renew_gpus(self) -> None:
        self.gpus = self._gpus_of(self.fleet)
        self.board.publish_gpus({})
        if self._group is not None and self._gpu_task is not None:
            self._gpu_task.cancel()
            self._gpu_task = self._group.create_task(persistently("GPUs", self.gpus.run))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.agent.tick()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_S)
            await self.keep_loaded(time.time())

    async def keep_loaded(self, wall_s: float) -> None:
        """Touch the models that are to stay loaded and would go soon. `wall_s`: seconds since 1970."""
        await asyncio.gather(*map(self._touch, self.agent.touches(wall_s)))

    async def _touch(self, touch: Touch) -> None:
        failure = await self.ollamas.touch(touch.instance, display(touch.model), touch.context_length)
        self.watch.touched(touch.instance, touch.model)
        log.debug("touched", instance=touch.instance, model=touch.model, failure=failure)

    async def bring_back(self, instance: str, models: Iterable[str]) -> None:
        """Have an instance that was started anew load these models, though it is drained."""
        await self.ollamas.refresh_some([instance])
        self.agent.preload.came_up(instance, models, self._clock(), even_drained=True)

    async def _preload(self) -> None:
        async with asyncio.TaskGroup() as loads:
            while True:
                loads.create_task(self._load())
                await asyncio.sleep(PRELOAD_S)

    async def _load(self) -> None:
        """Have the next model loaded, if one is due, unless the load has to give way."""
        # Entered here, not before: a task that is cancelled before its first step undoes nothing.
        load = self.agent.preload.due(self._clock())
        if load is None:
            return
        begun_s, ending, is_cut_off = self._clock(), None, False
        asked = asyncio.ensure_future(self.ollamas.load(load.instance, display(load.model)))
        try:
            while not asked.done() and not self.agent.preload.gives_way(load):
                await asyncio.wait([asked], timeout=TICK_S)
            failure = asked.result() if asked.done() else "gave way to a request that has to load another model"
            took_s = self._clock() - begun_s
            ending = Ending(took_s, took_s, not failure)
            # Whoever waits for the load is told that it has ended when requests can see what it loaded.
            await self.ollamas.poll_some([load.instance])
            told = {"instance": load.instance, "model": display(load.model), "took_s": round(took_s, 1)}
            log.info("not preloaded" if failure else "preloaded", **told, **({"why": failure} if failure else {}))
        except asyncio.CancelledError:
            is_cut_off = True
            raise
        finally:
            asked.cancel()
            self.watch.touched(load.instance, load.model)
            self.agent.ended(load.request_id, load.instance, ending)
            self.agent.preload.ended(load, is_cut_off)


def _stays(instance: Instance, fleet: Fleet) -> bool:
    return any((one.name, one.url) == (instance.name, instance.url) for one in fleet.instances)


def _gpus(fleet: Fleet) -> object:
    """Return what readings of GPUs depend on."""
    return fleet.telemetry, [(one.name, one.host, one.gpus) for one in fleet.instances]


async def assemble(
    fleet: Fleet,
    session: aiohttp.ClientSession,
    learner: Learner | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Parts:
    """Return an agent for a fleet, with its first readings taken."""

    def connect(instance: Instance, policy: PollPolicy) -> OllamaClient:
        return OllamaClient(session, reach(instance), policy.timeout)

    async def ask(instance: str, what: Target, deadline_s: float) -> str:
        to = ollamas.find(instance)
        if to is None:
            return "is not in the fleet file any more"
        return await probe(session, reach(to), what, deadline_s)

    def refused(instance: str, grant: Grant | None) -> None:
        watch.refused(instance, grant)

    ollamas, board = Ollamas(connect, clock), Board()
    agent = Agent(specs(fleet), board, ollamas.refresh, clock, learner, ollamas.unload, refused)
    relist = Relister(lambda name: ollamas.refresh_some([name]))
    watch = Watch(agent, fleet.policies.health, ask, clock, relist)
    processes = OllamaProcesses(
        lambda: parts.fleet.instances, agent.settings.started, lambda name: board.state(name).version
    )
    background = {
        "reading lists anew": relist.run,
        "looking for Ollama's processes": processes.run,
        "repairing spilled copies": Repairs(agent, ollamas.unload, clock).run,
    }
    parts = Parts(fleet, agent, watch, ollamas, lambda fleet: GpuWatch(fleet, board, session), background, clock)
    await parts.adopt(fleet)
    return parts
