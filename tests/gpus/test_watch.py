"""What readings of GPUs mean for an instance."""

import pytest
from structlog.testing import capture_logs

from spoe_agent.agent.board import Board
from spoe_agent.fleet import loads
from spoe_agent.gpus.group import GroupReading
from spoe_agent.gpus.reading import GpuReading, SourceError
from spoe_agent.gpus.watch import GpuWatch, judged
from spoe_agent.routing import InstanceState, LoadedModel
from spoe_agent.routing.snapshot import GpuDoubt

GIB = 1 << 30
FLEET = """
instances:
  - {name: both, url: "http://127.0.0.1:11435", gpus: [0, 1]}
  - {name: far, url: "http://10.0.0.7:11435", gpus: [0]}
  - {name: cpu, url: "http://127.0.0.1:11436"}
telemetry:
  sources: [{url: "http://10.0.0.7:9605"}]
  memory: {max_age: 10s, on_stale: %s}
"""
READ = GroupReading(memory_total_bytes=48 * GIB, memory_free_bytes=8 * GIB, age_s=1.0)


def policy(on_stale="ignore"):
    return loads(FLEET % on_stale).telemetry


def test_what_counts_of_a_fresh_reading():
    found = judged(READ, policy(), 40 * GIB)
    assert (found.free_bytes, found.total_bytes, found.foreign_bytes) == (8 * GIB, 48 * GIB, 40 * GIB)
    assert found.notes == ("other programs hold 40.0 GiB of GPU memory",)
    assert found.doubt == GpuDoubt()


@pytest.mark.parametrize(
    ("on_stale", "free_bytes", "is_broken"), [("use", 8 * GIB, False), ("ignore", None, False), ("exclude", None, True)]
)
def test_a_stale_reading(on_stale, free_bytes, is_broken):
    stale = GroupReading(memory_total_bytes=48 * GIB, memory_free_bytes=8 * GIB, age_s=10.1)
    found = judged(stale, policy(on_stale), None)
    assert (found.free_bytes, bool(found.doubt.broken)) == (free_bytes, is_broken)
    assert "GPU memory is 10 s old" in (found.doubt.broken or found.notes[0])


@pytest.mark.parametrize(
    ("throttled", "slow"),
    [
        (set(), ""),
        ({"sw_power_cap"}, ""),
        ({"sw_power_cap", "hw_thermal", "hw_slowdown"}, "GPU held down: hw_slowdown, hw_thermal"),
    ],
)
def test_what_holds_a_gpu_down(throttled, slow):
    reading = GroupReading(throttled=frozenset(throttled), age_s=0.0)
    assert judged(reading, policy(), None).doubt.slow == slow


def test_a_gpu_that_fails():
    assert judged(GroupReading(failing=("GPU-1 is lost",), age_s=0.0), policy(), None).doubt.broken == "GPU-1 is lost"


class Local:
    """This host's GPUs, as a test says."""

    name = "here"

    def __init__(self):
        self.used_bytes = [0, 0]

    async def read(self, now_s):
        if not self.used_bytes:
            raise SourceError("no driver")
        return tuple(
            GpuReading(f"GPU-{index}", None, index, memory_total_bytes=24 * GIB, memory_used_bytes=used,
                       memory_free_bytes=24 * GIB - used, read_at_s=now_s)
            for index, used in enumerate(self.used_bytes)
        )  # fmt: skip


class Bench:
    def __init__(self):
        self.now_s, self.board, self.local = 100.0, Board(), Local()
        self.watch = GpuWatch(loads(FLEET % "ignore"), self.board, None, lambda: self.now_s, lambda: (self.local,))

    async def at(self, now_s):
        self.now_s = now_s
        await self.watch._pollers[0].poll()
        self.watch.look()
        return self.board.snapshot({}, now_s).gpu("both")


async def test_a_group_is_summed_and_what_others_hold_is_told_when_models_stand_still():
    bench = Bench()
    found = await bench.at(100.0)
    assert (found.total_bytes, found.free_bytes) == (48 * GIB, 48 * GIB)
    bench.board.publish("both", InstanceState(loaded={"m": LoadedModel(9 * GIB, 9 * GIB)}))
    bench.local.used_bytes = [9 * GIB, 20 * GIB]
    assert not (await bench.at(101.0)).foreign_bytes
    found = await bench.at(105.0)
    assert found.foreign_bytes == pytest.approx(20 * GIB, abs=2 * GIB)


async def test_losing_the_source_takes_nothing_away_until_it_is_too_old():
    bench = Bench()
    await bench.at(100.0)
    bench.local.used_bytes = []
    assert (await bench.at(109.0)).free_bytes == 48 * GIB
    assert (await bench.at(111.0)).free_bytes is None


async def test_an_instance_without_gpus_has_no_readings():
    bench = Bench()
    await bench.at(100.0)
    assert set(bench.board.snapshot({}, 100.0).gpus) == {"both", "far"}


NAMES_NONE = 'instances: [{name: g0, url: "http://127.0.0.1:11435"}]'


@pytest.mark.parametrize(("used_bytes", "told"), [([0, 0], True), ([], False)])
async def test_gpus_that_nobody_names_are_looked_at_once_and_told_of(used_bytes, told):
    local = Local()
    local.used_bytes = used_bytes
    watch = GpuWatch(loads(NAMES_NONE), Board(), None, local=lambda: (local,))
    await watch.run()  # ends: there is nothing to go on reading for
    assert [warning.startswith("the GPUs of this host are not read") for warning in watch.warnings()] == [True] * told


async def test_a_bug_in_a_source_that_nobody_asked_for_costs_nothing_else():
    class Broken(Local):
        async def read(self, now_s):
            raise ZeroDivisionError

    watch = GpuWatch(loads(NAMES_NONE), Board(), None, local=lambda: (Broken(),))
    with capture_logs() as logs:
        await watch.run()
    assert [line["exc_info"] for line in logs] == [True]


async def test_gpus_that_are_named_and_not_there_are_told_of():
    bench = Bench()
    bench.local.used_bytes = []
    await bench.at(100.0)
    assert bench.watch.warnings() == [
        "nobody reads GPU 0, 1 of both: no GPU of this host answers (here: no driver)",
    ]
