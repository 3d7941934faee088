"""What is done with a question of HAProxy's, and when it is answered: at once, or after something else has happened."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence

import structlog

from spoe_agent.agent.agent import Agent
from spoe_agent.haproxy import bridge
from spoe_agent.haproxy.contract import Question
from spoe_agent.haproxy.inspector import Crowded, Inspector
from spoe_agent.haproxy.tally import Tally
from spoe_agent.requests.glimpse import NeedsWhole
from spoe_agent.routing import Action, Choice, Reason, RequestFacts, RequestProblem
from spoe_agent.spop import Message, VarAction

log = structlog.get_logger()

Actions = Sequence[VarAction]
Later = Coroutine[None, None, Actions]


class Questions:
    """Answers messages that bring their facts along."""

    def __init__(self, agent: Agent, news: Callable[[], None], inspector: Inspector, tally: Tally) -> None:
        """`news`: called before a question is decided that was long under way."""
        self._agent = agent
        self._tally = tally
        self._news = news
        self._inspector = inspector

    def on(self, message: Message) -> Actions | Later:
        """Return the answer's actions, or what gives them later, unless it raises Undecided."""
        if message.name == Question.INSPECT:
            return self._inspected(message)
        try:
            facts = bridge.facts(message, self._agent.fleet.policy)
            return self._settled(self._agent.decide(facts), facts)
        except NeedsWhole:
            return bridge.whole_wanted()
        except bridge.Unasked as error:
            return unanswered(str(error))
        except Exception:
            # A bug of ours must not hold up the request: HAProxy goes on as if the agent were dead.
            log.exception("decision failed")
            self._tally.errors["agent"] += 1
            return unanswered("agent error")

    def _settled(self, choice: Choice, facts: RequestFacts) -> Actions | Later:
        if self._agent.is_worth_a_second_look(choice):
            return self._looked_at_again(facts)
        return self.with_room(choice, facts) if self._agent.unloading.is_needed(choice) else self.actions(choice, facts)

    def actions(self, choice: Choice, facts: RequestFacts) -> Actions:
        """Return the answer."""
        return bridge.actions(choice, facts, self._agent.is_repeated(choice, facts))

    async def with_room(self, choice: Choice, facts: RequestFacts) -> Actions:
        """Return the answer when the room is made that the choice needs."""
        await self._agent.unloading.make_room(choice)
        return self.actions(choice, facts)

    async def _looked_at_again(self, facts: RequestFacts) -> Actions:
        return await self.with_room(await self._agent.decide_again(facts), facts)

    async def _inspected(self, message: Message) -> Actions:
        try:
            facts = await self._inspector.read(bridge.reading(message), bridge.body_bytes(message))
        except TimeoutError as error:
            facts = bridge.unread(message).without_model(RequestProblem.UNREADABLE, str(error))
        except Crowded as error:
            retry_after_s = self._agent.fleet.policy.retry_after_s
            crowded = Choice(Action.REJECT, Reason.CROWDED, message=str(error), retry_after_s=retry_after_s)
            return bridge.actions(crowded, bridge.unread(message))
        self._news()
        choice = self._agent.decide(facts)
        if self._agent.is_worth_a_second_look(choice):
            return await self._looked_at_again(facts)
        return await self.with_room(choice, facts)


def unanswered(reason: str) -> Actions:
    """Without `action` HAProxy goes by its map of models; a reason alone wakes the request."""
    return (bridge.variable("reason", reason),)
