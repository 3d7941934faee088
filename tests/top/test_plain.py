"""Scenes as lines: what is new, once."""

import time

from spoe_agent.agent.ending import Ending, Left, Line
from spoe_agent.dashboard.scene import scene
from spoe_agent.routing import Reason
from spoe_agent.routing.names import canonical
from spoe_agent.top.plain import Plain
from tests.dashboard.stage import Stage


def said(plain, stage):
    now_s = time.monotonic()
    return list(plain.lines(scene(stage.status(now_s), stage.agent, now_s)))


def test_what_is_new_is_said_once():
    stage, plain = Stage(1), Plain()
    assert said(plain, stage) == ["gpu0 up, 0.0 of 48.0 GiB: nothing loaded"]
    stage.reads("gpu0", "mistral:7b")
    assert said(plain, stage) == ["gpu0 up, 5.0 of 48.0 GiB: mistral:7b"]
    request_id, _ = stage.asks("mistral:7b")
    assert said(plain, stage) == ["mistral:7b -> gpu0: it is loaded there"]
    stage.ends(request_id, "gpu0", 0.25)
    assert said(plain, stage) == ["mistral:7b gpu0 ended with 200, first token after 0.25 s"]
    assert said(plain, stage) == []


def test_a_client_that_leaves_is_said_so():
    stage, plain = Stage(1), Plain()
    stage.reads("gpu0", "mistral:7b")
    request_id, _ = stage.asks("mistral:7b")
    said(plain, stage)
    ending = Ending(0.1, 0.5, is_whole=False, left=Left.ANSWERED)
    stage.agent.record.ended(Line(request_id, "gpu0", ending, 200, "CD"))
    assert said(plain, stage) == ["mistral:7b gpu0 was left by its client"]


def test_what_was_not_served_is_said_once_however_often_it_happens():
    stage, plain = Stage(1), Plain()
    stage.agent.record.unserved.refused(Reason.CANNOT_FIT, canonical("huge:70b"), time.monotonic() - 30)
    (line,) = [one for one in said(plain, stage) if one.startswith("note")]
    assert line.startswith("note: no instance has the GPU memory for huge:70b: 1 not served, the last 30 s ago")
    stage.agent.record.unserved.refused(Reason.CANNOT_FIT, canonical("huge:70b"), time.monotonic())
    assert said(plain, stage) == []


def test_faults_come_and_go():
    stage, plain = Stage(1), Plain()
    said(plain, stage)
    stage.telemetry("gpu0", slow="GPU held down: hw_thermal")
    assert said(plain, stage) == ["note: gpu0: GPU held down: hw_thermal"]
    stage.telemetry("gpu0", broken="GPU-0 has 1 uncorrected memory errors")
    found = said(plain, stage)
    assert found == ["no more: gpu0: GPU held down: hw_thermal", "wrong: gpu0: GPU-0 has 1 uncorrected memory errors"]
    stage.telemetry("gpu0", broken="GPU-0 has 2 uncorrected memory errors")
    assert said(plain, stage) == []
    stage.telemetry("gpu0")
    assert said(plain, stage) == ["no more: gpu0: GPU-0 has 2 uncorrected memory errors"]


def test_faults_that_differ_in_a_name_are_two_and_those_that_do_not_too():
    stage, plain = Stage(1), Plain()
    said(plain, stage)
    missing = [f"HAProxy did not have gpu{number}, or not at this address, when it asked last" for number in (2, 3)]
    stage.warnings += [*missing, "took 1 s", "took 2 s"]
    assert said(plain, stage) == [f"note: {what}" for what in stage.warnings]
    stage.warnings[2:] = ["took 3 s", "took 4 s"]
    assert said(plain, stage) == []
    stage.warnings[:] = missing[1:]
    assert said(plain, stage) == [f"no more: {what}" for what in (missing[0], "took 3 s", "took 4 s")]


def test_an_agent_that_is_away_is_said_once():
    plain = Plain()
    assert list(plain.lines("it hangs")) == ["the agent does not answer: it hangs"]
    assert list(plain.lines("it hangs")) == []
    assert said(plain, Stage(1))[0] == "the agent answers again"
