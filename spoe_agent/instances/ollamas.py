"""The Ollamas of a fleet, each polled in a task of its own; they come and go with the fleet file.

Lives here: which are polled, and that a new one was read before anybody hears of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Protocol

from spoe_agent.agent.persistently import persistently
from spoe_agent.fleet import Fleet, Instance, PollPolicy
from spoe_agent.instances.beat import Beat
from spoe_agent.instances.http import said
from spoe_agent.instances.lists import Lists
from spoe_agent.instances.ollama import FAILURES
from spoe_agent.instances.poll import Lister, Poller
from spoe_agent.instances.reading import Reading
from spoe_agent.routing.memory import ModelShape

Publish = Callable[[str, Reading], None]


class Client(Lister, Protocol):
    """One Ollama's API, or a stand-in of a test."""

    @property
    def lists(self) -> Lists:
        """What the server said last."""

    def presume(self, other: Any) -> None:
        """Take the server to have the same installed as another one, until it is asked."""

    async def unload(self, model: str) -> None:
        """Have a model unloaded as soon as it is idle."""

    async def touch(self, model: str, context_length: int) -> None:
        """Have a model stay loaded for another keep_alive."""

    async def load(self, model: str) -> None:
        """Have a model loaded."""

    async def shape(self, model: str) -> ModelShape | None:
        """Return what a model's file says of its memory."""


class PolledOllama:
    """One instance of the fleet. Until it is in force, its readings are kept."""

    def __init__(
        self, instance: Instance, policy: PollPolicy, client: Client, publish: Publish, clock: Callable[[], float]
    ) -> None:
        self.instance = instance
        self.policy = policy
        self.client = client
        beat = Beat(policy.interval, clock)
        self.poller = Poller(instance.name, client, self._published, beat, policy.tags_interval)
        self._publish = publish
        self._kept: list[Reading] = []
        self._is_in_force = False

    def put_in_force(self) -> None:
        """Publish what was read, and whatever comes from now on."""
        self._is_in_force = True
        kept, self._kept = self._kept, []
        for reading in kept:
            self._publish(self.instance.name, reading)

    def withdraw(self) -> None:
        """Publish nothing any more: what is being asked now is about a server that this name no longer stands for."""
        self._is_in_force = False

    def _published(self, name: str, reading: Reading) -> None:
        if self._is_in_force:
            self._publish(name, reading)
        else:
            self._kept.append(reading)


class Ollamas:
    """All instances in force. `connect` makes the client of one; `run` polls until cancelled."""

    def __init__(
        self, connect: Callable[[Instance, PollPolicy], Client], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._all: dict[str, PolledOllama] = {}
        self._tasks: dict[PolledOllama, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    @property
    def pollers(self) -> list[Poller]:
        """Those of all instances in force."""
        return [one.poller for one in self._all.values()]

    async def read(self, fleet: Fleet, publish: Publish) -> list[PolledOllama]:
        """Return the Ollamas of a fleet: those in force that are as they were, others with their first readings."""
        found = [
            self._same(instance, fleet.policies.poll) or self._new(instance, fleet, publish)
            for instance in fleet.instances
        ]
        await _read(one for one in found if one not in self._all.values())
        return found

    def put_in_force(self, ollamas: Iterable[PolledOllama]) -> None:
        """Poll these and no others."""
        before = list(self._all.values())
        self._all = {one.instance.name: one for one in ollamas}
        for one in self._all.values():
            if one not in before:
                one.put_in_force()
                self._start(one)
        for one in before:
            if one not in self._all.values():
                one.withdraw()
                if one in self._tasks:
                    self._tasks.pop(one).cancel()

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                for one in self._all.values():
                    self._start(one)
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None

    async def refresh(self) -> None:
        """Ask all for their lists now."""
        await _read(self._all.values())

    async def refresh_some(self, instances: Collection[str]) -> None:
        """Ask some for their lists now; what the fleet file lost just now is not asked."""
        await _read([one for name, one in self._all.items() if name in instances])

    async def poll_some(self, instances: Collection[str]) -> None:
        """Ask some now for what they have loaded."""
        await asyncio.gather(*(one.poller.poll() for name, one in self._all.items() if name in instances))

    async def refresh_stores(self, dead: Collection[str]) -> None:
        """Ask one of each store for its lists. Where there is news the others are taken to say the same, and are asked
        with their next poll, one after another: requests go by what an instance has said itself.

        Args:
            dead: instances of which no answer is to be expected.
        """
        before, sharing = self.lists(), dict[tuple[str, int], list[PolledOllama]]()
        for name, one in self._all.items():
            if name not in dead:
                # Those of one store that do not say the same share none.
                sharing.setdefault((one.instance.store, id(before[name].installed_text)), []).append(one)
        await self.refresh_some([ones[0].instance.name for ones in sharing.values()])
        for first, *others in sharing.values():
            if first.client.lists.installed_text != before[first.instance.name].installed_text:
                for other in others:
                    other.client.presume(first.client)
                    other.poller.want_lists()

    async def unload(self, instance: str, model: str) -> str:
        """Have an instance unload a model; one that the fleet file lost just now does not. Return what went wrong."""
        return await self._ask(instance, lambda client: client.unload(model))

    async def touch(self, instance: str, model: str, context_length: int) -> str:
        """Have an instance keep a model loaded; as `unload`."""
        return await self._ask(instance, lambda client: client.touch(model, context_length))

    async def load(self, instance: str, model: str) -> str:
        """Have an instance load a model, however long that takes; as `unload`."""
        return await self._ask(instance, lambda client: client.load(model))

    async def shape(self, instance: str, model: str) -> ModelShape | None:
        """Return what an instance says of a model's memory; None: too little. Raises any of FAILURES."""
        return await self._all[instance].client.shape(model) if instance in self._all else None

    async def _ask(self, instance: str, ask: Callable[[Client], Awaitable[None]]) -> str:
        try:
            if instance in self._all:
                await ask(self._all[instance].client)
        except FAILURES as error:
            return said(error)
        return ""

    def lists(self) -> dict[str, Lists]:
        """Return what each said last, by name, in the fleet file's order."""
        return {name: one.client.lists for name, one in self._all.items()}

    def find(self, name: str) -> Instance | None:
        """Return an instance that is in force."""
        return self._all[name].instance if name in self._all else None

    def _same(self, instance: Instance, policy: PollPolicy) -> PolledOllama | None:
        one = self._all.get(instance.name)
        as_before = (instance.url, instance.ca_file, policy)
        if one is None or (one.instance.url, one.instance.ca_file, one.policy) != as_before:
            return None
        return one

    def _new(self, instance: Instance, fleet: Fleet, publish: Publish) -> PolledOllama:
        policy = fleet.policies.poll
        return PolledOllama(instance, policy, self._connect(instance, policy), publish, self._clock)

    def _start(self, one: PolledOllama) -> None:
        if self._group is not None:
            what = f"polls of {one.instance.name}"
            self._tasks[one] = self._group.create_task(persistently(what, one.poller.run))


async def _read(ollamas: Iterable[PolledOllama]) -> None:
    await asyncio.gather(*(one.poller.refresh_lists() for one in ollamas))
