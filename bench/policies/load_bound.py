"""The least seconds of loading for a workload, as a linear programme. Needs scipy (the extra `bench`).

Between two requests for a model that are far apart, either it stays, and takes its memory all the while, or it is
loaded again. How instances divide the memory, replicas, queueing and short gaps are left out, all in the policy's
favour, so the seconds are a floor.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array, vstack

from spoe_agent.simulator import Model
from spoe_agent.simulator.virtual.fleet import FleetPlan, vram_bytes
from spoe_agent.simulator.virtual.requests import Request

LONG_GAP_S = 30.0
"""Shorter gaps cost nothing here: a policy that delays requests may close them."""


class _Gap(NamedTuple):
    from_s: float
    to_s: float
    model: Model


def least_loading(requests: Sequence[Request], fleet: FleetPlan) -> tuple[float, int]:
    """Return the floor in GPU seconds, and the number of loads of the schedule that reaches it."""
    models = dict.fromkeys(request.work.model for request in requests)
    gaps = list(_gaps(requests))
    kept = _keep(gaps, fleet) if gaps else np.zeros(0)
    first_s = sum(_load_s(model, fleet) for model in models)
    again_s = sum((1 - part) * _load_s(gap.model, fleet) for part, gap in zip(kept, gaps, strict=True))
    return float(first_s + again_s), len(models) + round(float(np.sum(1 - kept)))


def _gaps(requests: Sequence[Request]) -> Iterator[_Gap]:
    idle_from_s: dict[Model, float] = {}
    for request in requests:
        model = request.work.model
        from_s = idle_from_s.get(model)
        if from_s is not None and request.at_s - from_s > LONG_GAP_S:
            yield _Gap(from_s, request.at_s, model)
        idle_from_s[model] = max(from_s or 0.0, request.at_s + request.fresh_prefill_s + request.decode_s)


def _keep(gaps: Sequence[_Gap], fleet: FleetPlan) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return for each gap which part of it the model stays: what saves most loading within memory and slots.

    It is enough to look at the moments at which gaps begin: between them less is kept.
    """
    worth_s = np.array([_load_s(gap.model, fleet) for gap in gaps])
    starts = sorted({gap.from_s for gap in gaps})
    pairs = [
        (row, column)
        for column, gap in enumerate(gaps)
        for row in range(bisect_left(starts, gap.from_s), bisect_left(starts, gap.to_s))
    ]
    rows, columns = np.array(pairs).T
    shape = (len(starts), len(gaps))
    sizes = np.array([min(vram_bytes(gap.model, profile) for profile in fleet.instances) for gap in gaps]) / 1e9
    memory = coo_array((sizes[columns], (rows, columns)), shape=shape)
    slots = coo_array((np.ones(len(pairs)), (rows, columns)), shape=shape)
    room = sum(profile.vram_bytes for profile in fleet.instances) / 1e9
    places = sum(profile.loaded_limit() for profile in fleet.instances)
    solved = linprog(
        -worth_s,
        A_ub=vstack([memory, slots]),
        b_ub=np.concatenate([np.full(len(starts), room), np.full(len(starts), float(places))]),
        bounds=(0.0, 1.0),
        method="highs",
    )
    if not solved.success:
        raise ArithmeticError(f"the linear programme of least loading was not solved: {solved.message}")
    return np.asarray(solved.x, dtype=np.float64)


def _load_s(model: Model, fleet: FleetPlan) -> float:
    return min(profile.load_fixed_s + model.size_bytes / profile.load_bytes_per_s for profile in fleet.instances)
