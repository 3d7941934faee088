"""What `/api/show` says of the models in lists, so that their memory is known before they were ever loaded.

Asked once for each digest, one model at a time, of an instance that has nothing to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from math import inf

import structlog

from spoe_agent.agent.agent import Agent
from spoe_agent.instances.http import said
from spoe_agent.instances.ollama import FAILURES
from spoe_agent.routing import Health
from spoe_agent.routing.memory import ModelShape
from spoe_agent.routing.names import display, is_cloud

log = structlog.get_logger()

PAUSE_S = 1.0
"""Between two questions: Ollama reads the beginning of the model's file for each."""

AGAIN_S = 600.0
"""Who gave no answer is asked for that model again after so long; meanwhile others are."""

SPARE = 1_000
"""Shapes that are kept of models in no list: a list may be gone for a moment."""

Show = Callable[[str, str], Awaitable[ModelShape | None]]
"""Asks an instance for a model's shape. Raises any of FAILURES."""


class Shown:
    """Keeps the shapes of models, by digest, and puts them on the board."""

    def __init__(self, agent: Agent, show: Show, clock: Callable[[], float] = time.monotonic) -> None:
        self._agent = agent
        self._show = show
        self._clock = clock
        self._known: dict[str, ModelShape] = {}
        self._again_at_s: dict[tuple[str, str], float] = {}
        """By instance and digest: of whom gave no answer, and with "" for all, of what a file says too little."""
        self._failed_at_s: dict[str, float] = {}
        """By instance: others that have the model too are asked before it."""
        self._read: list[Mapping[str, str]] = []
        """The lists that were published."""
        self._unknown: dict[int, dict[str, str]] = {}
        """By a list's id: what in it no shape is known of, so that a second without news looks at nothing else."""

    def kept(self) -> dict[str, ModelShape]:
        """Return the shapes of what is in lists, by digest, for the next agent."""
        listed = {digest for digests in self._lists() for digest in digests.values()}
        return {digest: shape for digest, shape in self._known.items() if digest in listed}

    def take(self, shapes: Mapping[str, ModelShape]) -> None:
        """Go on with what an agent before this one knew."""
        self._known.update(shapes)
        self._publish(self._lists())

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PAUSE_S)

    async def look(self) -> None:
        """Ask for the shape of one model, if there is one that nobody was asked for and an instance has time."""
        lists = self._lists()
        if list(map(id, lists)) != list(map(id, self._read)):
            self._publish(lists)
        found = self._next()
        if found is None:
            return
        instance, model, digest = found
        shape, why, who = None, "it says too little of the model", ""
        try:
            shape = await self._show(instance, display(model))
        except FAILURES as error:
            why, who = said(error), instance
            self._failed_at_s[instance] = self._clock()
        if shape is None:
            self._again_at_s[who, digest] = self._clock() + AGAIN_S
            log.debug("no shape", model=display(model), instance=instance, why=why)
            return
        self._known[digest] = shape
        self._learned(digest)

    def _lists(self) -> list[Mapping[str, str]]:
        """Return the digests in the instances' lists, those of a shared store once."""
        digests = self._agent.board.namesakes.digests
        found = [digests[spec.name] for spec in self._agent.fleet.instances if spec.name in digests]
        return list({id(listed): listed for listed in found}.values())

    def _next(self) -> tuple[str, str, str] | None:
        """Return a model of which nothing is known, one that is asked for if there is one: instance, model, digest."""
        now_s, digests = self._clock(), self._agent.board.namesakes.digests
        rates = self._agent.learner.learned(now_s).rate_per_s or {}
        due_in: dict[int, list[tuple[str, str]]] = {}
        for name in sorted(self._idle(), key=lambda name: self._failed_at_s.get(name, -inf)):
            number = id(digests.get(name))
            if number not in due_in:
                due_in[number] = [it for it in self._unknown.get(number, {}).items() if self._is_due(*it, now_s)]
            due = [it for it in due_in[number] if self._again_at_s.get((name, it[1]), now_s) <= now_s]
            if due:
                return (name, *max(due, key=lambda one: rates.get(one[0], 0.0)))
        return None

    def _is_due(self, model: str, digest: str, now_s: float) -> bool:
        if self._again_at_s.get(("", digest), now_s) > now_s:
            return False
        return self._agent.fleet.rule(model).shape is None

    def _idle(self) -> Iterable[str]:
        board = self._agent.board
        for spec in self._agent.fleet.instances:
            there = board.activity(spec.name)
            is_idle = not (there.in_flight or there.loading or there.reserved)
            if is_idle and board.state(spec.name).health is Health.UP:
                yield spec.name

    def _learned(self, digest: str) -> None:
        """Publish what is known since now; a name that stands for others elsewhere is of the last list's."""
        names = set[str]()
        for unknown in self._unknown.values():
            found = [model for model, of in unknown.items() if of == digest]
            names.update(found)
            for model in found:
                del unknown[model]
        known = {
            model: self._known[digests[model]]
            for digests in self._read
            for model in names & digests.keys()
            if digests[model] in self._known
        }
        self._agent.board.shapes = {**self._agent.board.shapes, **known}

    def _publish(self, lists: list[Mapping[str, str]]) -> None:
        """Publish all that is known of what is in lists, which have changed, and forget what has left them."""
        self._read, now_s = lists, self._clock()
        self._again_at_s = {what: at_s for what, at_s in self._again_at_s.items() if at_s > now_s}
        listed = {digest for digests in lists for digest in digests.values()}
        if len(self._known) > len(listed) + SPARE:
            self._known = {digest: shape for digest, shape in self._known.items() if digest in listed}
        self._unknown = {id(digests): self._unknown_in(digests) for digests in lists}
        self._agent.board.shapes = {
            model: self._known[digest]
            for digests in lists
            for model, digest in digests.items()
            if digest in self._known
        }

    def _unknown_in(self, listed: Mapping[str, str]) -> dict[str, str]:
        known = self._known
        return {
            model: digest for model, digest in listed.items() if digest and digest not in known and not is_cloud(model)
        }
