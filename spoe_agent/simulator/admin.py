"""The simulator's own endpoints under /sim: faults, counters, GPU, and what was asked. Ollama has none of these."""

from __future__ import annotations

import time

from aiohttp import web
from pydantic import ValidationError

from spoe_agent.gpus.reading import GpuReading
from spoe_agent.gpus.wire import encode
from spoe_agent.simulator.errors import OllamaError
from spoe_agent.simulator.faults import Fault
from spoe_agent.simulator.serving import json_answer
from spoe_agent.simulator.state import instance_of


async def fault(request: web.Request) -> web.Response:
    """POST /sim/fault: put a fault in force or lift it; answers the kinds in force."""
    instance = instance_of(request)
    try:
        wanted = Fault.model_validate_json(await request.read())
    except ValidationError as error:
        raise OllamaError(400, str(error)) from None
    if wanted.kind == "kill_runner":
        instance.engine.kill_runners(wanted.model)
        return json_answer({"active": instance.faults.active()})
    instance.faults.set(wanted)
    instance.engine.set_faults(instance.faults.for_loader())
    return json_answer({"active": instance.faults.active()})


async def stats(request: web.Request) -> web.Response:
    """GET /sim/stats: totals since the start, and what is going on now."""
    instance = instance_of(request)
    engine, counters = instance.engine, instance.engine.counters
    return json_answer(
        {
            "loads": dict(counters.loads),
            "load_seconds": counters.load_s,
            "aborted_loads": counters.aborted_loads,
            "unloads": {reason.value: number for reason, number in counters.unloads.items()},
            "served": dict(counters.served),
            "rejected": counters.rejected,
            "cancelled": counters.cancelled,
            "max_in_flight": counters.max_in_flight,
            "in_flight": engine.in_flight(),
            "queued": engine.queued(),
            "vram_bytes": instance.profile.vram_bytes,
            "free_vram_bytes": engine.free_vram_bytes(),
            "faults": instance.faults.active(),
        }
    )


def gpu_uuid(port: int) -> str:
    """Return what the GPU of the instance at a port is called."""
    return f"GPU-{port:08x}-0000-4000-8000-000000000000"


async def gpus(request: web.Request) -> web.Response:
    """GET /sim/gpus: the instance's memory as one GPU, like `pointsman telemetry --listen`; its source is URL/sim."""
    instance, now_s = instance_of(request), time.monotonic()
    total_bytes, free_bytes = instance.profile.vram_bytes, max(0, instance.engine.free_vram_bytes())
    reading = GpuReading(
        gpu_uuid(request.url.port or 0),
        name="simulated",
        index=0,
        memory_total_bytes=total_bytes,
        memory_used_bytes=total_bytes - free_bytes,
        memory_free_bytes=free_bytes,
        throttle=frozenset(),
        read_at_s=now_s,
    )
    return web.Response(body=encode([reading], {}, now_s), content_type="application/json")


async def requests(request: web.Request) -> web.Response:
    """GET /sim/requests: the latest requests, oldest first; those to /sim are left out."""
    return json_answer({"requests": [record.as_json() for record in instance_of(request).requests]})
