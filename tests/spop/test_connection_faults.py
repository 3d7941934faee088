"""What the peer can do wrong, and the status code that tells it so."""

import pytest

from spoe_agent.spop import (
    AgentHello,
    Connection,
    Disconnected,
    FrameType,
    Hello,
    Notify,
    PeerFault,
    Scope,
    SetVar,
    Status,
    encode_ack,
    encode_disconnect,
    read_disconnect,
    read_header,
)
from spoe_agent.spop.handshake import encode_agent_hello
from spoe_agent.spop.values import kv_list, string, value
from tests.spop.wire import FEEDS, HELLO, NOTIFY, framed, opened, raw_frame, raw_hello

BYE = {"status-code": value(0), "message": value("")}
# (what, start, bytes received, status that the peer must get)
FAULTS = [
    ("an HTTP client", Connection, b"GET / HTTP/1.1\r\n\r\n", 3),
    ("hello larger than any", Connection, (16385).to_bytes(4), 3),
    ("hello larger than our limit", lambda: Connection(256), (257).to_bytes(4), 3),
    ("larger than negotiated", opened, (16381).to_bytes(4), 3),
    ("larger than our limit", lambda: opened(1024), (1025).to_bytes(4), 3),
    ("length of 4 GiB", opened, b"\xff\xff\xff\xff", 3),
    ("length 0", opened, framed(b""), 4),
    ("length 0 first", Connection, framed(b""), 4),
    ("six bytes", opened, framed(b"\x03\x00\x00\x00\x01\x00"), 4),
    ("stream-id beyond 64 bits", opened, framed(b"\x03\x00\x00\x00\x01" + b"\xff" * 11 + b"\x00\x00"), 4),
    ("notify before hello", Connection, NOTIFY, 4),
    ("unknown frame before hello", Connection, raw_frame(77), 4),
    ("second hello", opened, HELLO, 4),
    ("agent's own hello", opened, encode_agent_hello(AgentHello(16380)), 4),
    ("agent's own hello first", Connection, encode_agent_hello(AgentHello(16380)), 4),
    ("agent's own ack", opened, encode_ack(1, 1, [SetVar(Scope.TXN, "action", "route")]), 4),
    ("agent's own disconnect", opened, encode_disconnect(FrameType.AGENT_DISCONNECT, 0, ""), 4),
    ("hello with a stream-id", Connection, HELLO[:9] + b"\x01" + HELLO[10:], 4),
    ("hello with a frame-id", Connection, HELLO[:10] + b"\x01" + HELLO[11:], 4),
    ("disconnect with a stream-id", opened, raw_frame(2, stream_id=1, payload=kv_list(BYE)), 4),
    ("disconnect without keys", opened, raw_frame(2), 4),
    ("notify with a cut message", opened, raw_frame(payload=b"\x05rou"), 4),
    ("notify with a reserved type", opened, raw_frame(payload=string("m") + b"\x01" + string("a") + b"\x0f"), 4),
    ("hello without versions", Connection, raw_hello(supported_versions=b""), 5),
    ("hello without size", Connection, raw_hello(max_frame_size=b""), 6),
    ("hello without capabilities", Connection, raw_hello(capabilities=b""), 7),
    ("hello of another version", Connection, raw_hello(supported_versions=value("1.0")), 8),
    ("hello with a tiny size", Connection, raw_hello(max_frame_size=value(255)), 9),
    ("hello with a huge size", Connection, raw_hello(max_frame_size=value(2**32)), 9),
    ("notify without FIN", opened, raw_frame(flags=0), 10),
    ("notify with ABORT alone", opened, raw_frame(flags=2), 10),
    ("hello without FIN", Connection, raw_frame(1, flags=0), 10),
    ("continued fragment", opened, raw_frame(0, flags=0), 10),
    ("last fragment", opened, raw_frame(0, flags=1), 10),
    ("fragment first", Connection, raw_frame(0, flags=1), 10),
]


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize(("start", "wire", "status"), [c[1:] for c in FAULTS], ids=[c[0] for c in FAULTS])
def test_fault_of_the_peer_is_answered_with_its_status(start, wire, status, feed):
    connection = start()
    (event,) = feed(connection, wire)
    assert isinstance(event, PeerFault)
    assert event.status == status
    assert event.message.startswith(Status(status).text)
    (reply,) = connection.data_to_send()
    frame = reply[4:]
    header = read_header(frame)
    assert header[:4] == (FrameType.AGENT_DISCONNECT, 1, 0, 0)
    assert read_disconnect(frame, header.payload_start) == Disconnected(status, event.message)
    assert len(frame) <= 256, "must fit the smallest frame that a peer may negotiate"
    assert connection.closed
    assert connection.buffered == b""


def test_what_came_before_a_fault_is_still_reported():
    connection = Connection()
    events = connection.receive_data(HELLO + NOTIFY + raw_frame(flags=0) + NOTIFY)
    assert [type(event) for event in events] == [Hello, Notify, PeerFault]
    hello, disconnect = connection.data_to_send()
    assert (hello[4], disconnect[4]) == (FrameType.AGENT_HELLO, FrameType.AGENT_DISCONNECT)
