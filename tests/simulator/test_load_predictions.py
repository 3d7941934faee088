"""What the agent expects of loads, held against the simulated Ollama's: from the page cache and from disk, on machines
as fast as the priors say and on others. `pytest -s` prints the table.
"""

from dataclasses import dataclass, replace

import pytest

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.ending import Ending
from spoe_agent.agent.learner import PUBLISH_INTERVAL_S
from spoe_agent.routing import Dialect, FleetSpec, InstanceSpec, InstanceState, Kind, LoadedModel, RequestFacts
from spoe_agent.routing.names import canonical
from spoe_agent.routing.snapshot import Health
from spoe_agent.simulator import InstanceProfile, Model
from spoe_agent.simulator.host import Host
from spoe_agent.simulator.profile import GB, GIB
from spoe_agent.simulator.scheduler import Scheduler
from spoe_agent.simulator.work import Finished, FirstToken, LoadFinished, Task, Work

WITHIN = 0.30
LEARNED_AFTER = 2
LARGE = [Model(f"large{n}:latest", 40 * GB, layers=80) for n in range(8)]
"""More than any page cache here, so that each is read from disk each time."""
SMALL = [Model(f"small{n}:latest", size) for n, size in enumerate((2 * GB, 5 * GB, 12 * GB))]


@dataclass
class Load:
    """One load, as it was expected and as it was."""

    model: str
    is_cached: bool
    expected_s: float
    took_s: float

    @property
    def off(self):
        return self.expected_s / self.took_s - 1


class Machine:
    """An agent and one simulated Ollama, which is asked for one model after another."""

    def __init__(self, profile):
        self.now_s = 0.0
        self.ollama = Scheduler(profile, Host())
        limits = {"num_parallel": profile.num_parallel, "max_loaded_models": profile.loaded_limit()}
        spec = InstanceSpec("g0", 100, vram_bytes=profile.vram_bytes, context_length=profile.context_length, **limits)
        self.agent = Agent(FleetSpec((spec,)), Board(), refresh=None, clock=lambda: self.now_s)
        self.models = {canonical(model.name): model for model in (*LARGE, *SMALL)}
        self.loads = []

    def ask(self, model):
        """Ask for a model, wait for the answer, and note its load."""
        self._poll()
        name, number = canonical(model.name), len(self.loads)
        choice = self.agent.decide(RequestFacts(str(number), Kind.INFERENCE, Dialect.OLLAMA, name))
        cost = choice.candidates[0].cost
        grant = self.agent.board.find(str(number))
        for victim in choice.victims:
            self.ollama.submit(Work(-1, self.models[victim], Task.UNLOAD, keep_alive_s=0.0), self.now_s)
        self.ollama.submit(Work(number, model, output_tokens=20), self.now_s)
        at_s = self._until_finished(number)
        expected_s, took_s = cost.load_s + grant.loading.begins_s, at_s[LoadFinished] - self.now_s
        self.loads.append(Load(model.name, grant.loading.is_cached, expected_s, took_s))
        ending = Ending(at_s[FirstToken] - self.now_s, at_s[Finished] - self.now_s, is_whole=True)
        self.now_s = at_s[Finished]
        self.agent.ended(str(number), "g0", ending)
        self.now_s += 10 * PUBLISH_INTERVAL_S

    def _until_finished(self, number):
        """When each thing happened to a request."""
        at_s = {}
        while Finished not in at_s:
            for event in self.ollama.advance(self.ollama.next_event_at()):
                if getattr(event, "id", None) == number:
                    at_s[type(event)] = event.at_s
        return at_s

    def _poll(self):
        loaded = {
            canonical(line.model.name): LoadedModel(line.size_bytes, line.size_vram_bytes, line.num_ctx)
            for line in self.ollama.ps(self.now_s)
        }
        installed = {name: model.size_bytes for name, model in self.models.items()}
        self.agent.published("g0", InstanceState(Health.UP, loaded, self.now_s, installed, self.now_s))


AS_MEASURED = InstanceProfile(vram_bytes=80 * GIB, max_loaded_models=1)
MACHINES = {
    "as measured": AS_MEASURED,
    "a slow disk": replace(AS_MEASURED, cold_bytes_per_s=0.4 * GB),
    "a fast disk, a slow bus": replace(AS_MEASURED, cold_bytes_per_s=2.5 * GB, load_bytes_per_s=3 * GB),
    "twice as fast": replace(AS_MEASURED, cold_bytes_per_s=2.8 * GB, load_bytes_per_s=15 * GB, load_fixed_s=0.5),
}


@pytest.mark.parametrize("profile", MACHINES.values(), ids=MACHINES)
def test_loads_from_disk_and_from_the_page_cache_take_about_what_is_expected_after_two(profile, request):
    machine = Machine(profile)
    for model in (*LARGE, *LARGE, *4 * SMALL):
        machine.ask(model)
    seen = dict.fromkeys(["disk", *(model.name for model in SMALL)], 0)
    late = []
    for load in machine.loads:
        of = load.model if load.is_cached else "disk"
        seen[of] += 1
        if seen[of] > LEARNED_AFTER:
            late.append(load)
        print(f"{request.node.callspec.id:24} {of:14} {load.expected_s:6.2f} {load.took_s:6.2f} {load.off:+.0%}")
    assert {load.is_cached for load in late} == {False, True}
    assert min(seen.values()) > LEARNED_AFTER
    assert max(abs(load.off) for load in late) <= WITHIN


def test_the_priors_are_those_of_the_machine_that_was_measured():
    machine = Machine(AS_MEASURED)
    for model in (*LARGE[:2], *2 * SMALL):
        machine.ask(model)
    assert max(abs(load.off) for load in machine.loads) <= WITHIN
