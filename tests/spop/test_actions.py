import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.spop import LocalProtocolError, RemoteProtocolError, Scope, SetVar, Status, UnsetVar, read_actions
from spoe_agent.spop.actions import FULL_NAME_LIMIT_BYTES, PREFIX_ROOM_BYTES, encode_actions
from tests.spop.wire import actions

ACTIONS = [
    (SetVar(Scope.PROC, "a", None), "01 03 00 01 61 00"),
    (SetVar(Scope.SESS, "a", True), "01 03 01 01 61 11"),
    (SetVar(Scope.TXN, "server", "gpu0"), "01 03 02 06 736572766572 08 04 67707530"),
    (SetVar(Scope.REQ, "prio", -1), "01 03 03 04 7072696f 04 fff0fefefefefefefe0e"),
    (SetVar(Scope.RES, "a.b", b"\x00"), "01 03 04 03 612e62 09 01 00"),
    (UnsetVar(Scope.TXN, "a"), "02 02 02 01 61"),
]


@pytest.mark.parametrize(("action", "wire"), ACTIONS)
def test_action_both_ways(action, wire):
    assert encode_actions([action]) == bytes.fromhex(wire)
    assert read_actions(bytes.fromhex(wire), 0) == (action,)


@given(st.lists(actions, max_size=8), st.binary(max_size=8))
def test_round_trip_anywhere(items, before):
    assert read_actions(before + encode_actions(items), len(before)) == tuple(items)


@pytest.mark.parametrize("scope", Scope)
def test_a_name_leaves_room_for_the_prefix(scope):
    """HAProxy cuts "scope.prefix.name" at 63 bytes: the longest name allowed here fits with the longest prefix."""
    longest = "n" * (FULL_NAME_LIMIT_BYTES - PREFIX_ROOM_BYTES - len(f"{scope.name}.."))
    assert len(f"{scope.name}.{'p' * PREFIX_ROOM_BYTES}.{longest}") == 63
    assert read_actions(encode_actions([UnsetVar(scope, longest)]), 0) == (UnsetVar(scope, longest),)
    for action in (UnsetVar(scope, longest + "n"), SetVar(scope, longest + "n", 1)):
        with pytest.raises(LocalProtocolError, match="63: shorten it"):
            encode_actions([action])


@pytest.mark.parametrize("name", ["", "a-b", "a b", "ä", "a\n", "٣"])
def test_a_name_that_haproxy_would_refuse(name):
    with pytest.raises(LocalProtocolError, match="letters, digits"):
        encode_actions([SetVar(Scope.TXN, name, 1)])


MALFORMED = [
    ("one byte", "01"),
    ("no scope", "01 03"),
    ("no name", "01 03 02"),
    ("no value", "01 03 02 01 61"),
    ("unknown scope", "01 03 05 01 61 00"),
    ("unknown action", "03 03 02 01 61 00"),
    ("set-var with two arguments", "01 02 02 01 61 00"),
    ("unset-var with three arguments", "02 03 02 01 61"),
]


@pytest.mark.parametrize("wire", [case[1] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_malformed_actions(wire):
    with pytest.raises(RemoteProtocolError) as caught:
        read_actions(bytes.fromhex(wire), 0)
    assert caught.value.status is Status.INVALID_FRAME
