"""How long things usually take on an instance: what the agent learned, and the longest requests lately."""

from __future__ import annotations

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.ending import Line
from spoe_agent.agent.grant import Grant
from spoe_agent.instances.ended import Manner
from spoe_agent.instances.stall import Expect, Expected
from spoe_agent.routing import InstanceSpec, Snapshot, Tier
from spoe_agent.routing.estimates import load_s, service_s, weights_bytes

FIRST_BYTE_S = 1.0
"""Until something was learned."""

LONGEST_FADES = 0.99
"""With each whole request of a model, what is known of its longest one."""


class Usual:
    """What to expect of an agent's models."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._longest_s: dict[str, float] = {}

    def ended(self, line: Line, grant: Grant, treated: Manner) -> None:
        """Take the time of a request; that of a load is another matter."""
        if treated is Manner.SERVED and grant.tier is Tier.LOADED:
            faded_s = LONGEST_FADES * self._longest_s.get(grant.model, 0.0)
            self._longest_s[grant.model] = max(faded_s, line.ending.total_s)

    def on(self, spec: InstanceSpec, snapshot: Snapshot) -> Expect:
        """Return what tells of each model what is usual on an instance."""
        learned, fleet = self._agent.learner.learned(snapshot.at_s), self._agent.fleet

        def expect(model: str) -> Expected:
            rule, is_one = fleet.rule(model), model in snapshot.state(spec.name).one_by_one
            weights = weights_bytes(model, rule, snapshot)
            first = self._agent.learner.first_byte.get((model, spec.name))
            return Expected(
                FIRST_BYTE_S if first is None else first.seconds,
                service_s(learned, model, spec.name, weights),
                load_s(learned, model, spec, weights),
                1 if is_one else rule.slots(spec.num_parallel),
                self._longest_s.get(model, 0.0),
            )

        return expect
