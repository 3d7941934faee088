"""Metrics of the instances: health, limits, slots, what is loaded."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from spoe_agent.agent.counts import MAX_MODELS, OTHERS
from spoe_agent.metrics.metric import AnyMetric, Gauge, Row
from spoe_agent.metrics.moment import Moment
from spoe_agent.metrics.requests import model_label
from spoe_agent.routing.snapshot import Health


def _health(moment: Moment) -> Iterator[Row[float]]:
    for name in moment.names:
        for state in Health:
            yield (name, str(state)), moment.health[name] is state


def _doubts(moment: Moment) -> Iterator[Row[float]]:
    at_s = moment.snapshot.at_s
    differ = {name for name, _ in moment.known.agent.settings.differences(at_s)}
    for name in moment.names:
        state = moment.snapshot.state(name)
        yield (name, "refusals"), any(at_s < term.until_s for term in state.avoided.values())
        yield (name, "loads"), state.loads_in_doubt
        yield (name, "gpus"), bool(state.lost_gpus)
        yield (name, "settings"), name in differ


def _limit(moment: Moment) -> Iterator[Row[float]]:
    return (((name,), moment.limits[name].now) for name in moment.names)


def _configured(moment: Moment) -> Iterator[Row[float]]:
    return (((name,), moment.limits[name].configured) for name in moment.names)


def _slowdown(moment: Moment) -> Iterator[Row[float]]:
    return (((name,), moment.limits[name].slowdown) for name in moment.names)


def _slots(moment: Moment) -> Iterator[Row[float]]:
    for spec in moment.fleet.instances:
        state, active = moment.snapshot.state(spec.name), moment.snapshot.active(spec.name)
        used = free = 0
        for model in {*state.loaded, *active.loading}:
            slots = 1 if model in state.one_by_one else moment.fleet.rule(model).slots(spec.num_parallel)
            taken = min(slots, active.in_flight.get(model, 0))
            used, free = used + taken, free + slots - taken
        yield (spec.name, "used"), used
        yield (spec.name, "free"), free


def _in_flight(moment: Moment) -> Iterator[Row[float]]:
    for name in moment.names:
        yield (name,), sum(moment.snapshot.active(name).in_flight.values())


def _loading(moment: Moment) -> Iterator[Row[float]]:
    return (((name,), len(moment.snapshot.active(name).unfinished)) for name in moment.names)


def _loaded(moment: Moment) -> Iterator[Row[float]]:
    return (((name,), len(moment.snapshot.state(name).loaded)) for name in moment.names)


def _bytes(moment: Moment) -> Iterator[Row[float]]:
    for name in moment.names:
        loaded = moment.snapshot.state(name).loaded.values()
        yield (name, "gpu"), sum(one.vram_bytes for one in loaded)
        yield (name, "cpu"), sum(one.spilled_bytes for one in loaded)


def _copies(moment: Moment) -> Iterator[Row[float]]:
    """Of very many, those with most copies have names."""
    copies = collections.Counter(model for name in moment.names for model in moment.snapshot.state(name).loaded)
    named = dict(sorted(copies.items(), key=lambda item: (-item[1], item[0]))[:MAX_MODELS])
    for model, count in named.items():
        yield (model_label(model),), count
    if len(named) < len(copies):
        yield (model_label(OTHERS),), copies.total() - sum(named.values())


def _age_s(moment: Moment) -> Iterator[Row[float]]:
    for name in moment.names:
        read_at_s = moment.snapshot.state(name).loaded_at_s
        if read_at_s is not None:
            yield (name,), moment.snapshot.at_s - read_at_s


METRICS: tuple[AnyMetric, ...] = (
    Gauge(
        "pointsman_instance_health",
        ("instance", "state"),
        _health,
        "1 for the state that the instance is in, as `pointsman status` names it, 0 for the others.",
    ),
    Gauge(
        "pointsman_instance_doubts",
        ("instance", "about"),
        _doubts,
        "1 for what speaks against an instance that may be up all the same: its `refusals` (passed over for a while), "
        "`loads` that do not end, `gpus` that it has lost, `settings` that are not as the fleet file says.",
    ),
    Gauge(
        "pointsman_connection_limit",
        ("instance",),
        _limit,
        "Connections that HAProxy is told to give the instance at most (agent-check).",
    ),
    Gauge(
        "pointsman_connection_limit_configured",
        ("instance",),
        _configured,
        "What the fleet file says of that.",
    ),
    Gauge(
        "pointsman_slowdown_ratio",
        ("instance",),
        _slowdown,
        "How many times slower than usual the instance's answers come.",
    ),
    Gauge(
        "pointsman_slots",
        ("instance", "state"),
        _slots,
        "Slots of the models that are loaded or loading: `used` and `free`.",
    ),
    Gauge(
        "pointsman_requests_in_flight",
        ("instance",),
        _in_flight,
        "Requests that run a model there, or wait there for its load.",
    ),
    Gauge("pointsman_loads_in_progress", ("instance",), _loading, "Models that load now."),
    Gauge("pointsman_loaded_models", ("instance",), _loaded, "Models that are loaded."),
    Gauge(
        "pointsman_loaded_bytes",
        ("instance", "memory"),
        _bytes,
        "What they take of the GPUs (`gpu`), and of main memory because the GPUs had no room (`cpu`).",
    ),
    Gauge(
        "pointsman_model_copies",
        ("model",),
        _copies,
        f"Instances on which the model is loaded. At most {MAX_MODELS} models have names, `others` has the rest.",
    ),
    Gauge(
        "pointsman_readings_age_seconds",
        ("instance",),
        _age_s,
        "Since the instance last said what is loaded; missing until it has.",
    ),
)
