"""What is kept of each request: one line of plain values, as the raw file has it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from spoe_agent.fleet.schema import Policies
from spoe_agent.simulator.virtual.requests import CLIENT_LEFT, RequestOutcome

SLO_TTFT_S = 2.0
"""A request is in time when its first token comes within its own prefill and this, ..."""
SLO_TPOT = 3.0
"""... and its tokens at most so many times slower than alone."""

REFUSED_S = Policies().hold_timeout
"""So long the agent waits before it turns anybody away; another's error that comes at once is no better answer."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request that ended. Times in seconds. One that failed counts as having waited until then, and for
    `REFUSED_S` at least: whoever loses the slow ones must not look faster.
    """

    t: float
    model: str
    instance: int | None
    ttft: float
    tpot: float | None
    e2e: float
    slowdown: float
    prompt_tokens: int
    output_tokens: int
    cold: bool
    """Its model was not loaded when it came."""
    status: int
    in_time: bool
    """Served, within the relative objectives above."""
    stays: bool
    """The client waits for the end, however long it takes. Times of others would only count where they are short."""

    @property
    def counts(self) -> bool:
        """Its times count: the client did not leave by itself."""
        return self.status != CLIENT_LEFT

    def as_dict(self) -> dict[str, object]:
        """Return the fields by name."""
        return asdict(self)


def sample(record: RequestOutcome) -> Sample:
    """Reduce a record to what is kept."""
    request = record.request
    ttft_s, e2e_s = record.ttft_s, record.e2e_s
    if record.failed:
        ttft_s = e2e_s = max(e2e_s, REFUSED_S)
    return Sample(
        t=request.at_s,
        model=record.model,
        instance=record.server,
        ttft=ttft_s,
        tpot=record.tpot_s,
        e2e=e2e_s,
        slowdown=e2e_s / request.solo_s,
        prompt_tokens=request.work.prompt_tokens,
        output_tokens=request.work.output_tokens,
        cold=record.load_wait_s > 0,
        status=record.status,
        in_time=record.served and _in_time(record),
        stays=request.patience_s is None,
    )


def _in_time(record: RequestOutcome) -> bool:
    request, tpot_s = record.request, record.tpot_s
    first = record.ttft_s <= request.prefill_s + SLO_TTFT_S
    if tpot_s is None:
        return first
    alone_s = request.decode_s / (request.work.output_tokens - 1)
    return first and tpot_s <= SLO_TPOT * alone_s
