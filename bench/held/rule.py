"""Who should be next: the rule of the held queue in its simplest form, to check what was really served against it.

Priority class, then fair share between callers, then age. Here every caller weighs the same and every request is
predicted to take the same time, so that a fair share is a number of requests; and everybody is held before the first is
served.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """One held request."""

    request_id: str
    priority: int
    """Lower is more urgent."""
    caller: str


def next_of(waiting: Sequence[Waiting], served: Counter[str]) -> Waiting:
    """Return who is next. `waiting`: oldest first, not empty; `served`: requests by caller, of any class."""
    urgent = min(one.priority for one in waiting)
    heads: dict[str, tuple[int, Waiting]] = {}
    for place, one in enumerate(waiting):
        if one.priority == urgent and one.caller not in heads:
            heads[one.caller] = (place, one)
    return min(heads.values(), key=lambda head: (served[head[1].caller], head[0]))[1]


def out_of_order(waiting: Sequence[Waiting], order: Sequence[str]) -> int:
    """Return how many of those served were not next when their turn came.

    `waiting`: everybody who was held, oldest first; `order`: ids as they were served, others among them left out.
    After each one the rule goes on from what was really served, so one mistake counts once.
    """
    left = {one.request_id: one for one in waiting}
    served: Counter[str] = Counter()
    wrong = 0
    for request_id in order:
        one = left.get(request_id)
        if one is None:
            continue
        wrong += next_of(tuple(left.values()), served).request_id != request_id
        served[one.caller] += 1
        del left[request_id]
    return wrong
