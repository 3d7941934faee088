import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.spop import LocalProtocolError, Message, RemoteProtocolError, Status
from spoe_agent.spop.messages import MAX_MESSAGES, encode_messages, read_messages
from spoe_agent.spop.values import string, value
from tests.spop.wire import messages

WIRE = bytes.fromhex("05 726f757465 02  05 6d6f64656c 08 04 6c6c6d61  04 73697a65 04 2a") + bytes.fromhex("01 62 00")
MESSAGES = (Message("route", {"model": "llma", "size": 42}), Message("b", {}))


def test_messages_both_ways():
    assert read_messages(WIRE, 0) == MESSAGES
    assert encode_messages(MESSAGES) == WIRE


def test_no_message_at_all():
    assert read_messages(b"", 0) == ()
    assert encode_messages(()) == b""


@given(st.lists(messages, max_size=4), st.binary(max_size=8))
def test_round_trip_anywhere(items, before):
    assert read_messages(before + encode_messages(items), len(before)) == tuple(items)


@given(st.lists(messages, min_size=1, max_size=2), st.data())
def test_a_cut_payload_is_never_read_as_something_else(items, data):
    wire = encode_messages(items)
    end = data.draw(st.integers(0, len(wire) - 1))
    try:
        cut = read_messages(wire[:end], 0)
    except RemoteProtocolError as error:
        assert error.status is Status.INVALID_FRAME
    else:
        assert cut == tuple(items[: len(cut)]) and len(cut) < len(items)


def test_arguments_without_a_name_share_one_key():
    payload = string("m") + b"\x02" + (string("") + value(1)) + (string("") + value(2))
    assert read_messages(payload, 0) == (Message("m", {"": 2}),)


def test_255_arguments_fit_and_256_do_not():
    args = {f"arg{n}": n for n in range(255)}
    assert read_messages(encode_messages([Message("m", args)]), 0) == (Message("m", args),)
    with pytest.raises(LocalProtocolError, match="256 arguments"):
        encode_messages([Message("m", args | {"one more": 1})])


@pytest.mark.parametrize("wire", ["01", "01 62", "01 62 01", "01 62 01 00", "01 62 02 0000", "01 62 ff 0000"])
def test_counts_and_lengths_beyond_the_payload_are_malformed(wire):
    with pytest.raises(RemoteProtocolError) as caught:
        read_messages(bytes.fromhex(wire), 0)
    assert caught.value.status is Status.INVALID_FRAME


def test_a_flood_of_empty_messages_is_refused():
    assert len(read_messages(b"\x00\x00" * MAX_MESSAGES, 0)) == MAX_MESSAGES
    with pytest.raises(RemoteProtocolError, match="more than 1024 messages"):
        read_messages(b"\x00\x00" * (MAX_MESSAGES + 1), 0)
