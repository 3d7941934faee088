"""The measurements of telemetry run, and measure what they say. No time is asserted."""

import asyncio
import io

import pytest
from rich.console import Console

from bench import telemetry_cost, telemetry_tail
from bench.big_fleet import ReadBy, Size, fleet
from bench.telemetry_cost import CpuCost
from bench.telemetry_tail import Plan, Tail, Times, tail
from spoe_agent.fleet import loads

SMALL = Size(instances=4, hosts=2, gpus_per_host=4)
PORTS = (1001, 1002, 1003, 1004)


def shown(table):
    out = io.StringIO()
    Console(file=out, width=200).print(table)
    return out.getvalue()


@pytest.mark.parametrize("kind", ReadBy)
def test_everything_is_left_at_what_users_get(kind):
    found, users = fleet(SMALL, PORTS, kind), loads('instances: [{name: a, url: "http://127.0.0.1:1"}]')
    assert found.policies == users.policies
    assert found.telemetry.model_copy(update={"sources": ()}) == users.telemetry


def test_every_gpu_belongs_to_one_instance_and_is_read_by_its_hosts_source():
    found = fleet(SMALL, PORTS, ReadBy.POINTSMAN)
    gpus = [gpu for instance in found.instances for gpu in instance.gpus]
    assert (len(gpus), len(set(gpus))) == (SMALL.gpus, 8)
    assert [source.instances for source in found.telemetry.sources] == [("i0", "i1"), ("i2", "i3")]
    assert {gpu[:12] for gpu in found.instances[3].gpus} == {"GPU-00000001"}


def test_each_part_is_measured_and_everything_at_a_time():
    costs = asyncio.run(telemetry_cost.run(1.0, SMALL))
    assert [(cost.instances_read, cost.gpus_read, cost.is_whole) for cost in costs] == [
        (4, 0, False),
        (0, 0, False),
        (0, 8, False),
        (4, 8, True),
        (0, 8, False),
        (4, 8, True),
    ]
    assert all(cost.percent_of_core > 0 for cost in costs)


@pytest.mark.parametrize(("percent", "verdict"), [(4.99, "4.99 % met"), (5.0, "5.00 % MISSED")])
def test_the_sum_is_held_against_the_goal(percent, verdict):
    said = shown(telemetry_cost.table([CpuCost("a part", 99.0, 1, 1, False), CpuCost("all", percent, 1, 1, True)]))
    assert verdict in said
    assert "99.00 %  " in said


def test_all_arms_of_the_tail_get_requests():
    tails = asyncio.run(telemetry_tail.run(Plan(slice_s=0.3, slices=1, rate_per_s=100.0, size=SMALL)))
    assert [one.arm for one in tails] == ["none", "elsewhere", "in the agent"]
    for one in tails:
        assert one.requests > 0
        assert 0 < one.decide_p50_us <= one.decide_p99_us <= one.answer_p99_us
        assert 0 < one.cpu_p50_us <= one.cpu_p99_us
    assert "in the agent / elsewhere" in shown(telemetry_tail.table("telemetry", tails))


def test_percentiles_are_medians_over_slices():
    usual = [Times(number * 1e-6, number * 5e-7, number * 2e-6) for number in range(1, 101)]
    slices = [usual, usual, [Times(1.0, 1.0, 1.0)], []]
    assert tail("x", slices) == Tail("x", 201, 51.0, 100.0, 25.5, 50.0, 102.0, 200.0)
