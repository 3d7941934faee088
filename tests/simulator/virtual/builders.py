"""Small fleets and requests with round numbers, for the benchmark's tests.

A model of 10 GB loads in 2 s (and 0.5 s to give memory back), prefills 1000 tokens per second and decodes a token in
10 ms; two of them fit in the memory of an instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.policies.samples import Sample
from bench.policies.summary import Run
from spoe_agent.simulator import InstanceProfile, Model
from spoe_agent.simulator.profile import GB, NO_WAITS, GpuSpeed
from spoe_agent.simulator.virtual.fleet import FleetPlan, prefill_s, step_s
from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.requests import Request, RequestOutcome
from spoe_agent.simulator.work import Task, Work

PROFILE = InstanceProfile(
    vram_bytes=24 * GB,
    gpu=GpuSpeed(decode_bytes_per_s=1000 * GB, prefill_token_bytes_per_s=10_000 * GB),
    num_parallel=4,
    load_fixed_s=1.0,
    load_bytes_per_s=10 * GB,
    cold_bytes_per_s=10 * GB,
    vram_recovery_s=0.5,
    waits=NO_WAITS,
    driver_bytes=0,
    turn_s=0.0,
    fit_fraction=1.0,
    step_overhead_s=0.0,
)


def model(name: str, gigabytes: float = 10, **facts: object) -> Model:
    return replace(Model(name=name, size_bytes=round(gigabytes * GB), kv_bytes_per_token=0, blob=name), **facts)


MODELS = {name: model(name) for name in "abcd"}


def fleet(count: int = 2, models: Sequence[Model] = (), **profile: object) -> FleetPlan:
    return FleetPlan("test", (replace(PROFILE, **profile),) * count, tuple(models or MODELS.values()))


def front_of(limits: Sequence[int | None]) -> Front:
    return Front(limits, fleet(len(limits)).instances)


def request(
    id: int,
    at_s: float = 0.0,
    name: str = "a",
    patience_s: float | None = None,
    kind: Task = Task.GENERATE,
    output_tokens: int = 11,
) -> Request:
    """A request of 100 prompt tokens and 11 output tokens: 0.1 s of prefill and 0.1 s of decode, alone."""
    asked = MODELS.get(name) or model(name)
    steps = 0 if kind is Task.EMBED else output_tokens - 1
    return Request(
        at_s=at_s,
        work=Work(id, asked, kind, prompt_tokens=100, output_tokens=output_tokens),
        prefill_s=prefill_s(asked, 100, PROFILE),
        fresh_prefill_s=prefill_s(asked, 100, PROFILE),
        decode_s=steps * step_s(asked, PROFILE),
        patience_s=patience_s,
    )


def record(id: int, at_s: float = 0.0, name: str = "a") -> RequestOutcome:
    return RequestOutcome(request(id, at_s, name))


def sample(t: float = 0.0, ttft: float = 1.0, **facts: object) -> Sample:
    usual = Sample(
        t=t,
        model="a",
        instance=0,
        ttft=ttft,
        tpot=0.01,
        e2e=ttft + 1.0,
        slowdown=2.0,
        prompt_tokens=100,
        output_tokens=11,
        cold=False,
        status=200,
        in_time=True,
        stays=True,
    )
    return replace(usual, **facts)


def run(samples: Sequence[Sample], **facts: object) -> Run:
    usual = Run(
        samples=tuple(samples),
        span_s=max(sample.t for sample in samples),
        loads=(),
        loading_s=0.0,
        gpu_s=1.0,
        undone=0,
        misfits=0,
    )
    return replace(usual, **facts)
