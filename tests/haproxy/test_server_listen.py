"""Where the agent listens: sockets and addresses, taken, left and given back."""

from __future__ import annotations

import socket

from spoe_agent.fleet import Listen
from spoe_agent.rig.process import free_port
from spoe_agent.spop import (
    FrameBuffer,
    FrameType,
    read_header,
)
from tests.loops import on_each_loop
from tests.peer import DEADLINE_S, HELLO, MAX_FRAME_SIZE, Peer, question, readable, turns_until
from tests.serving import (
    Rig,
    refused,
    unix,
)


@on_each_loop
async def test_hundreds_of_connections_at_once(address):
    """After a reload HAProxy's threads open theirs all at once, before the agent accepts any."""
    async with Rig().listening(address):
        peers = [connected(address) for _ in range(300)]
        try:
            for peer in peers:
                peer.sendall(HELLO + question("a"))
            for peer in peers:
                assert await turns_until(lambda peer=peer: readable(peer))
                buffer = FrameBuffer(MAX_FRAME_SIZE)
                buffer.append(peer.recv(65_536))
                kinds = [read_header(frame).type for frame in iter(buffer.next_frame, None)]
                assert kinds == [FrameType.AGENT_HELLO, FrameType.ACK]
        finally:
            for peer in peers:
                peer.close()


def connected(address):
    """A connection made without giving the server a turn: nobody accepts it yet."""
    peer = socket.socket(socket.AF_UNIX if address.path else socket.AF_INET)
    peer.settimeout(DEADLINE_S)
    peer.connect(address.path or (address.host, address.port))
    return peer


@on_each_loop
async def test_several_addresses_are_one_agent(tmp_path):
    addresses = [unix(tmp_path), Listen("127.0.0.1", free_port())]
    rig = Rig()
    async with rig.listening(*addresses):
        for number, address in enumerate(addresses):
            async with Peer(address) as peer:
                await peer.opened()
                peer.send(question("a", number))
                await peer.answer()
    assert rig.board.grants == len(addresses)
    assert [await refused(address) for address in addresses] == [True, True]
