"""Recordings made in virtual time: an agent on a simulated fleet, whose decision log is written as a live one's."""

from __future__ import annotations

import json
import random

from spoe_agent.agent.ending import Ending, Line
from spoe_agent.decisions.known import known
from spoe_agent.fleet import Fleet, loads, specs
from spoe_agent.routing import Kind
from spoe_agent.simulator import InstanceProfile, Model
from spoe_agent.simulator.profile import GB, GIB
from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.pointsman import PointsmanPolicy, Variant
from spoe_agent.simulator.virtual.policy import Assignment
from spoe_agent.simulator.virtual.requests import Request, RequestOutcome
from spoe_agent.simulator.virtual.simulation import Simulation
from spoe_agent.simulator.work import Work

COUNT = 200
WALL_S = 1_800_000_000.0
MODELS = tuple(
    Model(f"{name}:latest", round(size * GB)) for name, size in (("a", 4.7), ("b", 9), ("c", 16), ("d", 5.5))
)
FLEET = """
defaults:
  vram: 32GiB
  num_parallel: 4
  ollama: {{max_loaded_models: 2, context_length: 4096, keep_alive: 24h}}
instances:
{instances}
{more}
"""


def fleet(count: int = 2, more: str = "") -> Fleet:
    """Return a fleet of so many instances alike."""
    instances = "\n".join(f'  - {{name: g{n}, url: "http://127.0.0.1:{20000 + n}"}}' for n in range(count))
    return loads(FLEET.format(instances=instances, more=more))


def profile() -> InstanceProfile:
    """Return what these instances are."""
    return InstanceProfile(
        vram_bytes=32 * GIB, num_parallel=4, max_loaded_models=2, keep_alive_s=86_400.0, context_length=4096
    )


class Recording(PointsmanPolicy):
    """An agent that writes its decisions down, as one behind HAProxy does."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(specs(fleet), MODELS, Variant(salt=7))
        self.agent.record.rows.is_wanted = True
        self.agent.record.rows.wall_offset_s = WALL_S
        self.known: list[dict[str, object]] = []

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        verdict = super().route(request, front, now_s)
        if not self.known:
            self.known.append({"known": known(self.agent, WALL_S + now_s)})
        return verdict

    def ended(self, record: RequestOutcome, front: Front, now_s: float) -> None:
        request_id, sent_at_s = self._id(record.request.work.id), record.sent_at_s or now_s
        granted_at_s = self._sent.get(record.request.work.id, ("", sent_at_s))[1]
        super().ended(record, front, now_s)
        server = "" if record.server is None else self._names[record.server]
        first_at_s = record.ended_at_s if record.first_at_s is None else record.first_at_s
        ending = Ending(first_at_s - sent_at_s, record.ended_at_s - sent_at_s, record.served)
        queue_s = max(0.0, sent_at_s - granted_at_s)
        line = Line(request_id, server, ending, record.status, "--", kind=Kind.INFERENCE, queue_s=queue_s)
        self.agent.record.ended(line)


def record(fleet: Fleet, per_s: float = 0.8, count: int = COUNT, seed: int = 1) -> list[str]:
    """Return the lines of a log: so many requests, the first models asked for most."""
    chance = random.Random(seed)
    at_s, requests = 0.0, []
    for number in range(count):
        at_s += chance.expovariate(per_s)
        model = chance.choices(MODELS, (8, 4, 2, 1))[0]
        prompt, output = round(chance.lognormvariate(6, 0.8)), round(chance.lognormvariate(4.5, 0.8))
        requests.append(Request(at_s, Work(number, model, prompt_tokens=prompt, output_tokens=1 + output), 0, 0, 0))
    router = Recording(fleet)
    limits = [one.max_connections for one in fleet.instances]
    Simulation([profile() for _ in fleet.instances], limits, requests, router).run()
    rows = [row.decode().rstrip() for row in router.agent.record.rows.take()]
    return [json.dumps(row) for row in router.known] + rows
