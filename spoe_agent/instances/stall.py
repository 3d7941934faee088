"""Requests and loads that do not come to their end: what the board's grants show of them.

Pure: grants, times and expectations are arguments.

HAProxy tells of a request when it has ended, so a stream that has begun looks like one that has not. As long as the
model has a free slot, a probe tells the two apart at once; when all its slots are taken, a probe would only wait
behind them, and silence must last far beyond the time of whole requests, also of the longest lately, to prove anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from spoe_agent.agent.grant import Grant
from spoe_agent.routing.names import display

FACTOR = 10.0
"""Far beyond the learned time of whole requests: so many times as long."""

LONGEST_FACTOR = 2.0
"""Of the longest whole request lately: some answers are a hundred times longer than usual."""

FIRST_BYTE_FACTOR = 3.0
"""Of the learned time to the first byte: a probe costs little, so it is asked for soon."""

LOAD_FACTOR = 5.0


class Expected(NamedTuple):
    """Usual seconds of one model on one instance, and its slots."""

    first_byte_s: float
    service_s: float
    load_s: float
    slots: int
    longest_s: float = 0.0
    """The longest whole request of the model lately, on any instance."""


class Stall(NamedTuple):
    """A loaded model that is silent."""

    model: str
    why: str
    is_proven: bool


Expect = Callable[[str], Expected]


def stall(
    grants: Iterable[Grant], last_sign_s: Mapping[str, float], expect: Expect, stall_s: float, now_s: float
) -> Stall | None:
    """Return the first model that answers none of its requests, or None.

    Args:
        grants: what is in flight on the instance, for models that are loaded there, oldest first.
        last_sign_s: when the model last gave a sign of life there: it was loaded, or answered a request or a probe.
        expect: what is usual for a model.
        stall_s: less silence than this says nothing.
    """
    by_model: dict[str, list[Grant]] = {}
    for grant in grants:
        by_model.setdefault(grant.model, []).append(grant)
    for model, waiting in by_model.items():
        usual = expect(model)
        since_s = max(waiting[0].at_s, last_sign_s.get(model, 0.0))
        is_full = len(waiting) >= usual.slots
        far_s = max(FACTOR * usual.service_s, LONGEST_FACTOR * usual.longest_s)
        limit_s = max(stall_s, far_s if is_full else FIRST_BYTE_FACTOR * usual.first_byte_s)
        if now_s - since_s > limit_s:
            why = f"no request of {display(model)} has ended for {now_s - since_s:.0f} s, {len(waiting)} in flight"
            return Stall(model, why, is_full)
    return None


def load_stall(
    loading: Mapping[str, float], in_flight: Mapping[str, int], expect: Expect, load_stall_s: float, now_s: float
) -> str:
    """Return why loading is in doubt, or "".

    Ollama loads one model at a time, so each may wait for all the others (server/sched.go).
    """
    waited = {model: now_s - since_s for model, since_s in loading.items() if in_flight.get(model)}
    if not waited:
        return ""
    usual_s = sum(expect(model).load_s for model in loading)
    model = max(waited, key=lambda name: waited[name])
    if waited[model] <= max(load_stall_s, LOAD_FACTOR * usual_s):
        return ""
    return f"{display(model)} has been loading for {waited[model]:.0f} s, usual are {usual_s:.0f} s"
