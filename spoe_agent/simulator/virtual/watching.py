"""The agent's watch over its instances, on virtual time: what pollers and HAProxy's log tell it, and its probes.

It plays the poller and drives the watch's own coroutines by hand, for there is no event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from dataclasses import dataclass

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.ending import Ending, Line
from spoe_agent.agent.grant import Grant
from spoe_agent.fleet import HealthPolicy
from spoe_agent.instances.lists import Installed, InstalledModel
from spoe_agent.instances.probe import Target
from spoe_agent.instances.reading import PollResult, Reading
from spoe_agent.instances.watch import TICK_S, Watch
from spoe_agent.routing import Kind, LoadedModel
from spoe_agent.routing.keep import Touch
from spoe_agent.simulator.virtual.requests import BROKEN, CLIENT_LEFT, TIMED_OUT, RequestOutcome


@dataclass(frozen=True, slots=True)
class Asked:
    """A probe on its way."""

    instance: str
    what: Target
    deadline_s: float

    def __await__(self) -> Generator[Asked, str, str]:
        return (yield self)


def faster(time_scale: float) -> HealthPolicy:
    """Return the usual policy with times that are so many times shorter."""
    usual = HealthPolicy()
    shorter = {key: value / time_scale for key, value in usual.model_dump(exclude={"errors"}).items()}
    return usual.model_copy(update=shorter)


class Watching:
    """Passes on what an agent learns of its instances. Times are the agent's own.

    Args:
        agent: whose instances they are.
        installed: what each instance has on disk.
        clock: the agent's.
        policy: when an instance is doubted.
    """

    def __init__(
        self,
        agent: Agent,
        installed: Mapping[str, Mapping[str, InstalledModel]],
        clock: Callable[[], float],
        policy: HealthPolicy,
    ) -> None:
        self._agent = agent
        self._watch = Watch(agent, policy, self._send, clock, wall=clock)
        self._clock = clock
        # Made once, as where a list is read again that says the same.
        self._installed = {name: Installed.of(models) for name, models in installed.items()}
        self._probing: dict[str, Coroutine[Asked, str, None]] = {}
        self._looked_at_s = 0.0

    def polled(self, instance: str, loaded: Mapping[str, LoadedModel]) -> None:
        """Take what an instance has loaded."""
        self._watch.published(instance, Reading(self._clock(), loaded=loaded, installed=self._installed[instance]))

    def refused(self, instance: str) -> None:
        """Nobody listened at a poll."""
        self._watch.published(instance, Reading(self._clock(), PollResult.REFUSED, "connection refused"))

    def not_taken(self, instance: str, grant: Grant | None) -> None:
        """An instance did not take a request."""
        self._watch.refused(instance, grant)

    def ended(
        self, request_id: str, record: RequestOutcome, server: str, ending: Ending, is_redispatched: bool
    ) -> None:
        """Take HAProxy's log line of a request."""
        cut = record.status == BROKEN and record.first_at_s is not None
        status = 200 if cut else record.status
        about = request_id, server, ending, status, _termination(record), 0, is_redispatched
        line = Line(*about, kind=Kind.INFERENCE)
        self._watch.ended(line)

    def probes(self) -> Iterator[Asked]:
        """Look for stalls, as often as the agent does, and return the probes to be sent."""
        if self._clock() - self._looked_at_s < TICK_S:
            return
        self._looked_at_s = self._clock()
        self._watch.look()
        for health in self._watch.due():
            probing = self._watch.probe(health)
            try:
                asked = probing.send(None)
            except StopIteration:
                continue  # nothing would tell
            self._probing[health.instance] = probing
            yield asked

    def touches(self) -> list[Touch]:
        """Return what the agent has touched now."""
        found = self._agent.touches(self._clock())
        for touch in found:
            self._watch.touched(touch.instance, touch.model)
        return found

    def probed(self, instance: str, is_answered: bool) -> None:
        """Take a probe's outcome."""
        try:
            self._probing.pop(instance).send("" if is_answered else "no answer")
        except StopIteration:
            return
        raise AssertionError("a probe asks once")

    async def _send(self, instance: str, what: Target, deadline_s: float) -> str:
        return await Asked(instance, what, deadline_s)


def _termination(record: RequestOutcome) -> str:
    """Return HAProxy's two letters (configuration.txt 8.5): D after the answer has begun, else H."""
    who = {BROKEN: "S", TIMED_OUT: "s", CLIENT_LEFT: "C"}.get(record.status)
    if who is None:
        return "--"
    return who + ("H" if record.first_at_s is None else "D")
