"""Where the agent listens: sockets and addresses, taken, left and given back."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import closing
from pathlib import Path

import pytest

from spoe_agent.fleet import Listen
from spoe_agent.rig.process import free_port
from spoe_agent.spop import (
    FrameBuffer,
    FrameType,
    read_header,
)

from .loops import on_each_loop
from .peer import DEADLINE_S, HELLO, MAX_FRAME_SIZE, Peer, question, readable, turns_until
from .serving import (
    ROUTED_A,
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
async def test_a_socket_is_for_its_user_and_group_and_its_folder_is_made(tmp_path):
    address = unix(tmp_path)
    async with Rig().listening(address):
        assert stat.S_IMODE(os.stat(address.path).st_mode) == 0o660


@on_each_loop
async def test_an_address_in_use_is_refused(tmp_path):
    address = Listen("127.0.0.1", free_port())
    async with Rig().listening(address):
        with pytest.raises(OSError, match="in use"):
            await Rig().server.listen(address)


@on_each_loop
async def test_a_socket_that_a_dead_agent_left_is_replaced(tmp_path):
    address = unix(tmp_path)
    Path(address.path).parent.mkdir()
    with closing(socket.socket(socket.AF_UNIX)) as left:
        left.bind(address.path)
    async with Rig().listening(address), Peer(address) as peer:
        await peer.opened()


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


@on_each_loop
async def test_the_socket_goes_with_the_agent(tmp_path):
    address = unix(tmp_path)
    async with Rig().listening(address):
        assert Path(address.path).is_socket()
    assert not Path(address.path).exists()


@on_each_loop
async def test_a_successors_socket_is_left_alone(tmp_path):
    address = unix(tmp_path)
    async with Rig().listening(address) as old, Rig().listening(address):
        await old.server.drain(0)
        async with Peer(address) as peer:
            await peer.opened()
            peer.send(question("a"))
            assert (await peer.answer())[2] == ROUTED_A


@on_each_loop
async def test_a_socket_that_somebody_removed_is_no_trouble(tmp_path):
    address = unix(tmp_path)
    async with Rig().listening(address) as rig:
        Path(address.path).unlink()
        await rig.server.drain(0)
