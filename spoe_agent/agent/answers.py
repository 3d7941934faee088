"""Held requests and who waits for their answers: joins grants with the connections that asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.recent import Recent
from spoe_agent.routing import Action, Choice, Reason, RequestFacts

Answer = Callable[[Choice, RequestFacts], None]

MAX_EARLY = 10_000
"""Grants that nobody has asked for yet. Those of clients who left in between are never asked for."""

_LEFT = Choice(Action.REJECT, Reason.CLIENT_LEFT, message="the client left")


class HeldAnswers:
    """Takes an agent's grants and gives each to whoever asks for it, sooner or later."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._waiting: dict[str, Answer] = {}
        self._early: Recent[str, tuple[Choice, RequestFacts]] = Recent(MAX_EARLY)
        agent.granted = self._granted
        agent.left = self._left

    def early(self) -> list[tuple[Choice, RequestFacts]]:
        """Return the grants that nobody has asked for yet."""
        return list(self._early.values())

    def take(self, early: Iterable[tuple[Choice, RequestFacts]]) -> None:
        """Have them ready for whoever asks."""
        for choice, request in early:
            self._granted(request, choice)

    def ask(self, request_id: str, answer: Answer) -> bool:
        """Call `answer`, now or when the request is granted. False: no such request is held (we were restarted)."""
        early = self._early.pop(request_id, None)
        if early is not None:
            answer(*early)
            return True
        if request_id not in self._agent.hold:
            return False
        self._waiting[request_id] = answer
        return True

    def forget(self, request_id: str) -> None:
        """Nobody can be told any more: HAProxy closed the connection. The place in the queue is free."""
        if self._waiting.pop(request_id, None) is not None:
            self._agent.ended(request_id)

    def _left(self, request: RequestFacts) -> None:
        """The client left while its request was held, or it comes around again. HAProxy ignores an answer for a stream
        that is gone, and who waits for it need not wait any more.
        """
        self._early.pop(request.request_id, None)
        answer = self._waiting.pop(request.request_id, None)
        if answer is not None:
            answer(_LEFT, request)

    def _granted(self, request: RequestFacts, choice: Choice) -> None:
        answer = self._waiting.pop(request.request_id, None)
        if answer is not None:
            answer(choice, request)
            return
        self._early.put(request.request_id, (choice, request))
