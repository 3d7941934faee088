"""A little language for scheduler tests: actions at times in, a list of what happened out.

Numbers are round on purpose: a model of 10 GB loads in 2 s, prefills 1000 tokens per second, decodes a token in 10 ms,
and two of them fit in the memory of the instance.
"""

from __future__ import annotations

import math
from dataclasses import replace

from spoe_agent.simulator.catalog import Model
from spoe_agent.simulator.loader import LoaderFaults
from spoe_agent.simulator.profile import GB, NO_WAITS, GpuSpeed, InstanceProfile
from spoe_agent.simulator.scheduler import Scheduler
from spoe_agent.simulator.work import (
    Cancelled,
    Event,
    Finished,
    FirstToken,
    LoadAborted,
    LoadFinished,
    LoadStarted,
    Rejected,
    Task,
    UnloadStarted,
    Work,
)

PROFILE = InstanceProfile(
    vram_bytes=24 * GB,
    gpu=GpuSpeed(decode_bytes_per_s=1000 * GB, prefill_token_bytes_per_s=10_000 * GB),
    load_fixed_s=1.0,
    load_bytes_per_s=10 * GB,
    cold_bytes_per_s=10 * GB,
    vram_recovery_s=0.5,
    waits=NO_WAITS,
    driver_bytes=0,
    turn_s=0.0,
    fit_fraction=1.0,
    step_overhead_s=0.0,
    cpu_bytes_per_s=100 * GB,
)


def model(name: str, gigabytes: float = 10, **facts: object) -> Model:
    return replace(Model(name=name, size_bytes=round(gigabytes * GB), kv_bytes_per_token=0, blob=name), **facts)


MODELS = {name: model(name) for name in "abcd"}
MODELS["big"] = model("big", 30)
MODELS["embed"] = model("embed", embedding_only=True)
MODELS["alias-of-a"] = model("alias-of-a", blob="a")
MODELS["kv"] = model("kv", kv_bytes_per_token=1_000_000)


def ask(id: int, name: str = "a", **work: object) -> Work:
    """A request of 100 prompt tokens and 11 output tokens: 0.1 s of prefill and 0.1 s of decode, alone."""
    return Work(**{"id": id, "model": MODELS[name], "prompt_tokens": 100, "output_tokens": 11} | work)


def preload(id: int, name: str = "a", **work: object) -> Work:
    return ask(id, name, kind=Task.PRELOAD, **work)


def unload(id: int, name: str = "a") -> Work:
    return ask(id, name, kind=Task.UNLOAD)


def tell(event: Event) -> str:
    """One line per event: time, what, who."""
    match event:
        case LoadStarted():
            what = f"load {event.model.name} for {event.id}"
        case LoadFinished():
            what = f"loaded {event.model.name}"
        case LoadAborted():
            what = f"aborted {event.model.name}"
        case UnloadStarted():
            what = f"unload {event.model.name} {event.reason.value}"
        case FirstToken():
            what = f"first {event.id}"
        case Finished():
            what = f"done {event.id}"
        case Rejected():
            what = f"{event.status} {event.id}"
        case Cancelled():
            what = f"cancelled {event.id}"
    return f"{event.at_s:.3f} {what}"


Action = Work | LoaderFaults | int


def play(
    actions: list[tuple[float, Action]], until_s: float | None = None, **profile: object
) -> tuple[Scheduler, list[str]]:
    """Run actions (work: submit, number: cancel that request, faults: set them), then go on to ``until_s``.

    Without ``until_s`` it goes on until nothing but idle timers is left: just before they could fire.
    """
    scheduler = Scheduler(replace(PROFILE, **profile))
    happened: list[Event] = []
    for at_s, action in actions:
        if isinstance(action, Work):
            scheduler.submit(action, at_s)
        elif isinstance(action, int):
            scheduler.cancel(action, at_s)
        else:
            scheduler.set_faults(action, at_s)
        happened += scheduler.advance(at_s)
    last_s = actions[-1][0] + 100.0 if until_s is None else until_s
    happened += scheduler.advance(last_s)
    return scheduler, [tell(event) for event in happened]


FOREVER = math.inf
