import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.spop import FrameType, RemoteProtocolError, Status, encode_ack, encode_notify, read_actions, read_header
from spoe_agent.spop.frames import encode_frame
from spoe_agent.spop.messages import read_messages
from tests.spop.wire import EMPTY_ACK, actions, ids, messages, raw_frame


def test_golden_empty_ack_both_ways():
    assert encode_ack(2, 1, []) == EMPTY_ACK
    header = read_header(EMPTY_ACK[4:])
    assert header == (FrameType.ACK, 1, 2, 1, 7) and header.fin
    assert read_actions(EMPTY_ACK[4:], header.payload_start) == ()


def test_frame_types_have_the_numbers_of_the_specification():
    """SPOE.txt 3.2.2"""
    assert {kind.name: int(kind) for kind in FrameType} == {
        "UNSET": 0,
        "HAPROXY_HELLO": 1,
        "HAPROXY_DISCONNECT": 2,
        "NOTIFY": 3,
        "AGENT_HELLO": 101,
        "AGENT_DISCONNECT": 102,
        "ACK": 103,
    }


@given(ids, ids, st.lists(messages, max_size=3))
def test_notify_round_trip(stream_id, frame_id, items):
    wire = encode_notify(stream_id, frame_id, items)
    header = read_header(wire[4:])
    assert int.from_bytes(wire[:4]) == len(wire) - 4
    assert (header.type, header.fin, header.stream_id, header.frame_id) == (3, True, stream_id, frame_id)
    assert read_messages(wire[4:], header.payload_start) == tuple(items)


@given(ids, ids, st.lists(actions, max_size=6))
def test_ack_round_trip(stream_id, frame_id, items):
    wire = encode_ack(stream_id, frame_id, items)
    header = read_header(wire[4:])
    assert int.from_bytes(wire[:4]) == len(wire) - 4
    assert (header.type, header.fin, header.stream_id, header.frame_id) == (103, True, stream_id, frame_id)
    assert read_actions(wire[4:], header.payload_start) == tuple(items)


@given(st.sampled_from(FrameType), ids, ids, st.binary(max_size=300))
def test_frame_round_trip(kind, stream_id, frame_id, payload):
    wire = encode_frame(kind, stream_id, frame_id, payload)
    assert wire == raw_frame(kind, 1, stream_id, frame_id, payload)
    header = read_header(wire[4:])
    assert header[:4] == (kind, 1, stream_id, frame_id)
    assert wire[4:][header.payload_start :] == payload


@pytest.mark.parametrize(("flags", "fin"), [(0, False), (1, True), (2, False), (3, True), (0x80000000, False)])
def test_fin_is_bit_0(flags, fin):
    header = read_header(raw_frame(flags=flags)[4:])
    assert (header.flags, header.fin) == (flags, fin)


@pytest.mark.parametrize("size", range(7))
def test_a_header_takes_seven_bytes(size):
    with pytest.raises(RemoteProtocolError) as caught:
        read_header(EMPTY_ACK[4 : 4 + size])
    assert caught.value.status is Status.INVALID_FRAME
