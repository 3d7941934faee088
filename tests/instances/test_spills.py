"""Models on the CPU without need, and instances that have lost their GPUs."""

import asyncio
from dataclasses import replace

import pytest

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.grant import Grant
from spoe_agent.fleet import HealthPolicy, loads, specs
from spoe_agent.instances.reading import Reading
from spoe_agent.instances.spills import GPUS_LOST_S, LONGEST_S, PAUSE_S, Repairs, lost_gpus, spilled
from spoe_agent.instances.watch import Watch
from spoe_agent.routing import Dialect, FleetSpec, InstanceSpec, InstanceState, Kind, LoadedModel, RequestFacts
from spoe_agent.routing.hold import Ticket
from spoe_agent.routing.names import canonical
from spoe_agent.routing.snapshot import NO_GPUS, GpuGroup

GIB = 1 << 30
A, B = canonical("a"), canonical("b")


def spec(vram=24):
    return InstanceSpec("g0", 8, vram_bytes=None if vram is None else vram * GIB)


def state(**gib):
    """What is loaded: (GiB of size, GiB of these on the GPUs) by model."""
    return InstanceState(
        loaded={canonical(name): LoadedModel(size * GIB, on * GIB) for name, (size, on) in gib.items()}, loaded_at_s=0.0
    )


@pytest.mark.parametrize(
    ("vram", "gpus", "loaded", "expected"),
    [
        (24, NO_GPUS, {"a": (10, 4)}, [A]),
        (24, NO_GPUS, {"a": (10, 10)}, []),
        (24, NO_GPUS, {"a": (30, 20)}, []),  # too large anyway
        (24, NO_GPUS, {"a": (10, 4), "b": (10, 10)}, [A]),  # 14 GiB beside b: a fifth of it must stay free
        (24, NO_GPUS, {"a": (12, 4), "b": (10, 10)}, []),
        (24, GpuGroup(foreign_bytes=16 * GIB), {"a": (10, 4)}, []),  # others have taken it
        (None, NO_GPUS, {"a": (10, 4)}, []),  # nobody knows
        (None, GpuGroup(total_bytes=24 * GIB), {"a": (10, 4)}, [A]),
        (0, NO_GPUS, {"a": (10, 0)}, []),  # on the CPU that is normal
    ],
)
def test_what_is_partly_on_the_cpu_without_need(vram, gpus, loaded, expected):
    assert spilled(spec(vram), state(**loaded), gpus) == expected


@pytest.mark.parametrize(
    ("vram", "loaded", "is_lost"),
    [
        (24, {"a": (10, 0)}, True),
        (24, {"a": (10, 0), "b": (10, 10)}, False),
        (24, {"a": (30, 0)}, False),
        (24, {}, False),
        (0, {"a": (10, 0)}, False),
        (None, {"a": (10, 0)}, False),
    ],
)
def test_an_instance_with_gpus_and_nothing_on_them_has_lost_them(vram, loaded, is_lost):
    assert bool(lost_gpus(spec(vram), state(**loaded))) is is_lost


class Rig:
    """One instance whose model `a` is partly on the CPU, and what is unloaded there."""

    def __init__(self):
        self.now_s, self.unloaded, self.board = 1000.0, [], Board()
        self.agent = Agent(FleetSpec((spec(),)), self.board, self.nothing, clock=lambda: self.now_s)
        self.repairs = Repairs(self.agent, self.unload, lambda: self.now_s)
        self.reads(state(a=(10, 4)))

    async def nothing(self):
        pass

    async def unload(self, instance, model):
        self.unloaded.append((instance, model))
        return ""

    def reads(self, of):
        self.now_s += 1.0
        self.board.publish("g0", replace(of, loaded_at_s=self.now_s))

    def look(self):
        self.unloaded.clear()
        asyncio.run(self.repairs.look())
        return self.unloaded


def test_an_idle_one_is_unloaded_and_counts_as_gone():
    rig = Rig()
    assert rig.look() == [("g0", "a:latest")]
    assert A not in rig.board.state("g0").loaded


def test_while_it_runs_loads_waits_or_is_used_by_others_nothing_is_unloaded():
    facts = RequestFacts("h", Kind.INFERENCE, Dialect.OLLAMA).naming("a")
    running, held, foreign, loading = Rig(), Rig(), Rig(), Rig()
    running.board.grant(Grant("1", "g0", A, running.now_s))
    held.agent.hold.add(Ticket(facts, held.now_s, 1.0, 60.0))
    foreign.reads(replace(state(a=(10, 4)), others={A: 3.0}))
    loading.board.grant(Grant("1", "g0", B, loading.now_s))
    assert [rig.look() for rig in (running, held, foreign, loading)] == [[], [], [], []]


def test_one_that_spills_again_is_left_alone_for_long_and_then_longer():
    rig = Rig()
    at_s = []
    for _ in range(int(4 * LONGEST_S / 100)):
        rig.reads(InstanceState(loaded={}, loaded_at_s=0.0))
        rig.reads(state(a=(10, 4)))
        if rig.look():
            at_s.append(rig.now_s)
        rig.now_s += 100.0
    assert 3 <= len(at_s) <= 8
    assert at_s[1] - at_s[0] >= PAUSE_S
    assert at_s[2] - at_s[1] >= 2 * PAUSE_S


def test_lost_gpus_are_doubted_until_a_load_shows_them_or_for_a_while():
    now = [1000.0]
    fleet = loads('instances: [{name: g0, url: "http://127.0.0.1:1", vram: 24GiB}]')

    async def nothing(*_):
        return ""

    board = Board()
    agent = Agent(specs(fleet), board, nothing, clock=lambda: now[0])
    watch = Watch(agent, HealthPolicy(), nothing, lambda: now[0])

    def reads(**gib):
        now[0] += 1.0
        watch.published("g0", Reading(now[0], loaded=state(**gib).loaded))
        return bool(board.state("g0").lost_gpus)

    assert not reads(a=(10, 10))
    assert reads(a=(10, 0))
    assert reads()
    assert not reads(a=(10, 10))
    assert reads(a=(10, 0))
    now[0] += GPUS_LOST_S
    assert not reads()
