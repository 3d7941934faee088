"""How HAProxy's connections come in: a check is answered whatever else there is to do; nobody is lost."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing

from structlog.testing import capture_logs

from spoe_agent.agent.agent import Agent
from spoe_agent.haproxy.contract import HELLO_BACK
from tests.files import out_of_files
from tests.haproxy.test_server_listen import connected
from tests.loops import on_each_loop
from tests.peer import HEALTH_CHECK, HELLO, Peer, question, readable, turns_until
from tests.serving import ROUTED_A, Rig, unix, until


class Watched(Agent):
    """Has HAProxy's check come while it decides, behind a crowd of others; notes at each decision if it is answered."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.address = None
        self.crowd = ExitStack()
        self.answered = []

    def decide(self, facts):
        """Note whether the check is answered before this decision."""
        if self.answered:
            self.answered.append(readable(self.check))
        else:
            for _ in range(50):
                self.crowd.enter_context(closing(connected(self.address)))
            self.check = self.crowd.enter_context(closing(connected(self.address)))
            self.check.sendall(HEALTH_CHECK)
            self.answered.append(False)
        return super().decide(facts)


@on_each_loop
async def test_a_check_is_answered_before_the_next_connections_questions(address):
    """Every connection has one, so that a turn of the loop has them all."""
    rig = Rig(agent=Watched)
    rig.agent.address = address
    async with rig.listening(address):
        with rig.agent.crowd:
            peers = [connected(address) for _ in range(10)]
            for peer in peers:
                rig.agent.crowd.enter_context(closing(peer))
                peer.sendall(HELLO)
            for peer in peers:
                assert await turns_until(lambda peer=peer: readable(peer))
            for number, peer in enumerate(peers):
                peer.sendall(question("a", number))
            await until(lambda: len(rig.agent.answered) == len(peers))
            assert rig.agent.answered == [False] + [True] * 9
            assert HELLO_BACK in rig.agent.check.recv(1000)
            assert rig.agent.check.recv(1000) == b""


@on_each_loop
async def test_a_check_that_comes_in_pieces_is_answered(address):
    async with Rig().listening(address), Peer(address) as peer:
        await peer.trickle(HEALTH_CHECK)
        await peer.hello()
        assert await peer.ended()


@on_each_loop
async def test_a_check_that_comes_in_pieces_is_refused_while_the_agent_drains(address):
    rig = Rig()
    async with rig.listening(address), Peer(address) as peer:
        rig.server.draining.active = True
        await peer.trickle(HEALTH_CHECK)
        assert await peer.ended()
        assert rig.server.draining.refused_checks == 1


@on_each_loop
async def test_who_says_nothing_is_heard_when_it_does(address):
    async with Rig().listening(address), Peer(address) as silent, Peer(address) as other:
        await other.opened()
        await silent.opened()
        silent.send(question("a", 3))
        assert await silent.answer() == (3, 3, ROUTED_A)


def files():
    return len(os.listdir("/proc/self/fd"))


@on_each_loop
async def test_who_leaves_without_a_word_is_forgotten(address):
    async with Rig().listening(address), Peer(address) as other:
        await other.opened()
        before = files()
        async with Peer(address):
            await until(lambda: files() == before + 2)  # both of its ends
        await until(lambda: files() == before)


@on_each_loop
async def test_who_has_said_nothing_is_told_when_the_agent_stops(address):
    rig = Rig()
    async with rig.listening(address), Peer(address) as silent, Peer(address) as other:
        await other.opened()
        await rig.server.drain(0)
        await silent.goodbye()


@on_each_loop
async def test_without_room_for_another_file_it_is_taken_later(tmp_path):
    address = unix(tmp_path)
    rig = Rig()
    async with rig.listening(address):
        waits = connected(address)
        waits.sendall(HEALTH_CHECK)
        with closing(waits), capture_logs() as logs:
            with out_of_files(0):
                await until(lambda: logs)
                assert not readable(waits)
            await until(lambda: readable(waits))
        assert [line["why"] for line in logs] == [f"[Errno 24] {os.strerror(24)}"]
