"""Metrics of requests: what was decided, how long they took, who waits."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator

from spoe_agent.agent.counts import MAX_MODELS, OTHERS, Histogram
from spoe_agent.metrics.metric import AnyMetric, Counter, Distribution, Gauge, Row
from spoe_agent.metrics.moment import Moment
from spoe_agent.routing.names import display


def model_label(model: str) -> str:
    """Return how a model is called; no model has a name without a colon."""
    return "others" if model == OTHERS else display(model)


def _start(is_warm: bool) -> str:
    return "warm" if is_warm else "cold"


def _decisions(moment: Moment) -> Iterator[Row[float]]:
    for (action, reason, instance), count in moment.counts.decisions.items():
        yield (str(action), str(reason), instance), count


def _models(moment: Moment) -> Iterator[Row[float]]:
    for (model, action), count in moment.counts.models.items():
        yield (model_label(model), str(action)), count


def _loads(moment: Moment) -> Iterator[Row[float]]:
    for (instance, tier), count in moment.counts.loads.items():
        yield (instance, tier.name.lower()), count


def _evictions(moment: Moment) -> Iterable[Row[float]]:
    return (((instance,), count) for instance, count in moment.counts.evictions.items())


def _load_s(moment: Moment) -> Iterable[Row[Histogram]]:
    return (((tier.name.lower(),), found) for tier, found in moment.counts.load_s.items())


def _first_token_s(moment: Moment) -> Iterator[Row[Histogram]]:
    for (instance, is_warm), found in moment.counts.first_token_s.items():
        yield (instance, _start(is_warm)), found


def _request_s(moment: Moment) -> Iterable[Row[Histogram]]:
    return (((instance,), found) for instance, found in moment.counts.request_s.items())


def _ended(moment: Moment) -> Iterator[Row[float]]:
    for (instance, outcome), count in moment.counts.ended.items():
        yield (instance, str(outcome)), count


def _error_s(moment: Moment) -> Iterator[Row[Histogram]]:
    for (is_warm, is_late), found in moment.counts.error_s.items():
        yield (_start(is_warm), "late" if is_late else "early"), found


def _hold_s(moment: Moment) -> Iterator[Row[Histogram]]:
    for (priority, outcome), found in moment.counts.hold_s.items():
        yield (str(priority), outcome), found


def _held(moment: Moment) -> Iterator[Row[float]]:
    agent = moment.known.agent
    held = collections.Counter(agent.priority(ticket.facts) for ticket in agent.hold)
    # Classes that held somebody before are at nothing now, not gone.
    for priority in sorted({0, *held, *(priority for priority, _ in moment.counts.hold_s)}):
        yield (str(priority),), held[priority]


def _oldest_s(moment: Moment) -> Iterator[Row[float]]:
    oldest = next(iter(moment.known.agent.hold), None)
    yield (), 0.0 if oldest is None else moment.snapshot.at_s - oldest.since_s


def _drift(moment: Moment) -> Iterator[Row[float]]:
    board = moment.known.agent.board
    yield ("struck",), board.struck
    yield ("restored",), board.restored


METRICS: tuple[AnyMetric, ...] = (
    Counter(
        "pointsman_decisions_total",
        ("action", "reason", "instance"),
        _decisions,
        "Answers to requests that came, with the reason that `x-pointsman` tells; `instance` is empty where none was "
        "chosen. A held request is decided once, here as `hold`.",
    ),
    Counter(
        "pointsman_model_decisions_total",
        ("model", "action"),
        _models,
        f"The same by model, of those that chose an instance. The first {MAX_MODELS} models have names, `others` has "
        "the rest.",
    ),
    Counter(
        "pointsman_loads_total",
        ("instance", "reason"),
        _loads,
        "Loads begun for requests: `room` beside others, `evict`, `reload` with another context or other options.",
    ),
    Counter(
        "pointsman_evictions_total",
        ("instance",),
        _evictions,
        "Models that were chosen to go for these loads.",
    ),
    Distribution(
        "pointsman_load_seconds",
        ("reason",),
        _load_s,
        "Loads that waited for no other: until the first token of the request that began each, less what that takes "
        "where the model is loaded, and what Ollama takes until it begins.",
    ),
    Distribution(
        "pointsman_time_to_first_token_seconds",
        ("instance", "start"),
        _first_token_s,
        "From the connection to the instance until the first token of a streamed answer that ended well; `start` is "
        "`warm` where the model was loaded. Time in the held queue is in `pointsman_hold_seconds`.",
    ),
    Distribution(
        "pointsman_request_seconds",
        ("instance",),
        _request_s,
        "From the connection to the instance until the last byte of an answer that ended well.",
    ),
    Counter(
        "pointsman_requests_ended_total",
        ("instance", "outcome"),
        _ended,
        "Requests that ran a model: `whole` with status 200 and both sides content; `unanswered`, `left` where the "
        "client went before its first token or in the middle of the answer; else `broken`. "
        "One that failed and went elsewhere counts at both.",
    ),
    Distribution(
        "pointsman_prediction_error_seconds",
        ("start", "direction"),
        _error_s,
        "How far the first token came from the predicted moment, `late` or `early`: predicted are waits and loads, and "
        "what it took before where the model was loaded.",
    ),
    Gauge(
        "pointsman_held_requests",
        ("priority",),
        _held,
        "Requests in the held queue now, by class; 0 is the usual one.",
    ),
    Gauge(
        "pointsman_held_oldest_seconds",
        (),
        _oldest_s,
        "How long the oldest of them has waited; 0 when nobody waits.",
    ),
    Distribution(
        "pointsman_hold_seconds",
        ("priority", "outcome"),
        _hold_s,
        "Time in the held queue until a slot was `granted`, or `timeout`, the request `left`, or it was `refused` "
        "because its model or all instances went.",
    ),
    Counter(
        "pointsman_grants_drift_total",
        ("direction",),
        _drift,
        "Requests struck off the account because HAProxy counts fewer and no log line came (`struck`), and of these "
        "the ones that were alive after all (`restored`).",
    ),
)
