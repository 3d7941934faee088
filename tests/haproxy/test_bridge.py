import json
import re
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.fleet import loads as fleet_of
from spoe_agent.haproxy import bridge
from spoe_agent.haproxy.contract import AT_ONCE, CHANGES_SERVER, LATER, VARIABLES, Question
from spoe_agent.haproxy.render import haproxy_files
from spoe_agent.requests.changes import CHANGE_PATHS
from spoe_agent.requests.glimpse import NeedsWhole
from spoe_agent.routing import (
    Action,
    Choice,
    Dialect,
    FleetSpec,
    InstanceLoad,
    InstanceSpec,
    Kind,
    Policy,
    Reason,
    RequestFacts,
    RequestProblem,
    Snapshot,
    choose,
)
from spoe_agent.routing.choice import Writing
from spoe_agent.routing.names import canonical
from spoe_agent.routing.surface import DESCRIBE_PATH, INFERENCE_PATHS
from spoe_agent.routing.wishes import Wishes
from spoe_agent.spop import Message, Scope, SetVar
from spoe_agent.spop.values import string, value, varint
from tests.requests.naming import CASES
from tests.spop.wire import opened, raw_frame

POLICY = Policy(max_inspected_bytes=1000)
LLAMA3, NS_M = canonical("llama3"), canonical("ns/m:8b")
UNREADABLE, TOO_LARGE, BAD_NAME, BAD_HEADER, _ = RequestProblem


ARGS = AT_ONCE | LATER


def message(name=Question.ROUTE, path="/api/chat", method="POST", **args):
    """A message as HAProxy sends it: every argument is there, and None where its sample found nothing."""
    assert args.keys() <= ARGS[name].keys()
    return Message(name, {**dict.fromkeys(ARGS[name]), "id": "r1", "method": method, "path": path, **args})


@pytest.mark.parametrize(
    ("said", "tried"),
    [(None, ()), ("/gpu1/", ("gpu1",)), ("/gpu1//gpu-2.b/", ("gpu1", "gpu-2.b")), ("/-//gpu1/", ("", "gpu1"))],
)
def test_whom_earlier_passes_named(said, tried):
    assert bridge.facts(message(path="/api/tags", tried=said), Policy()).tried == tried


def read(body=b"", content_type="application/json", encoding=None, **args):
    """A `read` of a body that fits into its head, unless sizes say otherwise."""
    sizes = {"seen": len(body), "size": len(body)}
    return message(Question.READ, head=body, type=content_type, encoding=encoding, **{**sizes, **args})


def of_name(name, **args):
    return read(json.dumps({"model": name}).encode(), **args)


@pytest.mark.parametrize("name", [Question.ROUTE, Question.READ, Question.CHANGE, Question.INSPECT])
def test_wishes_come_with_every_question(name):
    path = {Question.ROUTE: "/api/tags", Question.CHANGE: "/api/pull"}.get(name, "/api/chat")
    more = {"head": b'{"model":"a"}', "size": 13, "seen": 13} if name is Question.READ else {}
    sent = message(name, path=path, wish="gpu-1.b batch 1.5s", **more)
    found = inspected(sent) if name is Question.INSPECT else bridge.facts(sent, POLICY)
    assert found.wishes == Wishes("gpu-1.b", 100, 1.5)


def test_a_wish_that_cannot_be_read_is_told_before_all_else():
    sent = message(Question.READ, path="/v1/messages", wish=" high%20est ", head=b"{", size=9_000_000, seen=1)
    found = bridge.facts(sent, POLICY)
    assert (found.problem, found.dialect) == (BAD_HEADER, Dialect.ANTHROPIC)
    assert found.detail == "header x-pointsman-priority: 'high est' is not interactive or batch"


def inspected(sent):
    """What comes of an `inspect`, when all its pauses are over."""
    steps = bridge.reading(sent)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


SHOWS = {
    # message -> kind, model's key, problem, what the caller is told
    "too large, with a model in the head": (of_name("llama3", seen=999, size=9999), Kind.INFERENCE, LLAMA3, None, ""),
    "too large, by Content-Length": (read(b'{"a":', seen=900, size=9999), Kind.INFERENCE, None, TOO_LARGE, ""),
    "too large, chunked": (read(b'{"a":', seen=1000, size=1000), Kind.INFERENCE, None, TOO_LARGE, ""),
    "too large, but named": (read(b'{"a":', seen=9, size=9999, given="llama3"), Kind.INFERENCE, LLAMA3, None, ""),
    "named twice": (of_name("llama3", given="other"), Kind.INFERENCE, LLAMA3, None, ""),
    "no sizes": (message(Question.READ), Kind.INFERENCE, None, UNREADABLE, "missing request body"),
    "inspect, bad zstd": (
        message(Question.INSPECT, body=b"{}", encoding="zstd", path="/v1/messages"),
        Kind.INFERENCE,
        None,
        UNREADABLE,
        "invalid zstd body",
    ),
    "no method": (message(method=None), Kind.LIST, None, None, ""),
    "a blob of gigabytes": (message(path="/api/blobs/sha256:0", size=10**12), Kind.MANAGE, None, None, ""),
    "no path": (message(path=None), Kind.LIST, None, None, ""),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "kind", "model", "problem", "detail"), SHOWS.values(), ids=SHOWS)
def test_what_a_message_shows(sent, kind, model, problem, detail):
    facts = inspected(sent) if sent.name == Question.INSPECT else bridge.facts(sent, POLICY)
    assert (facts.request_id, facts.kind, facts.model, facts.problem) == ("r1", kind, model, problem)
    assert facts.detail.startswith(detail)
    assert bool(facts.detail) is bool(detail)


def read_whole(case):
    """The message of haproxy.cfg for a request, as if all of its body came along."""
    if case.names_in_body:
        return read(case.body, case.type, case.encoding, path=case.path)
    if case.path in CHANGE_PATHS:
        return message(Question.CHANGE, case.path, case.method, body=case.body)
    return message(Question.ROUTE, case.path, case.method)


def inspect(case):
    args = {"body": case.body, "size": len(case.body), "type": case.type, "encoding": case.encoding}
    return message(Question.INSPECT, case.path, case.method, **args)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_a_request_is_for(case):
    seen = [bridge.facts(read_whole(case), Policy())]
    if case.names_in_body:
        seen.append(inspected(inspect(case)))
    for facts in seen:
        assert (facts.kind, facts.model, facts.problem) == (case.kind, case.model, case.problem)
        assert facts.detail.startswith(case.told)


@pytest.mark.parametrize("path", ["/api/chat", "/api/show"])
def test_who_asks_without_the_body_has_files_of_another_version(path):
    with pytest.raises(bridge.Unasked, match="render HAProxy's files again"):
        bridge.facts(message(path=path), POLICY)


def test_the_whole_body_is_asked_for_when_its_beginning_and_end_do_not_tell():
    for path in ("/api/chat", "/api/show"):
        with pytest.raises(NeedsWhole):
            bridge.facts(read(b'{"a":"x', path=path, size=900, seen=900), POLICY)
    assert [(one.name, one.value) for one in bridge.whole_wanted()] == [("action", "inspect"), ("reason", "inspect")]


@pytest.mark.parametrize("sent", [case[0] for case in SHOWS.values() if case[0].name != Question.INSPECT])
def test_arguments_are_found_by_name_and_the_absent_are_none(sent):
    known = {key: value for key, value in sent.args.items() if value is not None}
    turned = {"some other": "x", **dict(reversed(known.items())), "": 7}
    assert bridge.facts(Message(sent.name, turned), POLICY) == bridge.facts(sent, POLICY)


@pytest.mark.parametrize(
    ("path", "dialect"),
    [("/api/chat", Dialect.OLLAMA), ("/v1/completions", Dialect.OPENAI), ("/v1/messages", Dialect.ANTHROPIC)],
)
def test_the_callers_dialect(path, dialect):
    assert bridge.facts(of_name("a", path=path), POLICY).dialect is dialect


def test_counts_come_along():
    facts = bridge.facts(of_name("a", load="g0:3:1:1 g1:0:0:0"), POLICY)
    assert facts.loads == {"g0": InstanceLoad(3, 1, True), "g1": InstanceLoad(0, 0, False)}


ALONG = [
    # argument, value -> what it says, of which fact
    ("size", 4711, "body_bytes", 4711),
    ("size", None, "body_bytes", 0),
    ("caller", "10.0.0.5", "caller", "10.0.0.5"),
    ("caller", b"10.0.0.5", "caller", "10.0.0.5"),
    ("caller", ip_address("10.0.0.5"), "caller", "10.0.0.5"),
    ("caller", ip_address("fe80::1"), "caller", "fe80::1"),
    ("caller", 7_234_567, "caller", "7234567"),
    ("caller", None, "caller", ""),
]


@pytest.mark.parametrize(("name", "value", "fact", "expected"), ALONG)
def test_what_else_comes_along(name, value, fact, expected):
    in_path = bridge.facts(message(path="/v1/models/a", method="GET", **{name: value}), POLICY)
    whole = inspected(message(Question.INSPECT, body=b'{"model":"a"}', **{name: value}))
    for facts in (in_path, whole, bridge.facts(of_name("a", **{name: value}), POLICY)):
        assert getattr(facts, fact) == expected


def test_hints_come_along():
    body = b'{"model":"a","options":{"num_ctx":8192},"messages":[{"role":"user","content":"hi"}]}'
    facts, whole = bridge.facts(read(body), POLICY), inspected(message(Question.INSPECT, body=body))
    assert (facts.num_ctx, facts.prefix) == (whole.num_ctx, whole.prefix)
    assert facts.num_ctx == 8192
    assert facts.prefix


@pytest.mark.parametrize(
    ("sent", "expected"), [({"id": "r7"}, "r7"), ({"id": b"r7"}, "r7"), ({}, ""), ({"id": None}, "")]
)
def test_whose_turn_is_asked_for(sent, expected):
    assert bridge.request_id(Message(Question.HOLD, sent)) == expected


LOADS = {
    "": {},
    "g0:0:0:1": {"g0": InstanceLoad(0, 0, True)},
    " g0:12:345:0  g-1.x:1:2:1 ": {"g0": InstanceLoad(12, 345, False), "g-1.x": InstanceLoad(1, 2, True)},
    "g0:1:2 g1:1:2:3:4:5 g2 :": {},
    "g0:1:2:1:1a2b": {"g0": InstanceLoad(1, 2, True, "1a2b")},
    "g0:-:0:1 g1:1:-1:1 g2::0:1 g3:1.5:0:1": {},
    "g0:\u0661:0:1": {"g0": InstanceLoad(1, 0, True)},  # a digit is a digit
    "g0:-:0:1 g1:7:0:1": {"g1": InstanceLoad(7, 0, True)},
}


@pytest.mark.parametrize(("text", "expected"), LOADS.items())
def test_haproxys_counts(text, expected):
    assert bridge.loads(text) == expected


# What is no UTF-8 comes as such a text.
any_text = st.binary(max_size=50).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
values = st.none() | st.booleans() | st.integers() | st.text() | any_text | st.binary(max_size=50)
args = st.dictionaries(st.sampled_from([*ARGS[Question.READ], "body", ""]), values)
methods = st.sampled_from(["POST", "GET", "DELETE"])
paths = st.sampled_from(["/api/chat", "/api/show", "/v1/models/x", "/api/tags", "/api/pull", "/v1/messages"])


@given(args, methods, paths, st.sampled_from(list(Question)))
def test_any_arguments_are_decided_and_answered(args, method, path, name):
    sent = Message(name, {**args, "method": method, "path": path})
    try:
        facts = inspected(sent) if name == Question.INSPECT else bridge.facts(sent, POLICY)
    except (bridge.Unasked, NeedsWhole) as error:
        assert (name == Question.READ) is isinstance(error, NeedsWhole)
        return
    needs_model = facts.kind in (Kind.INFERENCE, Kind.DESCRIBE) or facts.problem is BAD_HEADER
    assert needs_model is ((facts.model is None) is (facts.problem is not None))
    choice = choose(facts, FleetSpec((InstanceSpec("g0", 4),)), Snapshot(0.0))
    assert {action.name for action in bridge.actions(choice, facts)} <= set(VARIABLES)


def arrived(name, sent_as, **given):
    """The message as it comes off the wire, with bytes sent as that type."""
    args = {**message(name).args, **given}
    typed = {key: sent_as(one) if isinstance(one, bytes) else value(one) for key, one in args.items()}
    payload = string(name) + bytes((len(typed),)) + b"".join(string(key) + one for key, one in typed.items())
    (notify,) = opened().receive_data(raw_frame(stream_id=1, frame_id=1, payload=payload))
    return notify.messages[0]


def as_string(raw):
    return b"\x08" + varint(len(raw)) + raw


def outcome(sent):
    """What a question comes to: its facts, or why there are none."""
    try:
        return inspected(sent) if sent.name == Question.INSPECT else bridge.facts(sent, Policy())
    except NeedsWhole as error:
        return type(error)


CHAT = json.dumps(
    {"messages": [{"role": "user", "content": "é€😀" * 40}], "x": "ü" * 20, "model": "llama3"}, ensure_ascii=False
).encode()


@given(st.binary(max_size=400) | st.just(CHAT), st.data())
def test_what_haproxy_sends_as_text_is_read_byte_by_byte(body, data):
    """Whatever it is, and cut anywhere: as when the same is sent as bytes."""
    end, start = (data.draw(st.integers(0, len(body))) for _ in range(2))
    given_parts = {
        Question.READ: {"head": body[:end], "tail": body[start:], "size": len(body) + 1, "seen": len(body) + 1},
        Question.INSPECT: {"body": body[:end], "size": end},
        Question.CHANGE: {"body": body[:end], "size": end, "path": "/api/delete"},
    }
    for name, parts in given_parts.items():
        text, raw = arrived(name, as_string, **parts), arrived(name, value, **parts)
        assert outcome(text) == outcome(raw)
        assert bridge.body_bytes(text) == bridge.body_bytes(raw) == len(parts.get("body", b""))


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_head_and_a_tail_that_are_cut_within_a_character(cut):
    start = CHAT.index("é€😀".encode())
    parts = {"head": CHAT[: start + cut], "tail": CHAT[start + cut :], "size": len(CHAT), "seen": len(CHAT)}
    assert outcome(arrived(Question.READ, as_string, **parts)).model == LLAMA3


def asked(dialect=Dialect.OLLAMA):
    return RequestFacts("r1", Kind.INFERENCE, dialect, LLAMA3)


def variables(choice, facts):
    actions = bridge.actions(choice, facts)
    assert all(isinstance(action, SetVar) and action.scope is Scope.TXN for action in actions)
    found = {action.name: action.value for action in actions}
    assert len(found) == len(actions)
    return found


@pytest.mark.parametrize("dialect", Dialect)
def test_variables_of_a_route(dialect):
    choice = Choice(Action.ROUTE, Reason.LOADED, "g0")
    assert variables(choice, asked(dialect)) == {"action": "route", "reason": "loaded", "server": "g0"}


def test_a_change_of_several_stores_goes_to_the_door():
    choice = Choice(Action.ROUTE, Reason.MANAGE, writings=(Writing(("g0",), ("g0",)), Writing(("g1",), ())))
    assert variables(choice, asked()) == {"action": "route", "reason": "manage", "server": CHANGES_SERVER}


HALF = rb"x\ud800"


@pytest.mark.parametrize("path", [*sorted(INFERENCE_PATHS), DESCRIBE_PATH])
def test_half_a_character_in_a_name_is_no_name(path):
    """Go makes another character of it, which no name has either: as with Ollama, the request is turned away."""
    facts = bridge.facts(read(b'{"model":"' + HALF + b'","name":"' + HALF + b'"}', path=path), POLICY)
    assert (facts.model, facts.asked.isascii(), facts.problem is not None) == (None, True, True)


@pytest.mark.parametrize("path", sorted(CHANGE_PATHS))
def test_half_a_character_in_the_name_of_what_is_changed_is_written_down_nowhere(path):
    names = b",".join(b'"%s":"%s"' % (key, HALF) for key in (b"model", b"name", b"source", b"destination"))
    body = b"{" + names + b"}"
    facts = bridge.facts(message(Question.CHANGE, path, size=len(body), body=body), POLICY)
    assert "ud800" not in ascii(facts)


def test_whatever_bytes_a_text_was_it_has_a_form_in_utf8():
    """As in a path, or whoever speaks to HAProxy's own port: these are kept beside requests and written down."""
    facts = bridge.facts(message(path="/api/\udcff", id="r\udcff", caller="\udcff\xfc", process="p"), Policy())
    assert (facts.request_id, facts.caller) == ("r\ufffd", "\ufffd\xfc")


def test_variables_of_a_held_request():
    """No server: HAProxy asks again, and gets it with the next answer."""
    choice = Choice(Action.HOLD, Reason.LOADED, "g0")
    assert variables(choice, asked()) == {"action": "hold", "reason": "loaded"}


REJECTED = [
    (Dialect.OLLAMA, Reason.NOT_FOUND, ""),
    (Dialect.OPENAI, Reason.NOT_FOUND, "not_found_error"),
    (Dialect.ANTHROPIC, Reason.NOT_FOUND, "not_found_error"),
    (Dialect.OPENAI, Reason.NO_LISTS, "api_error"),
    (Dialect.ANTHROPIC, Reason.NO_LISTS, "overloaded_error"),
]


@pytest.mark.parametrize(("dialect", "reason", "error_type"), REJECTED)
def test_variables_of_a_rejection(dialect, reason, error_type):
    choice = Choice(Action.REJECT, reason, message="what to do")
    expected = {
        "action": "reject",
        "reason": str(reason),
        "status": choice.status,
        "message": "what to do",
        "error_type": error_type,
    }
    assert variables(choice, asked(dialect)) == expected


def test_variables_of_a_request_that_comes_around_again():
    choice = Choice(Action.ROUTE, Reason.LOADED, "g1", failed=("g0",))
    assert variables(choice, asked())["reason"] == "again: g0 failed"


def test_when_to_try_again():
    choice = Choice(Action.REJECT, Reason.NO_INSTANCE_UP, message="m", retry_after_s=5)
    assert variables(choice, asked())["retry_after"] == 5


FLEET = fleet_of('instances: [{name: gpu0, url: "http://h:1"}, {name: gpu1, url: "http://h:2"}]')


@pytest.fixture(scope="module")
def files():
    return haproxy_files(FLEET)


def test_counts_are_sent_in_the_form_that_is_read(files):
    form = re.search(r'set-var-fmt\(txn\.pm_load\) "(.*)"', files["haproxy.cfg"])[1]
    text = re.sub(r"%\[srv_conn\([^)]*\)\]", "3", form)
    text = re.sub(r"%\[srv_queue\([^)]*\)\]", "2", text)
    text = re.sub(r"%\[srv_is_up\([^)]*\)\]", "1", text)
    told = {instance.name: InstanceLoad(3, 2, True, instance.tag) for instance in FLEET.instances}
    assert bridge.loads(text) == told


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("read", {"path": "/api/chat", "key": "alice|0|0|0|0|1|0||"}, True),
        ("read", {"path": "/api/chat", "key": None}, False),
        ("route", {"path": "/api/tags"}, False),
        ("route", {"path": "/api/version", "key": None}, None),
        ("hold", {"id": "r"}, None),
    ],
)
def test_whether_haproxy_has_looked_for_a_key(name, args, expected):
    assert bridge.has_key(Message(name, args)) is expected
