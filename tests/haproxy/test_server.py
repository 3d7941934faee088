"""The agent's server over real sockets, with a scripted HAProxy at the other end."""

from __future__ import annotations

import json
import socket
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from spoe_agent.agent.agent import Agent
from spoe_agent.fleet import Listen
from spoe_agent.haproxy.contract import Question
from spoe_agent.haproxy.log import HAProxyLog
from spoe_agent.process.listening import bind
from spoe_agent.rig.process import free_port
from spoe_agent.routing import FleetSpec, InstanceSpec, Policy
from spoe_agent.spop import (
    FrameBuffer,
    FrameType,
    Message,
    Status,
    encode_disconnect,
    encode_notify,
    read_header,
)
from tests.loops import on_each_loop
from tests.peer import (
    HEALTH_CHECK,
    HELLO,
    MAX_FRAME_SIZE,
    Peer,
    question,
    read,
    readable,
    turns_until,
    writable,
)
from tests.serving import (
    ROUTED_A,
    ROUTED_B,
    Rig,
    unix,
    until,
)

ENDED = json.dumps(
    {"id": "r1", "server": "g0", "status": 200, "termination": "--", "first_byte_ms": 1, "data_ms": 1}
).encode()


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
async def test_lines_that_have_come_count_before_a_question_is_decided(address):
    """One slot: the line of the request before frees it, though the loop would read the question first."""
    fleet = FleetSpec((InstanceSpec("g0", 1, num_parallel=1),), policy=Policy(hold_s=60.0))
    sock = bind(Listen("127.0.0.1", free_port(socket.SOCK_DGRAM)), socket.SOCK_DGRAM)
    lines = HAProxyLog(sock, lambda line: rig.agent.ended(line.request_id))
    rig = Rig(fleet=fleet, news=lines.read)
    lines.start()
    with closing(sock), closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as haproxy:
        async with rig.listening(address), Peer(address) as peer:
            await peer.opened()
            peer.send(question("a", 1))
            assert (await peer.answer())[2]["action"] == "route"
            peer.send(question("a", 2, load="g0:0:0:1"))
            haproxy.sendto(ENDED, sock.getsockname())
            assert (await peer.answer())[2]["action"] == "route"
        lines.close()


@on_each_loop
async def test_who_asks_is_known_by_its_questions_and_for_as_long_as_it_is_connected(address):
    rig = Rig()
    async with rig.listening(address):
        async with Peer(address) as peer:
            await peer.opened()
            assert rig.contact.questions == 0
            peer.send(question("a", 1, process="11-a"), question("a", 2, process="11-a"))
            await peer.answers(2)
            heard = rig.contact.processes.heard["11-a"]
            assert (rig.contact.questions, heard.connections, heard.asked_at_s) == (2, 1, rig.clock.now_s)
            assert rig.board.by_process("g0") == {"11-a": 2}
        await until(lambda: heard.connections == 0)


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
        peer.send(*(encode_notify(number, 7 * number, [read(model)]) for number, model in enumerate(models)))
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
OTHER_FILES = {"reason": "`route` for a body that names the model: render HAProxy's files again"}
LARGE = b'{"model":"b","x":"' + b"x" * 40_000 + b'","model":"a"}'
WHOLE = Message(Question.INSPECT, {"id": "r1", "method": "POST", "path": "/api/chat", "body": LARGE})


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], KNOWS_NONE),
        ([Message("check-client-ip", {"ip": "127.0.0.1"})], KNOWS_NONE),
        ([Message("check-client-ip", {}), read("a")], ROUTED_A),
        ([Message(Question.ROUTE, {"method": "POST", "path": "/api/chat"})], OTHER_FILES),
        ([read("a", head=b"{", size=50_000, seen=50_000)], {"action": "inspect", "reason": "inspect"}),
        ([WHOLE], ROUTED_A),
    ],
    ids=[
        "no message",
        "an unknown message",
        "an unknown message and ours",
        "of another version",
        "half a body",
        "a body",
    ],
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
