import re
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoe_agent import bridge
from spoe_agent.fleet import loads as fleet_of
from spoe_agent.fleet.render import REJECTIONS, haproxy_files
from spoe_agent.routing import (
    Action,
    Choice,
    Dialect,
    FleetSpec,
    InstanceLoad,
    InstanceSpec,
    Kind,
    Policy,
    Problem,
    RequestFacts,
    Snapshot,
    choose,
)
from spoe_agent.routing.names import canonical
from spoe_agent.spop import Message, Scope, SetVar

POLICY = Policy(max_inspected_bytes=1000)
LLAMA3, NS_M = canonical("llama3"), canonical("ns/m:8b")
UNREADABLE, TOO_LARGE, BAD_NAME, _ = Problem

untimed = settings(deadline=None)


def message(name=bridge.ROUTE, path="/api/chat", method="POST", **args):
    """A message as HAProxy sends it: every argument is there, and None where its sample found nothing."""
    names = bridge.INSPECT_ARGS if name == bridge.INSPECT else bridge.ROUTE_ARGS
    assert args.keys() <= names.keys()
    return Message(name, {**dict.fromkeys(names), "id": "r1", "method": method, "path": path, **args})


@pytest.mark.parametrize(
    ("said", "tried"),
    [(None, ()), ("/gpu1/", ("gpu1",)), ("/gpu1//gpu-2.b/", ("gpu1", "gpu-2.b")), ("/-//gpu1/", ("", "gpu1"))],
)
def test_whom_earlier_passes_named(said, tried):
    assert bridge.facts(message(model="llama3", tried=said), Policy()).tried == tried


def inspect(body, content_type="application/json", encoding=None, **args):
    sizes = {"seen": len(body), "size": len(body)}
    return message(bridge.INSPECT, body=body, type=content_type, encoding=encoding, **{**sizes, **args})


FORM = b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nllama3\r\n--B--\r\n'
SHOWS = {
    # message -> kind, model's key, problem, what the caller is told
    "HAProxy saw the model": (message(model="llama3", seen=50, size=50), Kind.INFERENCE, LLAMA3, None, ""),
    "the body goes on behind it": (message(model="llama3", seen=1000, size=9999), Kind.INFERENCE, LLAMA3, None, ""),
    "it saw the model as bytes": (message(model=b"llama3"), Kind.INFERENCE, LLAMA3, None, ""),
    "the body goes on, by Content-Length": (message(seen=900, size=9999), Kind.INFERENCE, None, TOO_LARGE, ""),
    "the body goes on, chunked": (message(seen=1000, size=1000), Kind.INFERENCE, None, TOO_LARGE, ""),
    "no body": (message(seen=0, size=0), Kind.INFERENCE, None, UNREADABLE, "missing request body"),
    "no sizes": (message(), Kind.INFERENCE, None, UNREADABLE, "missing request body"),
    "a bad name": (message(model="a b"), Kind.INFERENCE, None, BAD_NAME, "invalid model name"),
    "a name with broken UTF-8": (message(model="ll\udcffama"), Kind.INFERENCE, None, BAD_NAME, "invalid model name"),
    "an empty name": (inspect(b'{"model":""}'), Kind.INFERENCE, None, BAD_NAME, "model is required"),
    "a number": (message(model=7), Kind.INFERENCE, canonical("7"), None, ""),
    "cloud": (message(model="gpt-oss:20b-cloud"), Kind.INFERENCE, canonical("gpt-oss:20b:cloud"), None, ""),
    "inspect JSON": (inspect(b'{"\\u006dodel":"llama3"}'), Kind.INFERENCE, LLAMA3, None, ""),
    "inspect a body as text": (inspect('{"Model":"llama3"}'), Kind.INFERENCE, LLAMA3, None, ""),
    "inspect a form": (
        inspect(FORM, "multipart/form-data; boundary=B", path="/v1/audio/transcriptions"),
        Kind.INFERENCE,
        LLAMA3,
        None,
        "",
    ),
    "inspect, no JSON": (inspect(b"hello"), Kind.INFERENCE, None, UNREADABLE, "invalid JSON"),
    "inspect, no model": (inspect(b"{}"), Kind.INFERENCE, None, BAD_NAME, "model is required"),
    "inspect, bad zstd": (
        inspect(b"{}", encoding="zstd", path="/v1/messages"),
        Kind.INFERENCE,
        None,
        UNREADABLE,
        "invalid zstd body",
    ),
    "inspect, a bad name": (inspect(b'{"model":"a b"}'), Kind.INFERENCE, None, BAD_NAME, "invalid model name"),
    "inspect, an empty body": (inspect(b""), Kind.INFERENCE, None, UNREADABLE, "missing request body"),
    "show": (message(path="/api/show", model="llama3"), Kind.DESCRIBE, LLAMA3, None, ""),
    "show by name": (inspect(b'{"name":"llama3"}', path="/api/show"), Kind.DESCRIBE, LLAMA3, None, ""),
    "a model of a namespace in the path": (message(path="/v1/models/ns/m:8b", method="GET"), Kind.LIST, None, None, ""),
    "bad model in the path": (
        message(path="/v1/models/a b", method="GET"),
        Kind.DESCRIBE,
        None,
        BAD_NAME,
        "invalid model name",
    ),
    "model in the path, read": (message(path="/v1/models/llama3", method="GET"), Kind.DESCRIBE, LLAMA3, None, ""),
    "a list": (message(path="/api/tags", method="GET"), Kind.LIST, None, None, ""),
    "a method that Ollama refuses": (message(method="GET"), Kind.LIST, None, None, ""),
    "no method": (message(method=None, model="llama3"), Kind.LIST, None, None, ""),
    "a list, whatever its body": (message(path="/api/tags", model="a b", seen=9, size=99), Kind.LIST, None, None, ""),
    "a pull": (message(path="/api/pull"), Kind.MANAGE, None, None, ""),
    "a blob of gigabytes": (message(path="/api/blobs/sha256:0", size=10**12, seen=0), Kind.MANAGE, None, None, ""),
    "no path": (message(path=None), Kind.LIST, None, None, ""),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "kind", "model", "problem", "detail"), SHOWS.values(), ids=SHOWS)
def test_what_a_message_shows(sent, kind, model, problem, detail):
    facts = bridge.facts(sent, POLICY)
    assert (facts.request_id, facts.kind, facts.model, facts.problem) == ("r1", kind, model, problem)
    assert facts.detail.startswith(detail)
    assert bool(facts.detail) is bool(detail)


UNASKED = {
    "a whole body": message(seen=50, size=50),
    "of a description": message(path="/api/show", seen=50, size=50),
    "one byte below what is inspected": message(
        seen=POLICY.max_inspected_bytes - 1, size=POLICY.max_inspected_bytes - 1
    ),
}


@pytest.mark.parametrize("sent", UNASKED.values(), ids=UNASKED)
def test_a_body_that_was_inspected_in_vain_is_not_judged_without_it(sent):
    """The answer to `inspect` came too late, so HAProxy sends `route`; there is no telling what the body named."""
    with pytest.raises(bridge.Unasked, match="too late"):
        bridge.facts(sent, POLICY)


@pytest.mark.parametrize("sent", [case[0] for case in SHOWS.values()], ids=SHOWS)
def test_arguments_are_found_by_name_and_the_absent_are_none(sent):
    known = {key: value for key, value in sent.args.items() if value is not None}
    turned = {"some other": "x", **dict(reversed(known.items())), "": 7}
    assert bridge.facts(Message(sent.name, turned), POLICY) == bridge.facts(sent, POLICY)


@pytest.mark.parametrize(
    ("path", "dialect"),
    [("/api/chat", Dialect.OLLAMA), ("/v1/completions", Dialect.OPENAI), ("/v1/messages", Dialect.ANTHROPIC)],
)
def test_the_callers_dialect(path, dialect):
    assert bridge.facts(message(path=path, model="a"), POLICY).dialect is dialect


def test_counts_come_along():
    facts = bridge.facts(message(model="a", load="g0:3:1:1 g1:0:0:0"), POLICY)
    assert facts.loads == {"g0": InstanceLoad(3, 1, True), "g1": InstanceLoad(0, 0, False)}


ALONG = [
    # argument, value -> what it says, of which fact
    ("size", 4711, "body_bytes", 4711),
    ("size", None, "body_bytes", 0),
    ("num_ctx", 8192, "num_ctx", 8192),
    ("num_ctx", 0, "num_ctx", None),
    ("num_ctx", None, "num_ctx", None),
    ("num_ctx", "many", "num_ctx", None),
    ("prefix", "123/456", "prefix", "123/456"),
    ("prefix", None, "prefix", ""),
    ("caller", "10.0.0.5", "caller", "10.0.0.5"),
    ("caller", b"10.0.0.5", "caller", "10.0.0.5"),
    ("caller", ip_address("10.0.0.5"), "caller", "10.0.0.5"),
    ("caller", ip_address("fe80::1"), "caller", "fe80::1"),
    ("caller", 7_234_567, "caller", "7234567"),
    ("caller", None, "caller", ""),
]


@pytest.mark.parametrize(("name", "value", "fact", "expected"), ALONG)
def test_what_else_comes_along(name, value, fact, expected):
    facts = bridge.facts(message(model="a", **{name: value}), POLICY)
    assert getattr(facts, fact) == expected
    in_body = bridge.facts(inspect(b'{"model":"a"}', **{name: value}), POLICY)
    assert getattr(in_body, fact) == expected or name == "size"


@pytest.mark.parametrize(
    ("sent", "expected"), [({"id": "r7"}, "r7"), ({"id": b"r7"}, "r7"), ({}, ""), ({"id": None}, "")]
)
def test_whose_turn_is_asked_for(sent, expected):
    assert bridge.request_id(Message(bridge.HOLD, sent)) == expected


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


values = st.none() | st.booleans() | st.integers() | st.text() | st.binary(max_size=50)
args = st.dictionaries(st.sampled_from([*bridge.INSPECT_ARGS, ""]), values)
methods = st.sampled_from(["POST", "GET", "DELETE"])
paths = st.sampled_from(["/api/chat", "/api/show", "/v1/models/x", "/api/tags", "/api/pull", "/v1/messages"])


@untimed
@given(args, methods, paths, st.sampled_from(sorted(bridge.MESSAGES)))
def test_any_arguments_are_decided_and_answered(args, method, path, name):
    try:
        facts = bridge.facts(Message(name, {**args, "method": method, "path": path}), POLICY)
    except bridge.Unasked:
        assert name == bridge.ROUTE
        assert args.get("model") is None
        assert args["seen"]
        return
    needs_model = facts.kind in (Kind.INFERENCE, Kind.DESCRIBE)
    assert needs_model is ((facts.model is None) is (facts.problem is not None))
    choice = choose(facts, FleetSpec((InstanceSpec("g0", 4),)), Snapshot(0.0))
    assert {action.name for action in bridge.actions(choice, facts)} <= set(bridge.VARIABLES)


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
    choice = Choice(Action.ROUTE, "loaded", "g0")
    assert variables(choice, asked(dialect)) == {"action": "route", "reason": "loaded", "server": "g0"}


def test_variables_of_a_held_request():
    """No server: HAProxy asks again, and gets it with the next answer."""
    choice = Choice(Action.HOLD, "loaded", "g0")
    assert variables(choice, asked()) == {"action": "hold", "reason": "loaded"}


REJECTED = [
    (Dialect.OLLAMA, 404, ""),
    (Dialect.OPENAI, 404, "not_found_error"),
    (Dialect.ANTHROPIC, 404, "not_found_error"),
    (Dialect.OPENAI, 503, "api_error"),
    (Dialect.ANTHROPIC, 503, "overloaded_error"),
]


@pytest.mark.parametrize(("dialect", "status", "error_type"), REJECTED)
def test_variables_of_a_rejection(dialect, status, error_type):
    choice = Choice(Action.REJECT, "why", status=status, message="what to do")
    expected = {
        "action": "reject",
        "reason": "why",
        "status": status,
        "message": "what to do",
        "error_type": error_type,
    }
    assert variables(choice, asked(dialect)) == expected


def test_when_to_try_again():
    choice = Choice(Action.REJECT, "no instance up", status=503, message="m", retry_after_s=5)
    assert variables(choice, asked())["retry_after"] == 5


FLEET = fleet_of('instances: [{name: gpu0, url: "http://h:1"}, {name: gpu1, url: "http://h:2"}]')


@pytest.fixture(scope="module")
def files():
    return haproxy_files(FLEET)


def settings_of(config, section):
    """The lines of one section of an HAProxy file, by their first word."""
    body = re.search(rf"^{section}\n((?:[ \t]+.*\n|\n)*)", config, re.M)
    assert body, section
    return dict(line.split(None, 1) for line in body[1].splitlines() if len(line.split(None, 1)) == 2)


SENT = [
    (bridge.ROUTE, bridge.ROUTE_ARGS, "pointsman"),
    (bridge.INSPECT, bridge.INSPECT_ARGS, "pointsman"),
    (bridge.HOLD, bridge.HOLD_ARGS, "pointsman-hold"),
]


@pytest.mark.parametrize(("name", "args", "engine_name"), SENT)
def test_messages_and_arguments_are_those_of_haproxys_file(files, name, args, engine_name):
    engine = files["spoe-pointsman.conf"]
    sent = settings_of(engine, f"spoe-message {name}")["args"].split()
    assert dict(one.split("=", 1) for one in sent) == dict(args)
    assert settings_of(engine, f"spoe-group {name}")["messages"].split() == [name]
    assert f"send-spoe-group {engine_name} {name} " in files["haproxy.cfg"]
    assert name in settings_of(engine, f"spoe-agent {engine_name}-agent")["groups"].split()
    assert f"filter spoe engine {engine_name} config" in files["haproxy.cfg"]


def test_no_other_message_is_sent(files):
    sent = re.findall(r"^spoe-message (\S+)", files["spoe-pointsman.conf"], re.M)
    assert set(sent) == bridge.MESSAGES


def test_variables_are_those_of_haproxys_files(files):
    engine = settings_of(files["spoe-pointsman.conf"], "spoe-agent pointsman-agent")
    assert set(engine["register-var-names"].split()) == {*bridge.VARIABLES, "error"}
    hold = settings_of(files["spoe-pointsman.conf"], "spoe-agent pointsman-hold-agent")
    assert set(hold["register-var-names"].split()) == {*bridge.VARIABLES, "error", "hold_error"}
    assert hold["option"] and hold["use-backend"] == engine["use-backend"]
    read = set(re.findall(r"txn\.pm\.(\w+)", "".join(files.values())))
    assert read == {*bridge.VARIABLES, "error", "hold_ms"}
    assert "option set-process-time hold_ms\n" in files["spoe-pointsman.conf"]


def test_what_haproxy_sends_is_set_before(files):
    """Each `var(txn.pm_...)` in an argument is set in haproxy.cfg before the groups are sent."""
    before, _, _ = files["haproxy.cfg"].rpartition("send-spoe-group pointsman inspect")
    for sample in bridge.INSPECT_ARGS.values():
        for name in re.findall(r"var\((txn\.\w+)\)", sample):
            assert re.search(rf"set-var(-fmt)?\({re.escape(name)}\)", before), name


def test_every_status_of_a_rejection_has_its_answer(files):
    returned = {int(status) for status in re.findall(r"return status (\d+) .* if rejected \{", files["haproxy.cfg"])}
    assert returned == set(REJECTIONS)


def test_the_agent_is_given_longer_than_it_takes_to_turn_a_held_request_away():
    files = haproxy_files(
        fleet_of('instances: [{name: g, url: "http://h:1"}]\npolicies: {hold_timeout: 90s, retry_after: 1s}')
    )
    waits = settings_of(files["spoe-pointsman.conf"], "spoe-agent pointsman-hold-agent")["timeout"]
    assert re.fullmatch(r"processing (\d+)s", waits)
    assert int(waits.split()[1][:-1]) > 90


def test_where_nothing_is_held_nobody_asks():
    files = haproxy_files(fleet_of('instances: [{name: g, url: "http://h:1"}]\npolicies: {hold_timeout: 0s}'))
    assert "pointsman-hold" not in files["haproxy.cfg"]
    assert re.findall(r"^spoe-message (\S+)", files["spoe-pointsman.conf"], re.M) == [bridge.ROUTE, bridge.INSPECT]


def test_counts_are_sent_in_the_form_that_is_read(files):
    form = re.search(r'set-var-fmt\(txn\.pm_load\) "(.*)"', files["haproxy.cfg"])[1]
    text = re.sub(r"%\[srv_conn\([^)]*\)\]", "3", form)
    text = re.sub(r"%\[srv_queue\([^)]*\)\]", "2", text)
    text = re.sub(r"%\[srv_is_up\([^)]*\)\]", "1", text)
    told = {instance.name: InstanceLoad(3, 2, True, instance.tag) for instance in FLEET.instances}
    assert bridge.loads(text) == told
