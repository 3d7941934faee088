from __future__ import annotations

import math

import pytest

from spoe_agent.simulator.host import Host
from spoe_agent.simulator.virtual.faults import Trouble, VirtualInstance
from spoe_agent.simulator.work import Event, Finished, LoadFinished, Work
from tests.simulator.virtual.builders import MODELS, PROFILE

A, B = MODELS["a"], MODELS["b"]


def ask(instance: VirtualInstance, id: int, at_s: float, name: str = "a") -> None:
    instance.submit(Work(id, MODELS[name], prompt_tokens=100, output_tokens=11), at_s)


def ends(events: list[Event]) -> list[tuple[int, float]]:
    return [(event.id, round(event.at_s, 6)) for event in events if isinstance(event, Finished)]


def test_a_stuck_process_answers_lists_and_no_prompts() -> None:
    instance = VirtualInstance(PROFILE, Host())
    ask(instance, 1, 0.0)
    assert ends(instance.advance(2.15)) == []
    instance.strike(Trouble.HANG, 2.15)
    ask(instance, 2, 3.0)
    instance.cancel(2, 4.0)

    assert instance.is_open and instance.is_stuck and instance.next_at_s == math.inf
    assert instance.advance(50.0) == []
    assert [line.model for line in instance.ps(50.0) or []] == [A]

    instance.heal(Trouble.HANG, 60.0)
    ask(instance, 3, 61.0)
    assert instance.ps(61.0) == []
    assert ends(instance.advance(70.0)) == [(3, 63.2)]


def test_a_killed_process_leaves_nothing() -> None:
    instance = VirtualInstance(PROFILE, Host())
    ask(instance, 1, 0.0)
    instance.strike(Trouble.GONE, 2.15)

    assert not instance.is_open
    assert (instance.ps(3.0), instance.advance(9.0), instance.next_at_s) == (None, [], math.inf)

    instance.heal(Trouble.GONE, 10.0)
    assert instance.is_open and instance.ps(10.0) == []


@pytest.mark.parametrize(("healed", "seconds"), [(False, 10.0), (True, 2.0)])
def test_loads_are_slow_until_they_are_not(healed: bool, seconds: float) -> None:
    instance = VirtualInstance(PROFILE, Host())
    instance.strike(Trouble.SLOW, 0.0)
    if healed:
        instance.heal(Trouble.SLOW, 0.0)
    ask(instance, 1, 0.0)

    assert [event.load_s for event in instance.advance(60.0) if isinstance(event, LoadFinished)] == [seconds]
