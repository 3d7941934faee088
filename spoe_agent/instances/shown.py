"""What `/api/show` says of the models in lists, so that their memory is known before they were ever loaded.

Asked once for each digest, one model at a time, of an instance that has nothing to do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

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
"""Who gave no answer is asked for that model again after so long."""

Show = Callable[[str, str], Awaitable[ModelShape | None]]
"""Asks an instance for a model's shape. Raises any of FAILURES."""


class Shown:
    """Keeps the shapes of models, by digest, and puts them on the board."""

    def __init__(self, agent: Agent, show: Show, clock: Callable[[], float] = time.monotonic) -> None:
        self._agent = agent
        self._show = show
        self._clock = clock
        self._known: dict[str, ModelShape] = {}
        self._again_at_s: dict[str, float] = {}
        """By digest: of models of which nobody told enough."""
        self._read: list[Mapping[str, str]] = []

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
        if lists != self._read:
            self._publish(lists)
        found = self._next()
        if found is None:
            return
        instance, model, digest = found
        shape, why = None, "it says too little of the model"
        try:
            shape = await self._show(instance, display(model))
        except FAILURES as error:
            why = said(error)
        if shape is None:
            self._again_at_s[digest] = self._clock() + AGAIN_S
            log.debug("no shape", model=display(model), instance=instance, why=why)
            return
        self._known[digest] = shape
        self._publish(lists)

    def _lists(self) -> list[Mapping[str, str]]:
        """Return the digests in the instances' lists."""
        digests = self._agent.board.namesakes.digests
        return [digests[spec.name] for spec in self._agent.fleet.instances if spec.name in digests]

    def _next(self) -> tuple[str, str, str] | None:
        """Return a model of which nothing is known, one that is asked for if there is one: instance, model, digest."""
        now_s, digests = self._clock(), self._agent.board.namesakes.digests
        rates = self._agent.learner.learned(now_s).rate_per_s or {}
        seen: list[Mapping[str, str]] = []
        for name in self._idle():
            listed = digests.get(name, {})
            if not any(listed is one for one in seen):
                due = [(name, *it) for it in listed.items() if self._is_due(*it, now_s)]
                if due:
                    return max(due, key=lambda one: rates.get(one[1], 0.0))
                seen.append(listed)
        return None

    def _is_due(self, model: str, digest: str, now_s: float) -> bool:
        if not digest or digest in self._known or is_cloud(model) or self._again_at_s.get(digest, now_s) > now_s:
            return False
        return self._agent.fleet.rule(model).shape is None

    def _idle(self) -> Iterable[str]:
        board = self._agent.board
        for spec in self._agent.fleet.instances:
            there = board.activity(spec.name)
            is_idle = not (there.in_flight or there.loading or there.reserved)
            if is_idle and board.state(spec.name).health is Health.UP:
                yield spec.name

    def _publish(self, lists: list[Mapping[str, str]]) -> None:
        self._read = lists
        self._agent.board.shapes = {
            model: self._known[digest]
            for digests in lists
            for model, digest in digests.items()
            if digest in self._known
        }
