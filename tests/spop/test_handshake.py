import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.spop import (
    AgentHello,
    Disconnected,
    FrameType,
    Hello,
    RemoteProtocolError,
    Status,
    encode_disconnect,
    encode_haproxy_hello,
    read_agent_hello,
    read_disconnect,
    read_header,
)
from spoe_agent.spop.handshake import encode_agent_hello, read_haproxy_hello
from spoe_agent.spop.values import kv_list, uint32, value
from tests.spop.wire import HAPROXY_DISCONNECT, HEALTH_CHECK, raw_hello, texts

sizes = st.integers(256, 2**32 - 1)
capability_lists = st.lists(st.sampled_from(["pipelining", "async", "fragmentation"]), max_size=3).map(tuple)


def read(reader, wire):
    return reader(wire[4:], read_header(wire[4:]).payload_start)


def test_golden_health_check_both_ways():
    hello = Hello(max_frame_size=16380, healthcheck=True)
    assert read(read_haproxy_hello, HEALTH_CHECK) == hello
    assert encode_haproxy_hello(hello) == HEALTH_CHECK


def test_golden_disconnect_both_ways():
    assert read(read_disconnect, HAPROXY_DISCONNECT) == Disconnected(1, "I/O error")
    assert encode_disconnect(FrameType.HAPROXY_DISCONNECT, 1, "I/O error") == HAPROXY_DISCONNECT


def test_agent_hello_both_ways():
    wire = bytes.fromhex(
        "00000040 65 00000001 00 00"
        "07 76657273696f6e 08 03 322e30"
        "0e 6d61782d6672616d652d73697a65 03 fcf006"
        "0c 6361706162696c6974696573 08 0a 706970656c696e696e67"
    )
    assert encode_agent_hello(AgentHello(16380)) == wire
    assert read(read_agent_hello, wire) == AgentHello(16380, "2.0", ("pipelining",))


@given(st.builds(Hello, sizes, capability_lists, st.none() | texts, st.booleans()))
def test_haproxy_hello_round_trip(hello):
    assert read(read_haproxy_hello, encode_haproxy_hello(hello)) == hello


@given(st.builds(AgentHello, sizes, st.just("2.0"), capability_lists))
def test_agent_hello_round_trip(hello):
    assert read(read_agent_hello, encode_agent_hello(hello)) == hello


@given(st.integers(0, 2**32 - 1), texts)
def test_disconnect_round_trip(status, message):
    wire = encode_disconnect(FrameType.AGENT_DISCONNECT, status, message)
    assert wire[4] == FrameType.AGENT_DISCONNECT
    assert read(read_disconnect, wire) == Disconnected(status, message)


@pytest.mark.parametrize("versions", ["2.0", "1.0, 2.0", "2.5", " 2 . 0 ", ",,2.0,", "3.1,2.0"])
def test_versions_that_include_ours(versions):
    assert read(read_haproxy_hello, raw_hello(supported_versions=value(versions))) == Hello(16380)


@pytest.mark.parametrize("integer", [value(1024), uint32(1024), b"\x02" + uint32(1024)[1:], b"\x05" + uint32(1024)[1:]])
def test_a_size_in_any_integer_type(integer):
    assert read(read_haproxy_hello, raw_hello(max_frame_size=integer)) == Hello(1024)


def test_spaces_in_capabilities_and_unknown_keys_do_not_matter():
    wire = raw_hello(capabilities=value(" pipelining ,new , "), colour=value("blue"), healthcheck=value(False))
    assert read(read_haproxy_hello, wire) == Hello(16380, ("pipelining", "new"))


HELLO_FAULTS = [
    (dict(supported_versions=b""), Status.VERSION_MISSING),
    (dict(supported_versions=value("")), Status.UNSUPPORTED_VERSION),
    (dict(supported_versions=value("1.0,3.0")), Status.UNSUPPORTED_VERSION),
    (dict(supported_versions=value("2")), Status.UNSUPPORTED_VERSION),
    (dict(supported_versions=value("2.x,20.0")), Status.UNSUPPORTED_VERSION),
    (dict(supported_versions=value("2.٣")), Status.UNSUPPORTED_VERSION),
    (dict(supported_versions=value(2)), Status.INVALID_FRAME),
    (dict(max_frame_size=b""), Status.MAX_FRAME_SIZE_MISSING),
    (dict(max_frame_size=value(255)), Status.BAD_MAX_FRAME_SIZE),
    (dict(max_frame_size=value(-1)), Status.BAD_MAX_FRAME_SIZE),
    (dict(max_frame_size=value(2**32)), Status.BAD_MAX_FRAME_SIZE),
    (dict(max_frame_size=value(True)), Status.INVALID_FRAME),
    (dict(max_frame_size=value("16380")), Status.INVALID_FRAME),
    (dict(capabilities=b""), Status.CAPABILITIES_MISSING),
    (dict(capabilities=value(None)), Status.INVALID_FRAME),
    (dict(healthcheck=value(1)), Status.INVALID_FRAME),
    (dict(engine_id=value(b"id")), Status.INVALID_FRAME),
]


@pytest.mark.parametrize(("pairs", "status"), HELLO_FAULTS)
def test_faults_of_haproxy_hello(pairs, status):
    with pytest.raises(RemoteProtocolError) as caught:
        read(read_haproxy_hello, raw_hello(**pairs))
    assert caught.value.status is status


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("version", Status.VERSION_MISSING),
        ("max-frame-size", Status.MAX_FRAME_SIZE_MISSING),
        ("capabilities", Status.CAPABILITIES_MISSING),
    ],
)
def test_all_keys_of_agent_hello_are_mandatory(key, status):
    pairs = {"version": value("2.0"), "max-frame-size": uint32(256), "capabilities": value("")}
    assert read_agent_hello(kv_list(pairs), 0) == AgentHello(256, "2.0", ())
    del pairs[key]
    with pytest.raises(RemoteProtocolError) as caught:
        read_agent_hello(kv_list(pairs), 0)
    assert caught.value.status is status


@pytest.mark.parametrize("pairs", [{"status-code": uint32(0)}, {"message": value("")}, {"status-code": value("0")}])
def test_both_keys_of_disconnect_are_mandatory(pairs):
    with pytest.raises(RemoteProtocolError) as caught:
        read_disconnect(kv_list(pairs), 0)
    assert caught.value.status is Status.INVALID_FRAME
