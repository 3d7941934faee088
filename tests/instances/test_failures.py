"""Whose fault failures are: as a table of what happened before the last one."""

import pytest

from spoe_agent.instances.failures import FORGOTTEN_S, Failures, Verdict
from spoe_agent.routing.names import canonical

WORDS = {verdict.value: verdict for verdict in Verdict}

STORIES = [
    # Event: model, instance, caller; `+` was served, `-` failed.
    ("-a0x", "little"),
    ("-a0x -a0x", "open"),
    ("-a0x +a0x -a0x", "little"),
    ("-a0x -a0y", "open"),
    ("-a0x -b0x", "open"),
    ("-a0x -b0y", "instance"),
    ("-a0x +c0x -b0y", "little"),
    ("-a0x -a1x", "model"),
    ("-a0x -a0x -a1x", "model"),
    ("-a0x -a1x -a0x", "model"),
    ("-a0x -a1x +a2x -a0x", "instance"),
    ("-a0x -a0x +a1x -a0x", "instance"),
    ("-a0x -a0x +a1x -b0x", "instance"),
    ("-a0x +a1x", ""),
    ("-a0x +a1x -a0x", "instance"),
    ("+a1x -a0x -a0x", "open"),
    ("-a0x +a1y -a0x", "open"),
    ("-a0x -a0y +a1z -a0x", "instance"),
    ("-a0x +b0x +a1x -a0x", "here"),
    ("-a0x +b0x -a0x", "open"),
    ("-a0x -a1x -b0y", "little"),
    ("-a0x -a1x -b0y -b0y", "open"),
]


@pytest.mark.parametrize(("story", "verdict"), STORIES)
def test_the_last_one(story, verdict):
    assert lived(story)[-1] == WORDS.get(verdict)


def lived(story, step_s=1.0):
    failures, verdicts = Failures(), []
    for turn, (sign, model, instance, caller) in enumerate(story.split()):
        at_s = 100.0 + step_s * turn
        if sign == "+":
            verdicts.append(failures.served(canonical(model), instance, caller, at_s))
        else:
            verdicts.append(failures.failed(canonical(model), instance, caller, "answered 500", 2, at_s))
    return verdicts


def test_what_was_long_ago_is_no_evidence():
    assert lived("-a0x -a0x", FORGOTTEN_S + 1) == [Verdict.LITTLE] * 2
    assert lived("-a0x -a1x", FORGOTTEN_S + 1) == [Verdict.LITTLE] * 2


def test_who_is_at_fault_is_named_until_it_is_served():
    failures = Failures()
    for instance in ("g1", "g0"):
        assert not failures.at_fault(100.0)
        failures.failed(canonical("a"), instance, "", f"answered 500 on {instance}", 2, 100.0)
    assert failures.at_fault(101.0) == {
        canonical("a"): "a:latest fails on g0, g1, and is served nowhere: answered 500 on g1"
    }
    failures.served(canonical("a"), "g2", "", 102.0)
    assert not failures.at_fault(103.0)
