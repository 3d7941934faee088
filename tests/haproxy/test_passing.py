"""Connections that go from one agent to another while questions are under way: two servers in one process."""

import pytest

from spoe_agent.haproxy.contract import Question
from spoe_agent.haproxy.passing import abandon, freeze, hand, thaw
from spoe_agent.spop import Message, encode_notify
from tests.peer import Peer
from tests.serving import ROUTED_A, Rig

BODY = b'{"x":"' + b"x" * 20_000 + b'","model":"a","y":"' + b"y" * 20_000 + b'"}'
INSPECT = encode_notify(
    7,
    8,
    [Message(Question.INSPECT, {"id": "r7", "method": "POST", "path": "/api/chat", "size": len(BODY), "body": BODY})],
)


@pytest.fixture
async def frozen(address):
    """A server that was frozen when a body had come and was not read yet, and HAProxy's end."""
    async with Rig().listening(address) as rig, Peer(address) as peer:
        await peer.opened()
        peer.send(INSPECT)
        assert await freeze(rig.server, 10)
        yield rig, peer


async def test_a_body_is_read_by_whoever_has_its_connection_next(frozen):
    old, peer = frozen
    [(sock, passed)] = hand(old.server)
    assert passed.buffered == INSPECT
    new = Rig()
    await new.server.adopt(sock, passed)
    abandon(old.server)
    assert await peer.answer() == (7, 8, ROUTED_A)
    assert (old.board.grants, new.board.grants) == (0, 1)
    await new.server.drain(0)


async def test_when_nobody_takes_it_it_is_read_all_the_same(frozen):
    old, peer = frozen
    thaw(old.server)
    assert await peer.answer() == (7, 8, ROUTED_A)
    peer.send(INSPECT)
    assert await peer.answer() == (7, 8, ROUTED_A)
