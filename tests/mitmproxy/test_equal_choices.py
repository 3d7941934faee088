"""The same request at the same moment is decided alike behind HAProxy and inside mitmproxy.

One table of requests, one of moments; every pair goes through the SPOE bridge (as the message HAProxy would send) and
through the addon (as the flow mitmproxy would show).
"""

import asyncio
import json
from dataclasses import dataclass, replace

import pytest
import zstandard

from spoe_agent.agent.grant import Grant
from spoe_agent.fleet import loads, specs
from spoe_agent.haproxy import bridge
from spoe_agent.haproxy.contract import Question
from spoe_agent.mitmproxy.told import account
from spoe_agent.requests.body import at_once
from spoe_agent.requests.caller import key_hash
from spoe_agent.requests.changes import CHANGE_PATHS
from spoe_agent.requests.errors import error_body
from spoe_agent.requests.glimpse import NeedsWhole
from spoe_agent.requests.path import decoded
from spoe_agent.requests.reading import Whole, facts
from spoe_agent.routing import Action, Health, InstanceState, LoadedModel
from spoe_agent.routing.names import canonical
from spoe_agent.routing.surface import DESCRIBE_PATH, INFERENCE_PATHS, dialect
from spoe_agent.spop import Message
from tests.mitmproxy.conftest import NOW_S, Bench, flow_of
from tests.mitmproxy.parts import parts
from tests.requests.test_glimpse import glimpse

FLEET = """
defaults: {num_parallel: 2, max_connections: 3, vram: 24GiB, ollama: {context_length: 4096}}
instances:
  - {name: gpu0, url: "http://127.0.0.1:11435"}
  - {name: gpu1, url: "http://127.0.0.1:11436"}
  - {name: gpu2, url: "http://127.0.0.1:11437"}
models:
  - {match: pinned, instances: [gpu2]}
"""
GB = 10**9
INSTALLED = {"alpha": 5 * GB, "beta:7b": 9 * GB, "pinned": 4 * GB, "huge": 80 * GB, "ns/m:8b": GB}
FORM = b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nalpha\r\n--B--\r\n'
FORM_TYPE = "multipart/form-data; boundary=B"


@dataclass(frozen=True)
class Request:
    path: str
    body: bytes = b""
    method: str = "POST"
    type: str = "application/json"
    encoding: str = ""
    key: str = ""
    caller: str = "127.0.0.1"
    """As HAProxy finds it; the key's is what HAProxy itself said (tests/requests/test_caller.py)."""


def asks(path, **body):
    return Request(path, json.dumps(body).encode())


TALK = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
REQUESTS = {
    "a conversation": asks("/api/chat", model="alpha", messages=TALK),
    "OpenAI's conversation": asks("/v1/chat/completions", messages=TALK[1:], model="alpha"),
    "another context": asks("/api/chat", model="alpha", options={"num_ctx": 8192}),
    "a long prompt": asks("/api/generate", model="alpha", prompt="x" * 40_000),
    "chat": asks("/api/chat", model="alpha", messages=[]),
    "with a key": replace(asks("/api/chat", model="alpha"), key="Bearer sesame", caller="5303568800376557718"),
    "with a password": replace(asks("/api/chat", model="alpha"), key="Basic dTpw", caller="-1271028666801553026"),
    "chat, another model": asks("/api/chat", messages=[], model="beta:7b"),
    "chat with a query": asks("/api/chat?x=1", model="alpha"),
    "generate": asks("/api/generate", model="ALPHA:latest"),
    "an unloading": asks("/api/generate", model="alpha", keep_alive=0),
    "a loading": asks("/api/generate", model="alpha"),
    "other options": asks("/api/generate", model="alpha", prompt="x", options={"num_batch": 128}),
    "embed": asks("/api/embed", model="library/alpha"),
    "embeddings": asks("/api/embeddings", model="registry.ollama.ai/library/alpha"),
    "OpenAI chat": asks("/v1/chat/completions", messages=[], model="alpha"),
    "OpenAI completions": asks("/v1/completions", model="alpha"),
    "OpenAI embeddings": asks("/v1/embeddings", model="alpha"),
    "OpenAI responses": asks("/v1/responses", model="alpha"),
    "Anthropic": asks("/v1/messages", model="alpha"),
    "transcription": Request("/v1/audio/transcriptions", FORM, type=FORM_TYPE),
    "zstd": Request("/v1/chat/completions", zstandard.compress(b'{"model":"alpha"}'), encoding="zstd"),
    "namespace": asks("/api/chat", model="ns/m:8b"),
    "escaped slash": Request("/api/chat", b'{"model":"ns\\/m:8b"}'),
    "key in another case": Request("/api/chat", b'{"Model":"alpha"}'),
    "pinned": asks("/api/chat", model="pinned"),
    "too large for any": asks("/api/chat", model="huge"),
    "cloud": asks("/api/chat", model="gpt-oss:20b-cloud"),
    "unknown": asks("/v1/chat/completions", model="nobody"),
    "unknown to Anthropic's": asks("/v1/messages", model="nobody"),
    "bad name": asks("/api/chat", model="a b"),
    "empty name": asks("/api/chat", model=""),
    "no model": asks("/v1/embeddings", messages=[]),
    "no body": Request("/api/chat"),
    "no JSON": Request("/v1/messages", b"hello"),
    "no object": Request("/api/chat", b"[1]"),
    "bad zstd": Request("/v1/chat/completions", b"{}", encoding="zstd"),
    "show": asks("/api/show", model="alpha"),
    "show by name": asks("/api/show", name="beta:7b"),
    "show by name, as the command line does": asks("/api/show", model="", name="beta:7b"),
    "generate by name": asks("/api/generate", model="", name="beta:7b"),
    "embed, unknown": asks("/api/embed", model="nobody"),
    "show, unknown": asks("/api/show", model="Nobody"),
    "one of OpenAI's list": Request("/v1/models/alpha", method="GET"),
    "one of OpenAI's list, quoted": Request("/v1/mod%65ls/beta%3A7b", method="GET"),
    "a path of more parts": Request("/v1/models/ns%2Fm%3A8b", method="GET"),
    "chat, quoted": asks("/api/ch%61t", model="alpha", messages=[]),
    "generate, quoted": asks("/api/%67enerate", model="alpha"),
    "chat, in another case": asks("/API/chat", model="alpha"),
    "chat, with a slash": asks("/api/chat/", model="alpha"),
    "none of OpenAI's list": Request("/v1/models/nobody", method="GET"),
    "root": Request("/", method="GET"),
    "unknown path": asks("/api/unknown", model="alpha"),
    "wrong method": Request("/api/chat", method="GET"),
    "pull": asks("/api/pull", model="new"),
    "pull by name": asks("/api/pull", name="pinned"),
    "copy": asks("/api/copy", source="alpha", destination="new"),
    "create": asks("/api/create", model="new", files={"a": "sha256:0"}),
    "create of what is no JSON": Request("/api/create", b"hello"),
    "delete": Request("/api/delete", b'{"model":"alpha"}', method="DELETE"),
    "blob": Request("/api/blobs/sha256:0", b"\0" * 100),
}


@dataclass(frozen=True)
class Moment:
    """What is the case on gpu0, gpu1, gpu2."""

    loaded: tuple = ((), (), ())
    granted: tuple = ((), (), ())
    """Models of requests in flight that the board knows."""
    others: tuple = (0, 0, 0)
    """Further connections."""
    health: tuple = (Health.UP,) * 3
    refusing: tuple = (False,) * 3
    age_s: float = 0.0


MOMENTS = {
    "idle": Moment(),
    "loaded on one": Moment(loaded=((), ("alpha",), ())),
    "loaded on two, one busy": Moment(loaded=(("alpha",), ("alpha",), ()), granted=(("alpha",), (), ())),
    "loading": Moment(granted=((), (), ("alpha",))),
    "others in the way": Moment(loaded=(("beta:7b", "pinned"), ("beta:7b",), ("alpha", "pinned"))),
    "connections nobody knows": Moment(loaded=(("alpha",), (), ()), others=(2, 1, 0)),
    "full": Moment(loaded=(("alpha",), (), ()), others=(3, 3, 3)),
    "lines": Moment(loaded=(("alpha",), ("beta:7b",), ()), others=(5, 4, 3)),
    "an old reading": Moment(loaded=((), ("alpha",), ()), age_s=60.0),
    "one is down": Moment(loaded=(("alpha",), (), ()), health=(Health.DOWN, Health.UP, Health.UNKNOWN)),
    "all are down": Moment(health=(Health.DOWN,) * 3),
    "the warm one refuses": Moment(loaded=(("alpha",), (), ()), refusing=(True, False, False)),
    "all refuse": Moment(refusing=(True, True, True)),
}
NAMES = ("gpu0", "gpu1", "gpu2")

POLICY = specs(loads(FLEET)).policy


def publish(board, moment):
    at_s = NOW_S - moment.age_s
    installed = {canonical(name): size for name, size in INSTALLED.items()}
    for number, name in enumerate(NAMES):
        loaded = {canonical(model): LoadedModel(INSTALLED[model], INSTALLED[model]) for model in moment.loaded[number]}
        state = InstanceState(moment.health[number], loaded, at_s, installed, at_s)
        board.publish(name, state)
        for place, model in enumerate(moment.granted[number]):
            board.grant(Grant(f"{name}-{place}", name, canonical(model), NOW_S - 1))


def counts(moment):
    """Connections and queue of each instance, whose limit is 3."""
    total = [len(granted) + others for granted, others in zip(moment.granted, moment.others, strict=True)]
    return [(min(number, 3), max(0, number - 3)) for number in total]


def message(request, moment, number):
    """The message of haproxy.cfg for this request: `read` with its body if that names the model."""
    path = decoded(request.path)
    changes = path in CHANGE_PATHS
    is_read = request.method == "POST" and path in {*INFERENCE_PATHS, DESCRIBE_PATH}
    up = [0 if refuses else 1 for refuses in moment.refusing] if number else [1, 1, 1]
    load = " ".join(
        f"{name}:{taken}:{queued}:{is_up}"
        for name, (taken, queued), is_up in zip(NAMES, counts(moment), up, strict=True)
    )
    size = len(request.body)
    args = {"id": "r1", "method": request.method, "path": path, "load": load, "size": size, "caller": request.caller}
    if changes:
        return Message(Question.CHANGE, {**args, "body": request.body})
    if not is_read:
        return Message(Question.ROUTE, args)
    seen = glimpse(request.body)
    parts = {"seen": size, "head": seen.head, "tail": seen.tail}
    return Message(Question.READ, {**args, **parts, "type": request.type, "encoding": request.encoding})


def seen_by_haproxy(request, moment, number):
    """The facts of this request; where its beginning and end do not tell, of `inspect`, which brings all of it."""
    sent = message(request, moment, number)
    try:
        return bridge.facts(sent, POLICY)
    except NeedsWhole:
        return at_once(bridge.reading(Message(Question.INSPECT, {**sent.args, "body": request.body})))


def behind_haproxy(request, moment):
    """The Choice at once, and the last one. A held request gets it when all before it have left; an instance that
    refuses is asked for again when HAProxy's check has found it down.
    """
    made = parts(loads(FLEET), lambda: NOW_S)
    publish(made.board, moment)
    agent = made.agent
    choice = first = agent.decide(seen_by_haproxy(request, moment, 0))
    if choice.action is Action.HOLD:
        told = []
        assert agent.ask("r1", lambda granted, _: told.append(granted))
        for _ in leaving(agent, moment):
            if told:
                break
        (choice,) = told
    if choice.instance is not None and moment.refusing[NAMES.index(choice.instance)]:
        choice = agent.decide(seen_by_haproxy(request, moment, 1))
    return first, choice


def leaving(agent, moment):
    """Let requests that the board knows end, one with each step; nobody waits for those that it does not know."""
    for name, granted in zip(NAMES, moment.granted, strict=True):
        for place in range(len(granted)):
            agent.ended(f"{name}-{place}")
            yield
    agent.tick()
    yield


async def inside_mitmproxy(request, moment, folder):
    """The flow, and whether it was held."""
    bench = await Bench(FLEET, folder).start()
    try:
        publish(bench.board, moment)
        bench.slots.set_limits(dict.fromkeys(NAMES, 3))
        bench.refusing = {name for name, refuses in zip(NAMES, moment.refusing, strict=True) if refuses}
        async with asyncio.TaskGroup() as group:
            for name, (taken, queued) in zip(NAMES, counts(moment), strict=True):
                for _ in range(taken + queued):
                    group.create_task(bench.slots.take(name, 60))
            await asyncio.sleep(0)
            assert [(bench.slots.taken(name), bench.slots.queued(name)) for name in NAMES] == counts(moment)
            flow = flow_of(request.path, request.body, request.method, headers(request))
            flow.id = "r1"
            sending = group.create_task(bench.send(flow))
            for _ in range(5):
                await asyncio.sleep(0)
            held = len(bench.agent.hold) == 1
            await make_room(bench, moment, sending)
        return flow, held
    finally:
        bench.stop()


async def make_room(bench, moment, sending):
    """Let those before it go, once the choice is made, so that it gets its connection."""
    left = leaving(bench.agent, moment)
    while not sending.done() or any(bench.slots.queued(name) for name in NAMES):
        if len(bench.agent.hold):
            next(left)
        for name in NAMES:
            if bench.slots.queued(name):
                bench.slots.free(name)
        await asyncio.sleep(0)


def headers(request):
    found = {"content-type": request.type, "authorization": request.key}
    return {**found, "content-encoding": request.encoding} if request.encoding else found


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_equal_choices(request_, moment, tmp_path):
    first, choice = behind_haproxy(request_, moment)
    flow, held = await inside_mitmproxy(request_, moment, tmp_path)
    assert held is (first.action is Action.HOLD)
    # All there is to a choice, each instance's terms included.
    assert flow.metadata["pointsman"] == account(choice)
    if choice.instance is not None:
        address = (flow.request.host, flow.request.port)
        assert address == ("127.0.0.1", 11435 + NAMES.index(choice.instance))
        assert flow.response is None
        return
    assert flow.response.status_code == choice.status
    body = error_body(dialect(decoded(request_.path)), choice.status, choice.message, "r1")
    assert json.loads(flow.response.content) == json.loads(body)
    assert flow.response.headers.get("retry-after") == (str(choice.retry_after_s) if choice.retry_after_s else None)
    assert flow.response.headers["x-pointsman"] == f"- {choice.reason}"


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_equal_facts(request_):
    seen = seen_by_haproxy(request_, MOMENTS["idle"], 0)
    path = decoded(request_.path)
    whole = Whole("r1", request_.method, path, request_.body, request_.type, request_.encoding, caller=request_.caller)
    read = facts(whole)
    assert replace(read, loads={}) == replace(seen, loads={}, servers={})


def test_the_table_is_long_enough_and_tells_instances_apart():
    pairs = [(request, moment) for request in REQUESTS.values() for moment in MOMENTS.values()]
    assert len(pairs) >= 60
    decided = [behind_haproxy(*pair) for pair in pairs]
    assert {first.action for first, _ in decided} == set(Action)
    assert {choice.instance for _, choice in decided} == {None, *NAMES}


WEIGHTED = """
defaults: {num_parallel: 1, max_connections: 1, vram: 24GiB, ollama: {context_length: 4096}}
instances: [{name: gpu0, url: "http://127.0.0.1:11435"}]
callers: [{caller: "5303568800376557718", weight: 3}]
"""
"""The number that `pointsman caller` prints for `sesame`."""
LINE = ["first", *(f"{who}{number}" for number in range(4) for who in ("plain", "sesame"))]
"""Requests, in the order of their coming."""


def in_line(name):
    who = name.rstrip("0123456789")
    heavy = REQUESTS["with a key"]
    return heavy if who == "sesame" else replace(heavy, key="Bearer other", caller=key_hash("other"))


def served_behind_haproxy():
    """Names in the order in which they got their slot."""
    made = parts(loads(WEIGHTED), lambda: NOW_S)
    publish(made.board, MOMENTS["loaded on one"])
    served = []
    for name in LINE:
        args = {**message(in_line(name), MOMENTS["idle"], 0).args, "id": name, "load": "gpu0:0:0:1"}
        if (
            made.agent.decide(bridge.facts(Message(Question.READ, args), made.agent.fleet.policy)).action
            is Action.ROUTE
        ):
            served.append(name)
        else:
            assert made.agent.ask(name, lambda _, facts: served.append(facts.request_id))
    for name in served:  # grows while they end
        made.agent.ended(name)
    return served


async def served_inside_mitmproxy(folder):
    bench = await Bench(WEIGHTED, folder).start()
    served = []
    try:
        publish(bench.board, MOMENTS["loaded on one"])
        async with asyncio.TaskGroup() as group:
            flows = {}
            for name in LINE:
                flow = flow_of(in_line(name).path, in_line(name).body, "POST", headers(in_line(name)))
                flow.id = name
                flow.client_conn.id = name
                flows[name] = (flow, group.create_task(bench.send(flow)))
                for _ in range(10):
                    await asyncio.sleep(0)
            while len(served) < len(LINE):
                (name,) = [name for name, (_, task) in flows.items() if task.done() and name not in served]
                served.append(name)
                bench.addon.error(flows[name][0])
                for _ in range(10):
                    await asyncio.sleep(0)
        return served
    finally:
        bench.stop()


async def test_a_caller_with_a_weight_is_known_by_its_key_in_both(tmp_path):
    inside = await served_inside_mitmproxy(tmp_path)
    assert inside == served_behind_haproxy()
    assert sorted(inside) == sorted(LINE)
    # Three for each one of another's, while both wait.
    assert [name.rstrip("0123456789") for name in inside[1:6]].count("sesame") == 4
