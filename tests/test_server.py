"""The agent's server over real sockets, with a scripted HAProxy at the other end."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import stat
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from spoe_agent.agent import REFRESH_INTERVAL_S, Agent
from spoe_agent.fleet import Listen
from spoe_agent.rig.process import free_port
from spoe_agent.routing import FleetSpec, Health, InstanceSpec, InstanceState, LoadedModel
from spoe_agent.routing.names import canonical
from spoe_agent.server import CHECK_INTERVAL_S, CHECKS_UNTIL_DOWN, QUIET_S, STOPS, Server
from spoe_agent.spop import (
    Disconnected,
    FrameBuffer,
    FrameType,
    Message,
    Status,
    encode_disconnect,
    encode_notify,
    read_header,
)
from spoe_agent.telemetry.board import Board

from .loops import on_each_loop
from .peer import DEADLINE_S, HEALTH_CHECK, HELLO, MAX_FRAME_SIZE, Peer, question, route

A, B, NEW = (canonical(name) for name in ("a", "b", "new"))
FLEET = FleetSpec((InstanceSpec("g0", 100), InstanceSpec("g1", 100)))


class Clock:
    """Monotonic seconds that only a test moves."""

    def __init__(self):
        self.now_s = 1000.0
        self.looks = 0

    def __call__(self):
        self.looks += 1
        return self.now_s


def publish(board, *installed, now_s=0.0):
    """A is loaded on g0, B on g1, and both list the same."""
    for name, loaded in (("g0", A), ("g1", B)):
        lists = dict.fromkeys((A, B, *installed), 1)
        board.publish(name, InstanceState(Health.UP, {loaded: LoadedModel(1, 1)}, now_s, lists, now_s))


class Rig:
    """A real agent whose instances list `pulled` models only when they are asked anew, and its server."""

    def __init__(self, pulled=(), agent=Agent):
        self.board, self.pulled, self.refreshed, self.clock = Board(), pulled, 0, Clock()
        publish(self.board, now_s=self.clock())
        self.agent = agent(FLEET, self.board, self.refresh, self.clock)
        self.server = Server(self.agent, self.clock)

    async def refresh(self):
        self.refreshed += 1
        publish(self.board, *self.pulled, now_s=self.clock())

    @asynccontextmanager
    async def listening(self, *addresses):
        for address in addresses:
            await self.server.listen(address)
        try:
            yield self
        finally:
            await self.server.drain(0)

    @asynccontextmanager
    async def draining(self):
        """The server drains meanwhile; leaving waits for its end. Only the test's clock brings the deadline."""
        async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
            task = group.create_task(self.server.drain(60.0))
            yield task

    async def still_drains(self, task):
        """Tell whether it goes on once it has seen how things are now: it looks at the clock each time round."""
        seen = self.clock.looks
        await until(lambda: task.done() or self.clock.looks >= seen + 2)
        return not task.done()


@pytest.fixture(params=["unix", "tcp"])
def address(request, tmp_path):
    return unix(tmp_path) if request.param == "unix" else Listen("127.0.0.1", free_port())


def unix(folder):
    return Listen(path=str(folder / "run" / "spop.sock"))


async def until(condition):
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def refused(address):
    """Tell whether nobody listens there any more."""
    try:
        async with Peer(address):
            return False
    except (ConnectionRefusedError, FileNotFoundError):
        return True


ROUTED_A = {"action": "route", "reason": "loaded", "server": "g0"}
ROUTED_B = {**ROUTED_A, "server": "g1"}


@on_each_loop
async def test_a_handshake_and_a_question(address):
    rig = Rig()
    async with rig.listening(address), Peer(address) as peer:
        peer.send(HELLO)
        hello = await peer.hello()
        assert (hello.version, hello.max_frame_size, hello.capabilities) == ("2.0", MAX_FRAME_SIZE, ("pipelining",))
        peer.send(question("a", 7))
        assert await peer.answer() == (7, 7, ROUTED_A)
        assert rig.board.grants == 1


@on_each_loop
async def test_a_health_check_is_answered_and_let_go(address):
    async with Rig().listening(address), Peer(address) as peer:
        peer.send(HEALTH_CHECK)
        await peer.hello()
        assert await peer.ended()


@on_each_loop
async def test_questions_at_once_are_each_answered(address):
    async with Rig().listening(address), Peer(address) as peer:
        await peer.opened()
        models = ["a", "b", "a b", "never"] * 50
        peer.send(*(encode_notify(number, 7 * number, [route(model)]) for number, model in enumerate(models)))
        found = await peer.answers(len(models))
        assert [(stream_id, frame_id) for stream_id, frame_id, _ in found] == [(n, 7 * n) for n in range(len(models))]
        asked = {"a": "loaded", "b": "loaded", "a b": "bad model name", "never": "not found"}
        assert [values["reason"] for _, _, values in found] == [asked[model] for model in models]


@on_each_loop
async def test_everything_in_one_write(address):
    async with Rig().listening(address), Peer(address) as peer:
        peer.send(HELLO, question("a", 1), question("b", 2))
        await peer.hello()
        assert await peer.answers(2) == [(1, 1, ROUTED_A), (2, 2, ROUTED_B)]


@on_each_loop
async def test_everything_byte_by_byte(address):
    async with Rig().listening(address), Peer(address) as peer:
        await peer.trickle(HELLO + question("a", 1) + question("b", 2))
        await peer.hello()
        assert await peer.answers(2) == [(1, 1, ROUTED_A), (2, 2, ROUTED_B)]


@on_each_loop
async def test_answers_of_one_batch_go_out_in_one_write(address):
    """Else HAProxy wakes up for each."""
    async with Rig().listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(*(question("a", number) for number in range(20)))
        data = await peer.data()
        buffer = FrameBuffer(MAX_FRAME_SIZE)
        buffer.append(data)
        frames = iter(buffer.next_frame, None)
        assert [read_header(frame).stream_id for frame in frames] == list(range(20))
        assert not len(buffer)


@on_each_loop
async def test_connections_do_not_disturb_each_other(address):
    async with Rig().listening(address), Peer(address) as one, Peer(address) as other:
        await one.opened()
        one.send(question("a", 1)[:20])
        await other.opened()
        other.send(HELLO)
        assert (await other.goodbye()).status == Status.INVALID_FRAME
        one.send(question("a", 1)[20:])
        assert await one.answer() == (1, 1, ROUTED_A)


@pytest.mark.parametrize(
    ("before", "behind"),
    [(b"", b""), (b"", question("a", 2)), (question("a", 1), b"")],
    ids=["alone", "with a question behind it", "behind a question"],
)
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (HELLO, Status.INVALID_FRAME),
        ((MAX_FRAME_SIZE + 1).to_bytes(4), Status.FRAME_TOO_BIG),
        (bytes.fromhex("00000008 03 00000001 01 01 05"), Status.INVALID_FRAME),
        (bytes.fromhex("00000007 03 00000000 01 01"), Status.FRAGMENTATION_UNSUPPORTED),
    ],
    ids=["a second hello", "a frame too long", "a message cut short", "a fragment"],
)
@on_each_loop
async def test_a_fault_of_the_peer_is_answered_and_logged(address, fault, status, before, behind):
    async with Rig().listening(address), Peer(address) as peer:
        await peer.opened()
        with capture_logs() as logs:
            peer.send(before, fault, behind)
            assert (await peer.goodbye()).status == status
        (line,) = logs
        assert (line["event"], line["log_level"], line["status"]) == ("peer broke SPOP", "warning", int(status))


@pytest.mark.parametrize("first", [question("a"), b"GET / HTTP/1.1\r\n\r\n"], ids=["a question", "HTTP"])
@on_each_loop
async def test_who_does_not_say_hello_first_is_turned_away(address, first):
    async with Rig().listening(address), Peer(address) as peer:
        peer.send(first)
        assert (await peer.goodbye()).status in (Status.INVALID_FRAME, Status.FRAME_TOO_BIG)


@on_each_loop
async def test_haproxys_goodbye_is_returned(address):
    async with Rig().listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(encode_disconnect(FrameType.HAPROXY_DISCONNECT, 2, "a timeout occurred"))
        assert (await peer.goodbye()).status == Status.NORMAL


@on_each_loop
async def test_a_peer_that_hangs_up_inside_a_frame_is_forgotten(address):
    async with Rig().listening(address):
        with capture_logs() as logs:
            async with Peer(address) as peer:
                await peer.opened()
                peer.send(question("a")[:20])
                peer.end()
                assert await peer.ended()
        assert [line["event"] for line in logs] == ["connection ended early"]


KNOWS_NONE = {"reason": "no message known to the agent"}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], KNOWS_NONE),
        ([Message("check-client-ip", {"ip": "127.0.0.1"})], KNOWS_NONE),
        ([Message("check-client-ip", {}), route("a")], ROUTED_A),
        ([route(None, seen=50, size=50)], {"reason": "the answer to `inspect` came too late"}),
    ],
    ids=["no message", "an unknown message", "an unknown message and ours", "a body that was not told"],
)
@on_each_loop
async def test_every_question_is_answered(address, messages, expected):
    """An ACK without `action` lets HAProxy fall back at once, instead of at its `timeout processing`."""
    async with Rig().listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(encode_notify(3, 4, messages))
        assert await peer.answer() == (3, 4, expected)


@on_each_loop
async def test_a_rejection_says_why(address):
    async with Rig().listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(question("a b"))
        _, _, found = await peer.answer()
        assert found == {
            "action": "reject",
            "reason": "bad model name",
            "status": 400,
            "message": "invalid model name",
            "error_type": "",
        }


class Faulty(Agent):
    """Has a bug that only one model meets, at first or second sight."""

    def decide(self, facts):
        if facts.model == B:
            raise ZeroDivisionError
        return super().decide(facts)

    async def decide_again(self, facts):
        raise ZeroDivisionError


@on_each_loop
async def test_a_bug_of_ours_fails_no_request(address):
    async with Rig(agent=Faulty).listening(address), Peer(address) as peer:
        await peer.opened()
        with capture_logs() as logs:
            peer.send(question("b", 1), question("a", 2))
            assert await peer.answers(2) == [(1, 1, {"reason": "agent error"}), (2, 2, ROUTED_A)]
        (line,) = [line for line in logs if line["log_level"] == "error"]
        assert (line["event"], line["exc_info"]) == ("decision failed", True)


@on_each_loop
async def test_a_bug_at_second_sight_fails_no_request_either(address):
    rig = Rig(agent=Faulty)
    rig.clock.now_s += REFRESH_INTERVAL_S
    async with rig.listening(address), Peer(address) as peer:
        await peer.opened()
        with capture_logs() as logs:
            peer.send(question("new", 1))
            assert await peer.answer() == (1, 1, {"reason": "agent error"})
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["decision failed"]


@on_each_loop
async def test_an_unknown_model_is_looked_for_once_more(address):
    rig = Rig(pulled=[NEW])
    rig.clock.now_s += REFRESH_INTERVAL_S
    async with rig.listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(question("new", 1), question("never", 2))
        (_, _, found), (_, _, never) = sorted(await peer.answers(2), key=lambda answer: answer[0])
        assert (found["action"], never["action"], never["status"]) == ("route", "reject", 404)
        assert rig.refreshed == 1


class Slow(Agent):
    """Whoever is looked for once more waits until the test lets go."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.looked_for, self.gate = 0, asyncio.Event()

    async def decide_again(self, facts):
        self.looked_for += 1
        await self.gate.wait()
        return self.decide(facts)


@pytest.fixture
def slow():
    rig = Rig(agent=Slow)
    rig.clock.now_s += REFRESH_INTERVAL_S
    return rig


@on_each_loop
async def test_nobody_waits_for_a_second_look_but_who_asked(slow, address):
    async with slow.listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(question("new", 1), question("a", 2))
        assert (await peer.answer())[0] == 2
        peer.send(question("b", 3))
        assert (await peer.answer())[0] == 3
        slow.agent.gate.set()
        assert (await peer.answer())[0] == 1


@on_each_loop
async def test_a_peer_that_left_gets_no_late_answer(slow, address):
    async with slow.listening(address), Peer(address) as other:
        await other.opened()
        async with Peer(address) as peer:
            await peer.opened()
            peer.send(question("new", 1))
            await until(lambda: slow.agent.looked_for)
        other.send(question("a"))
        await other.answer()
        slow.agent.gate.set()
        other.send(question("b", 2))
        assert (await other.answer())[0] == 2


class Counting(Agent):
    """Knows how often it was asked."""

    asked = 0

    def decide(self, facts):
        self.asked += 1
        return super().decide(facts)


@on_each_loop
async def test_who_does_not_read_is_not_listened_to(tmp_path):
    """Else the answers that HAProxy does not take would fill the memory."""
    address, rig, one = unix(tmp_path), Rig(agent=Counting), question("a b")
    limit, sent, stuck = 8_000_000, 0, False
    async with rig.listening(address):
        with closing(socket.socket(socket.AF_UNIX)) as peer:
            peer.connect(address.path)
            peer.setblocking(False)
            peer.sendall(HELLO)
            while not stuck and sent < limit:
                stuck = not await turns_until(lambda: writable(peer))
                sent += 0 if stuck else peer.send((one * 100)[sent % len(one) :])
            assert stuck
            buffer, answered = FrameBuffer(MAX_FRAME_SIZE), -1
            while answered < sent // len(one):
                assert await turns_until(lambda: readable(peer))
                buffer.append(peer.recv(65_536))
                answered += len(list(iter(buffer.next_frame, None)))
    assert answered == rig.agent.asked == sent // len(one)


async def turns_until(condition):
    """Give the server turns until the condition holds; tell if it does not although nothing moves any more."""
    for _ in range(200):
        if condition():
            return True
        await asyncio.sleep(0)
    return False


def writable(peer):
    return bool(select.select([], [peer], [], 0)[1])


def readable(peer):
    return bool(select.select([peer], [], [], 0)[0])


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


# Draining: what HAProxy sees of an agent that stops. The clock stands still unless a test moves it, so neither a
# deadline nor a pause comes by itself.


@on_each_loop
async def test_without_haproxy_nothing_is_waited_for_long(address):
    rig = Rig()
    async with rig.listening(address):
        async with rig.draining() as task:
            rig.clock.now_s += CHECK_INTERVAL_S
            assert await rig.still_drains(task)
            rig.clock.now_s += 0.001
        assert await refused(address)


async def checks_fail(address, number=CHECKS_UNTIL_DOWN):
    """HAProxy's checks, that many: each connection is closed without an answer."""
    for _ in range(number):
        async with Peer(address) as peer:
            peer.send(HEALTH_CHECK)
            assert await peer.ended()


@on_each_loop
async def test_checks_fail_while_draining_and_then_all_is_over(address):
    rig = Rig()
    async with rig.listening(address):
        async with Peer(address) as peer:
            peer.send(HEALTH_CHECK)
            await peer.hello()
        async with rig.draining() as task:
            await checks_fail(address, CHECKS_UNTIL_DOWN - 1)
            async with Peer(address) as peer:
                await peer.opened()
                assert await rig.still_drains(task)
            assert await rig.still_drains(task)
            await checks_fail(address, 1)
        assert await refused(address)


@on_each_loop
async def test_every_question_is_answered_until_haproxy_knows(address):
    """Before, while and after the checks fail, on old and on new connections; then each is told goodbye."""
    rig = Rig()
    async with rig.listening(address), Peer(address) as old, Peer(address) as new:
        await old.opened()
        old.send(question("a", 1))
        async with rig.draining():
            assert (await old.answer())[0] == 1
            await new.opened()
            for number in range(2, 9):
                for peer in (old, new):
                    peer.send(question("a", number), question("b", 100 + number))
                    assert [one[0] for one in await peer.answers(2)] == [number, 100 + number]
            await checks_fail(address)
            for peer in (old, new):
                peer.send(question("a", 9), question("b", 10), question("a", 11))
                assert [one[0] for one in await peer.answers(3)] == [9, 10, 11]
                assert await peer.goodbye() == Disconnected(Status.NORMAL, STOPS)


@on_each_loop
async def test_quiet_connections_are_told_goodbye_once_haproxy_knows(address):
    rig = Rig()
    async with rig.listening(address), Peer(address) as peer:
        await peer.opened()
        async with rig.draining() as task:
            await checks_fail(address, CHECKS_UNTIL_DOWN - 1)
            rig.clock.now_s += QUIET_S
            assert await rig.still_drains(task)
            peer.send(question("a"))
            await peer.answer()
            await checks_fail(address, 1)
            assert await rig.still_drains(task)
            rig.clock.now_s += QUIET_S
            assert await peer.goodbye() == Disconnected(Status.NORMAL, STOPS)


@on_each_loop
async def test_an_answer_that_is_still_to_come_is_waited_for(slow, address):
    async with slow.listening(address), Peer(address) as peer:
        await peer.opened()
        peer.send(question("new", 1))
        await until(lambda: slow.agent.looked_for)
        async with slow.draining() as task:
            await checks_fail(address)
            slow.clock.now_s += QUIET_S
            peer.send(question("a", 2))
            assert (await peer.answer())[0] == 2
            slow.clock.now_s += QUIET_S
            assert await slow.still_drains(task)
            slow.agent.gate.set()
            assert (await peer.answer())[0] == 1
            assert (await peer.goodbye()).message == STOPS


@on_each_loop
async def test_at_the_deadline_it_is_over_whoever_is_there(address):
    """A HAProxy without checks never knows."""
    rig = Rig()
    async with rig.listening(address), Peer(address) as peer:
        await peer.opened()
        async with rig.draining() as task:
            peer.send(question("a"))
            await peer.answer()
            rig.clock.now_s += 59.0
            peer.send(question("a"))
            await peer.answer()
            assert await rig.still_drains(task)
            rig.clock.now_s += 2.0
            assert await peer.goodbye() == Disconnected(Status.NORMAL, STOPS)
        assert await refused(address)


@on_each_loop
async def test_goodbye_is_said_once(address):
    rig = Rig()
    async with rig.listening(address), Peer(address) as peer:
        await peer.opened()
        await rig.server.drain(0)
        await rig.server.drain(0)
        assert await peer.goodbye() == Disconnected(Status.NORMAL, STOPS)


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
