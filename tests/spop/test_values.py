from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.spop import LocalProtocolError, RemoteProtocolError, Status
from spoe_agent.spop.values import (
    kv_list,
    read_bytes,
    read_kv_list,
    read_string,
    read_value,
    read_varint,
    string,
    uint32,
    value,
    varint,
)
from tests.spop.wire import texts, values

# The first and last number of each length in SPOE.txt 3.1, and what its encoding looks like.
VARINTS = [
    (0, "00"),
    (239, "ef"),
    (240, "f0 00"),
    (2287, "ff 7f"),
    (2288, "f0 80 00"),
    (16380, "fc f0 06"),
    (264431, "ff ff 7f"),
    (264432, "f0 80 80 00"),
    (33818863, "ff ff ff 7f"),
    (33818864, "f0 80 80 80 00"),
    (4328786159, "ff ff ff ff 7f"),
    (4328786160, "f0 80 80 80 80 00"),
    (2**64 - 1, "ff f0 fe fe fe fe fe fe fe 0e"),
]


@pytest.mark.parametrize(("number", "encoded"), VARINTS)
def test_varint_both_ways(number, encoded):
    assert varint(number) == bytes.fromhex(encoded)
    assert read_varint(bytes.fromhex(encoded), 0) == (number, len(bytes.fromhex(encoded)))


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3), st.binary(max_size=3))
def test_varint_round_trip_anywhere(number, before, after):
    encoded = varint(number)
    assert read_varint(before + encoded + after, len(before)) == (number, len(before + encoded))


@pytest.mark.parametrize("number", [-1, 2**64])
def test_varint_refuses_what_has_no_64_bit_form(number):
    with pytest.raises(LocalProtocolError, match="unsigned 64-bit"):
        varint(number)


@pytest.mark.parametrize("number", [-1, 2**32])
def test_uint32_refuses_what_has_no_32_bit_form(number):
    with pytest.raises(LocalProtocolError, match="unsigned 32-bit"):
        uint32(number)


VALUES = [
    (None, "00"),
    (False, "01"),
    (True, "11"),
    (0, "04 00"),
    (239, "04 ef"),
    (16380, "04 fcf006"),
    (-1, "04 fff0fefefefefefefe0e"),
    (2**63 - 1, "04 fff0fefefefefefefe06"),
    (-(2**63), "04 f0f1fefefefefefefe06"),
    (IPv4Address("10.0.0.1"), "06 0a000001"),
    (IPv6Address("::1"), "07 00000000000000000000000000000001"),
    ("", "08 00"),
    ("grün", "08 05 6772c3bc6e"),
    ("x" * 240, "08 f000" + "78" * 240),
    (b"", "09 00"),
    (b"\x00\xff", "09 02 00ff"),
]


@pytest.mark.parametrize(("item", "encoded"), VALUES)
def test_value_both_ways(item, encoded):
    wire = bytes.fromhex(encoded)
    assert value(item) == wire
    assert read_value(wire, 0) == (item, len(wire))
    assert type(read_value(wire, 0)[0]) is type(item)


READ_ONLY = [
    ("INT32", "02 07", 7),
    ("INT32, largest", "02 fff0fefe3e", 2**31 - 1),
    ("INT32, smallest", "02 f0f1fefebefefefefe0e", -(2**31)),
    ("INT32, -1 widened to 64 bits", "02 fff0fefefefefefefe0e", -1),
    ("UINT32", "03 fcf006", 16380),
    ("UINT32, largest", "03 fff0fefe7e", 2**32 - 1),
    ("UINT64, largest", "05 fff0fefefefefefefe0e", 2**64 - 1),
    ("string that is not UTF-8", "08 02 61ff", "a\udcff"),
    ("NULL with flags", "f0", None),
    ("BOOL with other flags", "e1", False),
    ("string with flags", "18 01 61", "a"),
]


@pytest.mark.parametrize(("wire", "item"), [case[1:] for case in READ_ONLY], ids=[c[0] for c in READ_ONLY])
def test_value_that_haproxy_may_send(wire, item):
    assert read_value(bytes.fromhex(wire), 0) == (item, len(bytes.fromhex(wire)))


@given(values, st.binary(max_size=3))
def test_value_round_trip(item, after):
    wire = value(item)
    assert read_value(wire + after, 0) == (item, len(wire))


@given(st.binary(max_size=300))
def test_text_keeps_bytes_that_are_not_utf8(raw):
    text, _ = read_value(b"\x08" + varint(len(raw)) + raw, 0)
    assert value(text) == b"\x08" + varint(len(raw)) + raw


@given(texts)
def test_string_round_trip(text):
    assert read_string(string(text), 0) == (text, len(string(text)))


@pytest.mark.parametrize("item", [2**63, -(2**63) - 1, "\ud800", 1.5, [], bytearray(b"x")])
def test_value_refuses_what_spop_cannot_express(item):
    with pytest.raises(LocalProtocolError):
        value(item)


MALFORMED = [
    ("value missing", read_value, ""),
    ("reserved type 10", read_value, "0a 00"),
    ("reserved type 15", read_value, "0f"),
    *((f"reserved type {kind} with data", read_value, f"{kind:02x}" + "00" * 20) for kind in range(10, 16)),
    ("integer missing", read_value, "04"),
    ("INT32 too big", read_value, "02 f0f1fefe3e"),
    ("INT32 too small", read_value, "02 fff0fefebefefefefe0e"),
    ("UINT32 too big", read_value, "03 f0f1fefe7e"),
    ("IPv4 cut", read_value, "06 0a0000"),
    ("IPv6 cut", read_value, "07 00000000"),
    ("string cut", read_value, "08 02 61"),
    ("string of 2^64-1 bytes", read_value, "08 fff0fefefefefefefe0e 61"),
    ("string without length", read_string, ""),
    ("binary with half a length", read_bytes, "f0"),
    ("varint missing", read_varint, ""),
    ("varint cut", read_varint, "f0 80"),
    ("varint of 2^64", read_varint, "f0 f1 fe fe fe fe fe fe fe 0e"),
    ("varint without end", read_varint, "ff" * 64),
    ("key without value", read_kv_list, "01 61"),
]


@pytest.mark.parametrize(("read", "wire"), [c[1:] for c in MALFORMED], ids=[c[0] for c in MALFORMED])
def test_malformed_is_an_invalid_frame(read, wire):
    with pytest.raises(RemoteProtocolError) as caught:
        read(bytes.fromhex(wire), 0)
    assert caught.value.status is Status.INVALID_FRAME


@given(values)
def test_value_cut_anywhere_is_malformed(item):
    wire = value(item)
    for end in range(len(wire)):
        with pytest.raises(RemoteProtocolError):
            read_value(wire[:end], 0)


@given(st.dictionaries(texts, values, max_size=8))
def test_kv_list_round_trip(pairs):
    assert read_kv_list(kv_list({key: value(item) for key, item in pairs.items()}), 0) == pairs


def test_of_equal_keys_the_last_one_counts():
    assert read_kv_list(string("a") + value(1) + string("a") + value(2), 0) == {"a": 2}
