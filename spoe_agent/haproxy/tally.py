"""What passed between HAProxy and the agent since it started, in numbers that only grow."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from spoe_agent.agent.counts import Histogram

ANSWER_S = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Bounds of the time that answers take: HAProxy waits a second."""

Side = Literal["haproxy", "agent"]


class Tally:
    """Of all connections together."""

    def __init__(self) -> None:
        self.frames = 0
        """That HAProxy sent."""
        self.errors: Counter[Side] = Counter()
        """By whose they are: SPOP that HAProxy broke, and questions that the agent failed at."""
        self.answer_s = Histogram(ANSWER_S)
        """From a question to its answer, but for requests that are held."""
