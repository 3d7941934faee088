from ipaddress import IPv4Address

import pytest

from spoe_agent.spop import (
    AgentHello,
    Connection,
    Disconnected,
    FrameType,
    Hello,
    LocalProtocolError,
    Message,
    Notify,
    PeerFault,
    Scope,
    SetVar,
    State,
    Status,
    encode_ack,
    encode_disconnect,
    encode_haproxy_hello,
    encode_notify,
)
from spoe_agent.spop.handshake import encode_agent_hello
from tests.spop.wire import (
    CAPTURED_HELLO,
    CAPTURED_NOTIFY,
    FEEDS,
    HAPROXY_DISCONNECT,
    HEALTH_CHECK,
    HELLO,
    NOTIFY,
    opened,
    raw_frame,
    raw_hello,
)

ROUTE = Message("route", {"model": "qwen3:8b", "size": 42})
CAPTURED_MESSAGE = Message(
    "route",
    {
        "id": "af2af504-d2ab-445d-b52a-1feacb42d2bb",
        "path": "/api/chat",
        "model": "qwen3:8b",
        "size": 20,
        "ip": IPv4Address("127.0.0.1"),
        "neg": -7,
        "missing": None,
        "body": b'{"model":"qwen3:8b"}',
        "flag": True,
    },
)
NORMAL_BYE = encode_disconnect(FrameType.AGENT_DISCONNECT, 0, "normal (no error occurred)")
SET = SetVar(Scope.TXN, "action", "route")

# (what, start, bytes received, events, frames owed, state after)
CASES = [
    (
        "hello",
        Connection,
        HELLO,
        [Hello(16380, ("pipelining", "async"), "engine")],
        [encode_agent_hello(AgentHello(16380))],
        State.OPEN,
    ),
    (
        "hello with larger frames than ours",
        lambda: Connection(1024),
        HELLO,
        [Hello(16380, ("pipelining", "async"), "engine")],
        [encode_agent_hello(AgentHello(1024))],
        State.OPEN,
    ),
    (
        "hello without capabilities",
        Connection,
        raw_hello(),
        [Hello(16380)],
        [encode_agent_hello(AgentHello(16380))],
        State.OPEN,
    ),
    (
        "health check",
        Connection,
        HEALTH_CHECK,
        [Hello(16380, healthcheck=True)],
        [encode_agent_hello(AgentHello(16380))],
        State.CLOSED,
    ),
    (
        "hello captured from haproxy",
        Connection,
        CAPTURED_HELLO,
        [Hello(16380, ("pipelining",), "b727416e-65f8-4f9a-a167-f59a86f09052")],
        [encode_agent_hello(AgentHello(16380))],
        State.OPEN,
    ),
    (
        "notify captured from haproxy",
        opened,
        CAPTURED_NOTIFY,
        [Notify(1, 1, (CAPTURED_MESSAGE,))],
        [],
        State.OPEN,
    ),
    ("notify", opened, NOTIFY, [Notify(1, 1, (ROUTE,))], [], State.OPEN),
    ("stream-id 0", opened, encode_notify(0, 1, [ROUTE]), [Notify(0, 1, (ROUTE,))], [], State.OPEN),
    (
        "the largest ids",
        opened,
        encode_notify(2**64 - 1, 2**64 - 1, []),
        [Notify(2**64 - 1, 2**64 - 1, ())],
        [],
        State.OPEN,
    ),
    (
        "several messages",
        opened,
        encode_notify(3, 1, [ROUTE, Message("b", {})]),
        [Notify(3, 1, (ROUTE, Message("b", {})))],
        [],
        State.OPEN,
    ),
    (
        "two frames at once",
        opened,
        NOTIFY + encode_notify(3, 1, []),
        [Notify(1, 1, (ROUTE,)), Notify(3, 1, ())],
        [],
        State.OPEN,
    ),
    ("aborted but unfragmented", opened, raw_frame(flags=3, stream_id=5), [Notify(5, 0, ())], [], State.OPEN),
    ("unknown frame type", opened, raw_frame(77, payload=b"\xff"), [], [], State.OPEN),
    ("unknown frame type in fragments", opened, raw_frame(255, flags=0), [], [], State.OPEN),
    ("haproxy leaves", opened, HAPROXY_DISCONNECT, [Disconnected(1, "I/O error")], [NORMAL_BYE], State.CLOSED),
    (
        "haproxy leaves before hello",
        Connection,
        HAPROXY_DISCONNECT,
        [Disconnected(1, "I/O error")],
        [NORMAL_BYE],
        State.CLOSED,
    ),
    (
        "haproxy leaves with a code of its own",
        opened,
        encode_disconnect(FrameType.HAPROXY_DISCONNECT, 4000, "reload"),
        [Disconnected(4000, "reload")],
        [NORMAL_BYE],
        State.CLOSED,
    ),
    (
        "notify behind disconnect",
        opened,
        HAPROXY_DISCONNECT + NOTIFY,
        [Disconnected(1, "I/O error")],
        [NORMAL_BYE],
        State.CLOSED,
    ),
]


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize(
    ("start", "wire", "events", "owed", "state"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_exchange(start, wire, events, owed, state, feed):
    connection = start()
    assert feed(connection, wire) == events
    assert connection.data_to_send() == owed
    assert connection.data_to_send() == []
    assert connection.state is state
    assert connection.buffered == b""


def test_what_haproxy_sends_is_what_its_side_of_this_package_writes():
    assert encode_haproxy_hello(Hello(16380, ("pipelining",), "b727416e-65f8-4f9a-a167-f59a86f09052")) == CAPTURED_HELLO
    assert encode_notify(1, 1, [CAPTURED_MESSAGE]) == CAPTURED_NOTIFY


@pytest.mark.parametrize("announced", [256, 4092, 16380, 1048572, 134283260])
def test_haproxys_frame_size_is_echoed(announced):
    """HAProxy fills frames up to its own size whatever the agent answers: a smaller answer costs requests."""
    connection = Connection()
    assert connection.max_frame_size == 256 * 1024 * 1024
    connection.receive_data(encode_haproxy_hello(Hello(announced)))
    assert connection.data_to_send() == [encode_agent_hello(AgentHello(announced))]
    assert connection.max_frame_size == announced


def test_a_notify_of_the_negotiated_size_passes():
    wire = encode_notify(1, 1, [Message("m", {"pad": b"x" * 16362})])
    assert len(wire) - 4 == 16380
    (event,) = opened().receive_data(wire)
    assert isinstance(event, Notify)


def test_health_check_reply_has_what_spop_check_demands():
    """src/tcpcheck.c: flags exactly 1, ids 0, version 2.0, a size up to HAProxy's, and the capabilities key."""
    connection = Connection()
    connection.receive_data(HEALTH_CHECK)
    (reply,) = connection.data_to_send()
    assert reply[4:11] == bytes.fromhex("65 00000001 00 00")
    assert reply[11:] == (b"\x07version\x08\x032.0\x0emax-frame-size\x03\xfc\xf0\x06\x0ccapabilities\x08\x0apipelining")


def test_after_closing_everything_is_dropped():
    connection = opened()
    connection.receive_data(HAPROXY_DISCONNECT)
    connection.data_to_send()
    assert connection.receive_data(NOTIFY * 100) == []
    assert connection.buffered == b""
    assert connection.receive_eof() == []


def test_acks_repeat_the_ids_and_may_come_in_any_order():
    connection = opened()
    connection.receive_data(encode_notify(1, 1, [ROUTE]) + encode_notify(0, 7, [ROUTE]))
    assert connection.ack(0, 7, [SET]) == encode_ack(0, 7, [SET])
    assert connection.ack(1, 1, (SET, SET)) == encode_ack(1, 1, [SET, SET])


def test_ack_needs_an_action():
    with pytest.raises(LocalProtocolError, match="without actions"):
        opened().ack(1, 1, [])


def test_ack_must_fit_the_negotiated_frame():
    connection = opened(max_frame_size=256)
    fits = SetVar(Scope.TXN, "a", "x" * 241)
    assert len(connection.ack(1, 1, [fits])) == 4 + 256
    with pytest.raises(LocalProtocolError, match="256 were negotiated"):
        connection.ack(1, 1, [SetVar(Scope.TXN, "a", "x" * 242)])
    assert connection.state is State.OPEN


@pytest.mark.parametrize("wire", [b"", HEALTH_CHECK, HAPROXY_DISCONNECT])
def test_ack_needs_an_open_connection(wire):
    connection = Connection()
    connection.receive_data(wire)
    with pytest.raises(LocalProtocolError, match="check `closed` first"):
        connection.ack(1, 1, [SET])


@pytest.mark.parametrize("start", [Connection, opened])
def test_the_agent_may_leave(start):
    connection = start()
    expected = encode_disconnect(FrameType.AGENT_DISCONNECT, 2, "shutting down")
    assert connection.disconnect(Status.TIMEOUT, "shutting down") == expected
    assert connection.closed
    assert connection.data_to_send() == []
    assert connection.receive_data(NOTIFY) == []
    with pytest.raises(LocalProtocolError, match="closed already"):
        connection.disconnect(0, "again")


def test_a_farewell_too_long_changes_nothing():
    connection = opened(max_frame_size=256)
    with pytest.raises(LocalProtocolError, match="shorten it"):
        connection.disconnect(0, "x" * 256)
    assert connection.state is State.OPEN


@pytest.mark.parametrize("start", [Connection, opened])
def test_eof_between_frames_is_normal(start):
    connection = start()
    assert connection.receive_eof() == []
    assert connection.closed
    assert connection.data_to_send() == []


@pytest.mark.parametrize("size", [1, 4, len(NOTIFY) - 1])
def test_eof_inside_a_frame_is_a_fault_that_needs_no_answer(size):
    connection = opened()
    connection.receive_data(NOTIFY[:size])
    (event,) = connection.receive_eof()
    assert event == PeerFault(Status.IO_ERROR, "I/O error: connection ended inside a frame")
    assert connection.closed
    assert connection.buffered == b""
    assert connection.data_to_send() == []


@pytest.mark.parametrize("size", [255, 2**32])
def test_our_own_limit_must_be_a_frame_size(size):
    with pytest.raises(LocalProtocolError, match="must be 256 to"):
        Connection(size)


def test_repr_is_a_human_sentence():
    connection = opened()
    connection.receive_data(NOTIFY[:5])
    assert repr(connection) == "<spop.Connection open, 5 bytes buffered>"
