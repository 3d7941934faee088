"""What no policy can beat: floors that hold whatever is decided."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench.policies.summary import mean, percentile, warm_up_s
from spoe_agent.simulator.virtual.fleet import FleetPlan
from spoe_agent.simulator.virtual.requests import Request


@dataclass(frozen=True, slots=True)
class Bounds:
    """Floors, in seconds; the load floors are None where no solver is installed."""

    floor_ttft_mean: float
    floor_ttft_p95: float
    floor_ttft_p99: float
    floor_e2e_mean: float
    floor_loading_s: float | None
    """GPU seconds that must go into loading, over the whole run."""
    floor_loads_per_1000: float | None
    """Loads of the schedule that spends those seconds: an indication, not itself a floor."""

    def as_dict(self) -> dict[str, object]:
        """Return the floors by name."""
        return asdict(self)


def service_floor(requests: Sequence[Request]) -> list[float]:
    """Return each request's time to the first token with a fast GPU to itself and all caches warm, ordered."""
    return sorted(request.fresh_prefill_s for request in requests)


def pooled_srpt(requests: Sequence[Request], speed: float) -> float:
    """Return the mean time to the end if the whole fleet were one server, always working on what is done soonest.

    Shortest remaining first minimises the mean on one server, and one server of the fleet's whole speed can do
    whatever the fleet can. Requests do not wait for loads, and each needs only its least work.
    """
    if not requests:
        return 0.0
    now_s, total_s = 0.0, 0.0
    waiting: list[tuple[float, float]] = []
    for request, until_s in zip(requests, [*[r.at_s for r in requests[1:]], float("inf")], strict=True):
        now_s = max(now_s, request.at_s)
        heapq.heappush(waiting, (_least_work_s(request) / speed, request.at_s))
        while waiting and now_s < until_s:
            left_s, came_s = heapq.heappop(waiting)
            if now_s + left_s > until_s:
                heapq.heappush(waiting, (left_s - (until_s - now_s), came_s))
                now_s = until_s
            else:
                now_s += left_s
                total_s += now_s - came_s
    return total_s / len(requests)


def service_bounds(requests: Sequence[Request], fleet: FleetPlan) -> tuple[list[float], float]:
    """Return the floors of the times to the first token, ordered, and of the mean time to the end.

    Only over requests that are measured: neither of the warm-up, nor of clients that may leave.
    """
    from_s = warm_up_s(requests[-1].at_s)
    measured = [request for request in requests if request.at_s >= from_s and request.patience_s is None]
    alone = mean([_least_work_s(request) for request in measured])
    return service_floor(measured), max(alone, pooled_srpt(measured, fleet.capacity()))


def bounds(
    workloads: Sequence[Sequence[Request]], fleet: FleetPlan, loading: Sequence[tuple[float, int]] | None
) -> Bounds:
    """Sum the floors of several seeds up.

    Args:
        workloads: the requests of each seed.
        fleet: what serves them.
        loading: the least seconds of loading and their loads, per seed; None: not known.
    """
    each = [service_bounds(requests, fleet) for requests in workloads]
    ttft = sorted(value for floors, _ in each for value in floors)
    return Bounds(
        floor_ttft_mean=mean(ttft),
        floor_ttft_p95=percentile(ttft, 0.95),
        floor_ttft_p99=percentile(ttft, 0.99),
        floor_e2e_mean=mean([e2e for _, e2e in each]),
        floor_loading_s=None if loading is None else sum(seconds for seconds, _ in loading),
        floor_loads_per_1000=None if loading is None else 1000 * sum(n for _, n in loading) / sum(map(len, workloads)),
    )


def _least_work_s(request: Request) -> float:
    return request.fresh_prefill_s + request.decode_s
