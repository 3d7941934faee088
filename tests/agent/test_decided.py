"""A decision as the log has it."""

import json
import logging

import pytest
import structlog
from structlog.testing import capture_logs

from spoe_agent.agent.decided import fields
from spoe_agent.routing import Action, Candidate, Choice, Cost, Exclusion, Reason, Tier
from tests.rigs import B, Held, Rig, asks

CHOICE = Choice(
    Action.ROUTE,
    Reason.EVICT,
    "g0",
    Tier.EVICT,
    candidates=(
        Candidate("g0", None, "", Tier.EVICT, Cost(load_s=4.00049, price_s=0.25), (B,), has_slot=False),
        Candidate("g1", Exclusion.DOWN, "refuses connections"),
        Candidate("g2", None, "partly on the CPU", Tier.LOADED, Cost(prefix_s=-0.5)),
    ),
)


def test_every_instance_is_told_term_by_term():
    assert fields(asks(request_id="r1", caller="10.0.0.5", process="1-a"), CHOICE, "alice") == {
        "id": "r1",
        "model": "a:latest",
        "caller": "alice",
        "process": "1-a",
        "action": "route",
        "instance": "g0",
        "reason": "evict",
        "candidates": {
            "g0": {
                "state": "evict",
                "total_s": 4.25,
                "load_s": 4.0,
                "price_s": 0.25,
                "evicts": ["b:latest"],
                "slot": "none free",
            },
            "g1": {"excluded": "down", "why": "refuses connections"},
            "g2": {"state": "loaded", "total_s": -0.5, "prefix_s": -0.5, "why": "partly on the CPU"},
        },
    }


def test_a_refusal_is_told_with_its_answer():
    told = fields(asks(None), Choice(Action.REJECT, Reason.NOT_FOUND, message="model 'x' not found"), "")
    assert (told["model"], told["status"], told["message"]) == (None, 404, "model 'x' not found")


def test_what_the_agent_decides_and_grants_is_plain_data():
    with capture_logs() as logs:
        rig = Held()
        rig.ask("1", "2")
        rig.agent.ended("1")
    assert [(line["event"], line["id"], line["action"]) for line in logs] == [
        ("decided", "1", "route"),
        ("decided", "2", "hold"),
        ("granted", "2", "route"),
    ]
    assert json.loads(json.dumps(logs)) == logs


@pytest.mark.parametrize(("log_caller", "caller"), [("name", "10.0.0.5"), ("none", "")])
def test_a_decision_is_one_short_line_when_that_is_asked_for(log_caller, caller):
    rig = Rig()
    rig.agent.record.rows.log_caller, rig.agent.record.is_said = log_caller, True
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    try:
        with capture_logs() as logs:
            rig.agent.decide(asks(caller="10.0.0.5"))
            rig.agent.record.is_said = False
            rig.agent.decide(asks(request_id="r2"))
    finally:
        structlog.configure(**before)
    (line,) = logs
    assert line.pop("instance") in ("g0", "g1")
    assert line == {
        "event": "decided", "log_level": "info", "id": "r1", "model": "a:latest", "caller": caller, "action": "route",
        "reason": "room", "state": "room",
    }  # fmt: skip
