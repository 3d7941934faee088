"""Bytes that HAProxy sends, strategies that make more of them, and ways to feed them to a connection."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from spoe_agent.spop import (
    Connection,
    Event,
    FrameType,
    Hello,
    Message,
    Scope,
    SetVar,
    UnsetVar,
    encode_haproxy_hello,
    encode_notify,
)
from spoe_agent.spop.values import string, value, varint

# A slow machine is not a wrong codec.

# `option spop-check` of HAProxy 3.1 and later, byte for byte (src/tcpcheck.c).
HEALTH_CHECK = bytes.fromhex(
    "0000004e 01 00000001 00 00"
    "12 737570706f727465642d76657273696f6e73 08 03 322e30"
    "0e 6d61782d6672616d652d73697a65 03 fcf006"
    "0c 6361706162696c6974696573 08 00"
    "0b 6865616c7468636865636b 11"
)
EMPTY_ACK = bytes.fromhex("00000007 67 00000001 02 01")
HAPROXY_DISCONNECT = bytes.fromhex(
    "00000028 02 00000001 00 000b 7374617475732d636f6465 03 0107 6d657373616765 08 09 492f4f206572726f72"
)

# Captured from HAProxy 2.6.12 (3.2.26 differs in the engine-id only).
CAPTURED_HELLO = bytes.fromhex(
    "0000007b 01 00000001 00 00"
    "12 737570706f727465642d76657273696f6e73 08 03 322e30"
    "0e 6d61782d6672616d652d73697a65 03 fcf006"
    "0c 6361706162696c6974696573 08 0a 706970656c696e696e67"
    "09 656e67696e652d6964 08 24"
    "62373237343136652d363566382d346639612d613136372d663539613836663039303532"
)
# Captured from HAProxy 3.2.26: args id=unique-id path=path model=var(txn.model) size=req.body_size ip=src
# neg=int(-7) missing=var(txn.nope) body=req.body flag=bool(true). On 2.6.12 the stream-id is 0.
CAPTURED_NOTIFY = bytes.fromhex(
    "0000009f 03 00000001 01 01 05 726f757465 09"
    "02 6964 08 24 61663261663530342d643261622d343435642d623532612d316665616362343264326262"
    "04 70617468 08 09 2f6170692f63686174"
    "05 6d6f64656c 08 08 7177656e333a3862"
    "04 73697a65 04 14"
    "02 6970 06 7f000001"
    "03 6e6567 04 f9f0fefefefefefefe0e"
    "07 6d697373696e67 00"
    "04 626f6479 09 14 7b226d6f64656c223a227177656e333a3862227d"
    "04 666c6167 11"
)

HELLO = encode_haproxy_hello(Hello(16380, ("pipelining", "async"), "engine"))
NOTIFY = encode_notify(1, 1, [Message("route", {"model": "qwen3:8b", "size": 42})])


def framed(frame: bytes) -> bytes:
    return len(frame).to_bytes(4) + frame


def raw_frame(
    kind: int = FrameType.NOTIFY, flags: int = 1, stream_id: int = 0, frame_id: int = 0, payload: bytes = b""
) -> bytes:
    """A frame with anything in its header, unlike those of `encode_frame`."""
    return framed(bytes((kind,)) + flags.to_bytes(4) + varint(stream_id) + varint(frame_id) + payload)


def raw_hello(**pairs: bytes) -> bytes:
    """A HAPROXY-HELLO of these keys ("_" for "-") on top of the mandatory ones; b"" drops a key."""
    wanted = {
        "supported_versions": value("2.0"),
        "max_frame_size": value(16380),
        "capabilities": value(""),
    } | pairs
    payload = b"".join(string(key.replace("_", "-")) + item for key, item in wanted.items() if item)
    return raw_frame(FrameType.HAPROXY_HELLO, payload=payload)


def opened(max_frame_size: int = 16 * 1024 * 1024) -> Connection:
    """A connection after its handshake, with nothing left to send."""
    connection = Connection(max_frame_size)
    connection.receive_data(HELLO)
    connection.data_to_send()
    return connection


def feed_whole(connection: Connection, data: bytes) -> list[Event]:
    return connection.receive_data(data)


def feed_bytewise(connection: Connection, data: bytes) -> list[Event]:
    return [event for byte in data for event in connection.receive_data(bytes((byte,)))]


def feed_with_trailing(connection: Connection, data: bytes) -> list[Event]:
    """The case and the first half of a NOTIFY in one read. The half must neither disturb nor be lost."""
    events = connection.receive_data(data + NOTIFY[:9])
    if not connection.closed:
        (after,) = connection.receive_data(NOTIFY[9:])
        (alone,) = opened().receive_data(NOTIFY)
        assert after == alone
    return events


FEEDS = (feed_whole, feed_bytewise, feed_with_trailing)

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    texts,
    st.binary(max_size=300),
    st.builds(IPv4Address, st.integers(0, 2**32 - 1)),
    st.builds(IPv6Address, st.integers(0, 2**128 - 1)),
)
messages = st.builds(Message, texts, st.dictionaries(texts, values, max_size=12))
names = st.text("abcXYZ019_.", min_size=1, max_size=30)
actions = st.one_of(
    st.builds(SetVar, st.sampled_from(Scope), names, values),
    st.builds(UnsetVar, st.sampled_from(Scope), names),
)
ids = st.integers(0, 2**64 - 1)
