"""The closed loop: so many users, each of whom asks again some time after the answer is complete."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import replace

from spoe_agent.simulator.virtual.requests import Request

CLOSED = "CL"
"""The workload's name. It has no load of its own: what users then offer is one."""
USERS, THINK_S = 64, 10.0
"""How many, and how long they think on average."""


def in_turns(requests: Sequence[Request], seed: int) -> tuple[Request, ...]:
    """Return the requests in their order, each given to the user who would ask next if nobody ever had to wait."""
    randomness = random.Random(seed + 2)
    turns: list[tuple[float, int, int | None, float]]
    turns = [(randomness.uniform(0.0, THINK_S), user, None, 0.0) for user in range(USERS)]
    heapq.heapify(turns)
    found = []
    for request in requests:
        at_s, user, after, think_s = heapq.heappop(turns)
        found.append(replace(request, at_s=at_s, after=after, think_s=think_s))
        next_s = randomness.expovariate(1 / THINK_S)
        heapq.heappush(turns, (at_s + request.solo_s + next_s, user, request.work.id, next_s))
    return tuple(found)
