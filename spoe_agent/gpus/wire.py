"""Readings as JSON between `pointsman telemetry` and a router on another host.

Lives here: the format. Clocks differ between hosts, so the page carries its own clock's time beside readings dated by
the same clock; what counts is the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from spoe_agent.gpus.board import SourceState
from spoe_agent.gpus.reading import GpuReading

PATH = "/gpus"


@dataclass(frozen=True, slots=True)
class Page:
    """All that one host knows of its GPUs."""

    now_s: float
    """The sender's monotonic clock as it answers; `read_at_s` of the readings is by the same."""
    gpus: tuple[GpuReading, ...] = ()
    sources: Mapping[str, SourceState] = field(default_factory=dict)


_PAGE = TypeAdapter(Page)


def encode(readings: Iterable[GpuReading], states: Mapping[str, SourceState], now_s: float) -> bytes:
    """Return a page as JSON; fields without a value are left out."""
    return _PAGE.dump_json(Page(now_s, tuple(readings), states), exclude_none=True)


def decode(text: bytes, now_s: float) -> Page:
    """Return a page with its readings dated by this host's clock, which shows `now_s`. Raises ValueError."""
    try:
        page = _PAGE.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'page'}: {first['msg']}") from error
    shift_s = now_s - page.now_s
    dated = tuple(gpu.dated(min(now_s, gpu.read_at_s + shift_s)) for gpu in page.gpus)
    return Page(now_s, dated, page.sources)
