"""Whole bodies that are not read to their end: the answer says so, and is one that ends the request."""

import asyncio
import json

from spoe_agent.haproxy.contract import Question
from spoe_agent.haproxy.draining import Draining
from spoe_agent.haproxy.inspector import Inspector
from spoe_agent.haproxy.questions import Questions
from spoe_agent.haproxy.tally import Tally
from spoe_agent.spop import Message
from tests.serving import Rig

BODY = json.dumps({"x": "x" * 1_000_000, "model": "a"}).encode()


def inspect(request_id, path="/api/chat"):
    return Message(Question.INSPECT, {"id": request_id, "method": "POST", "path": path, "body": BODY})


def told(actions):
    return {one.name: one.value for one in actions}


async def test_a_body_that_takes_too_long_is_turned_away():
    """Without `action` HAProxy would bring it again."""
    questions = Questions(Rig().agent, lambda: None, Inspector(Draining(0.0), limit_s=0.0), Tally())
    assert told(await questions.on(inspect("r1", "/v1/messages"))) == {
        "action": "reject",
        "reason": "unreadable",
        "status": 400,
        "message": "the request body takes longer than 0 s to read",
        "error_type": "invalid_request_error",
    }


async def test_what_finds_no_room_is_turned_away_for_now():
    questions = Questions(Rig().agent, lambda: None, Inspector(Draining(0.0), waiting_bytes=len(BODY)), Tally())
    first, second = await asyncio.gather(questions.on(inspect("r1")), questions.on(inspect("r2")))
    assert told(first)["action"] == "route"
    assert told(second) == {
        "action": "reject",
        "reason": "crowded",
        "status": 503,
        "message": "too many large request bodies wait to be read; try again shortly",
        "error_type": "",
        "retry_after": 5,
    }
