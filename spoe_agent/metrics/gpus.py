"""Metrics of the GPUs. What a source has no value for is left out."""

from __future__ import annotations

from collections.abc import Iterator

from spoe_agent.gpus.board import SourceHealth
from spoe_agent.gpus.group import SLOWING, failure
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.metrics.metric import AnyMetric, Gauge, Row
from spoe_agent.metrics.moment import Moment


def _readings(moment: Moment) -> Iterator[tuple[tuple[str, ...], GpuReading]]:
    for uuid, reading in moment.known.gpus.board.readings.items():
        yield (uuid,), reading


def _known(moment: Moment, what: str) -> Iterator[Row[float]]:
    for labels, reading in _readings(moment):
        value = getattr(reading, what)
        if value is not None:
            yield labels, value


def _of(name: str, what: str, meaning: str) -> Gauge:
    return Gauge(name, ("gpu",), lambda moment: _known(moment, what), meaning)


def _info(moment: Moment) -> Iterator[Row[float]]:
    readings = moment.known.gpus.board.readings
    for instance, uuids in moment.known.gpus.seats().items():
        for uuid in uuids:
            reading = readings.get(uuid)
            name = "" if reading is None else reading.name or ""
            yield (instance, uuid, name), 1


def _throttled(moment: Moment) -> Iterator[Row[float]]:
    for (uuid,), reading in _readings(moment):
        for reason in sorted((reading.throttle or frozenset()) & SLOWING):
            yield (uuid, reason), 1


def _faults(moment: Moment) -> Iterator[Row[float]]:
    return ((labels, failure(reading) is not None) for labels, reading in _readings(moment))


def _foreign(moment: Moment) -> Iterator[Row[float]]:
    for name in moment.names:
        foreign_bytes = moment.snapshot.gpu(name).foreign_bytes
        if foreign_bytes is not None:
            yield (name,), foreign_bytes


def _unread(moment: Moment) -> Iterator[Row[float]]:
    """Only of instances whose GPUs the fleet file names."""
    return (((name,), group.total_bytes is None) for name, group in moment.snapshot.gpus.items())


def _orphaned(moment: Moment) -> Iterator[Row[float]]:
    yield (), sum(moment.known.gpus.orphans().values())


def _age_s(moment: Moment) -> Iterator[Row[float]]:
    for name in moment.names:
        age_s = moment.snapshot.gpu(name).age_s
        if age_s is not None:
            yield (name,), age_s


def _sources(moment: Moment) -> Iterator[Row[float]]:
    for name, source in moment.known.gpus.board.states.items():
        yield (name,), source.state is SourceHealth.UP


METRICS: tuple[AnyMetric, ...] = (
    Gauge(
        "pointsman_gpu_info",
        ("instance", "gpu", "name"),
        _info,
        "1 for each GPU of an instance: joins `gpu`, a UUID, with the instance.",
    ),
    _of("pointsman_gpu_memory_total_bytes", "memory_total_bytes", "Memory of the GPU."),
    _of("pointsman_gpu_memory_used_bytes", "memory_used_bytes", "What programs have of it."),
    _of("pointsman_gpu_utilisation_ratio", "utilisation", "Part of the last sample in which it did anything."),
    _of("pointsman_gpu_temperature_celsius", "temperature_c", "Its temperature."),
    _of("pointsman_gpu_power_watts", "power_w", "What it draws."),
    _of("pointsman_gpu_power_limit_watts", "power_limit_w", "What it may draw."),
    Gauge(
        "pointsman_gpu_throttled",
        ("gpu", "reason"),
        _throttled,
        "1 for each reason that holds its clocks down now (NVIDIA's names); missing when none does.",
    ),
    Gauge(
        "pointsman_gpu_faulty",
        ("gpu",),
        _faults,
        "1 when the driver reports a fault, memory errors or an Xid that speaks against the GPU.",
    ),
    Gauge(
        "pointsman_gpu_foreign_bytes",
        ("instance",),
        _foreign,
        "What other programs hold of the instance's GPUs.",
    ),
    Gauge(
        "pointsman_gpus_unread",
        ("instance",),
        _unread,
        "1 where the fleet file names GPUs, and no reading of their memory is fresh enough to count.",
    ),
    Gauge(
        "pointsman_gpu_orphaned_bytes",
        (),
        _orphaned,
        "What runners that outlived their Ollama hold of this host's GPUs; nobody but an operator ends them.",
    ),
    Gauge("pointsman_gpu_readings_age_seconds", ("instance",), _age_s, "Of its GPUs' oldest reading."),
    Gauge("pointsman_gpu_source_up", ("source",), _sources, "1 while the source of readings answers."),
)
