"""Who waits for the answers to held requests, and answers that nobody has asked for yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from spoe_agent.agent.recent import Recent
from spoe_agent.routing import Action, Choice, Reason, RequestFacts

Waiter = Callable[[Choice, RequestFacts], None]
"""Told a held request's Choice at last. A client that left meanwhile is a rejection too (Reason.CLIENT_LEFT)."""

MAX_EARLY = 10_000
"""Answers that nobody has asked for yet. Those to clients who left in between are never asked for."""

_LEFT = Choice(Action.REJECT, Reason.CLIENT_LEFT, message="the client left")


class HeldAnswers:
    """Brings answers and those who wait for them together, whichever comes first."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiter] = {}
        self._early: Recent[str, tuple[Choice, RequestFacts]] = Recent(MAX_EARLY)

    def early(self) -> list[tuple[Choice, RequestFacts]]:
        """Return the answers that nobody has asked for yet."""
        return list(self._early.values())

    def take(self, early: Iterable[tuple[Choice, RequestFacts]]) -> None:
        """Have them ready for whoever asks."""
        for choice, request in early:
            self.give(choice, request)

    def give(self, choice: Choice, request: RequestFacts) -> None:
        """Answer a request: whoever waits for that is told, or else whoever asks."""
        waiter = self._waiting.pop(request.request_id, None)
        if waiter is None:
            self._early.put(request.request_id, (choice, request))
        else:
            waiter(choice, request)

    def fetch(self, request_id: str, waiter: Waiter) -> bool:
        """Tell the answer at once, if it is there; say whether it was."""
        early = self._early.pop(request_id, None)
        if early is not None:
            waiter(*early)
        return early is not None

    def expect(self, request_id: str, waiter: Waiter) -> None:
        """Tell the answer when it is given."""
        self._waiting[request_id] = waiter

    def forget(self, request_id: str) -> bool:
        """Tell nobody any more; say whether anybody was waiting."""
        return self._waiting.pop(request_id, None) is not None

    def left(self, request: RequestFacts) -> None:
        """The client left while its request was held, or it comes around again. HAProxy ignores an answer for a stream
        that is gone, and who waits for it need not wait any more.
        """
        self._early.pop(request.request_id, None)
        waiter = self._waiting.pop(request.request_id, None)
        if waiter is not None:
            waiter(_LEFT, request)
