"""HAProxy's agent-check: lines, the server, and the guard that answers when the agent cannot."""

import asyncio
import json
import sys
from contextlib import asynccontextmanager

import pytest

from spoe_agent.fleet import Listen
from spoe_agent.haproxy.check import CheckServer, Guard, line
from spoe_agent.haproxy.contract import TOLD_S
from spoe_agent.process.listening import bind
from spoe_agent.rig.process import free_port

DEADLINE_S = 20
LINES = {"g0": "up ready 100% maxconn:8", "g1": "up ready 0% maxconn:4"}


@pytest.mark.parametrize(
    ("is_up", "is_drained", "limit", "text"),
    [
        (True, False, 8, "up ready 100% maxconn:8"),
        (True, True, 8, "up ready 0% maxconn:8"),
        (False, False, 1, "down ready 100% maxconn:1"),
    ],
)
def test_a_line_is_the_full_state(is_up, is_drained, limit, text):
    assert line(is_up, is_drained, limit) == text


async def said(listen, asked):
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(listen.host, listen.port)
        writer.write(asked)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


@asynccontextmanager
async def checks():
    listen = Listen(host="127.0.0.1", port=free_port())
    server, sock = CheckServer(lambda name: LINES.get(name, "up ready 0%")), bind(listen)
    await server.listen(sock)
    try:
        yield listen, server
    finally:
        server.close()
        sock.close()


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (b"g0\n", b"up ready 100% maxconn:8\n"),
        (b"g1\r\n", b"up ready 0% maxconn:4\n"),
        (b"who\n", b"up ready 0%\n"),
        (b"\xff\n", b"up ready 0%\n"),
        (b"", b"up ready 0%\n"),
        (b"x" * 10_000, b""),
    ],
)
async def test_what_is_answered(asked, answer):
    async with checks() as (listen, _):
        try:
            assert await said(listen, asked) == answer
        except ConnectionResetError:
            assert answer == b""


async def test_a_line_may_come_in_pieces():
    async with checks() as (listen, _), asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(listen.host, listen.port)
        for piece in (b"g", b"0", b"\n"):
            writer.write(piece)
            await writer.drain()
        assert await reader.read() == LINES["g0"].encode() + b"\n"
        writer.close()
        await writer.wait_closed()


async def test_who_says_nothing_is_not_waited_for_for_ever():
    async with checks() as (listen, _), asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(listen.host, listen.port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_it_tells_when_haproxy_has_asked_once_more():
    async with checks() as (listen, server):
        await said(listen, b"g0\n")
        async with asyncio.TaskGroup() as group:
            told = [group.create_task(server.told("g0", DEADLINE_S)) for _ in range(2)]
            await said(listen, b"g1\n")
            assert not any(task.done() for task in told)
            await said(listen, b"g0\n")
        assert [task.result() for task in told] == [True, True]
        assert not await server.told("g0", 0.01)


@asynccontextmanager
async def guarded():
    """A bound socket, and a guard that has it too; gives the guard's standard input."""
    listen = Listen(host="127.0.0.1", port=free_port())
    sock = bind(listen)
    sock.listen()
    sock.setblocking(False)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "spoe_agent.haproxy.guard", str(sock.fileno()), str(TOLD_S)),
        stdin=asyncio.subprocess.PIPE,
        pass_fds=(sock.fileno(),),
    )
    child.stdin.write(json.dumps(LINES).encode() + b"\n")
    try:
        yield listen, child
    finally:
        child.stdin.close()
        async with asyncio.timeout(DEADLINE_S):
            await child.wait()
        sock.close()


async def test_when_the_agent_has_died_the_guard_answers_everybody_once_and_ends():
    async with guarded() as (listen, child):
        child.stdin.close()
        assert await said(listen, b"g0\n") == b"up ready 100% maxconn:8\n"
        assert await said(listen, b"who\n") == b""
        assert await said(listen, b"g1\n") == b"up ready 0% maxconn:4\n"
        async with asyncio.timeout(DEADLINE_S):
            assert await child.wait() == 0


async def test_when_the_agent_hangs_the_guard_answers_until_it_beats_again():
    async with guarded() as (listen, child):
        assert await said(listen, b"g0\n") == b"up ready 100% maxconn:8\n"
        assert await said(listen, b"g0\n") == b"up ready 100% maxconn:8\n"
        assert child.returncode is None


async def test_the_last_lines_it_was_given_hold():
    async with guarded() as (listen, child):
        child.stdin.write(json.dumps(LINES | {"g0": "up ready 0% maxconn:8"}).encode() + b"\n")
        await child.stdin.drain()
        child.stdin.close()
        assert await said(listen, b"g0\n") == b"up ready 0% maxconn:8\n"
        assert await said(listen, b"g1\n") == b"up ready 0% maxconn:4\n"


async def test_a_guard_does_not_outlive_haproxys_absence():
    async with guarded() as (_, child):
        child.stdin.close()
        async with asyncio.timeout(DEADLINE_S):
            assert await child.wait() == 0


async def test_the_agents_side_begins_anew_after_a_bug():
    """The child before ended without a word: the agent lives."""
    listen, faults = Listen(host="127.0.0.1", port=free_port()), [ZeroDivisionError()]
    sock = bind(listen)
    sock.listen()
    sock.setblocking(False)

    def lines():
        if faults:
            raise faults.pop()
        guard.end()
        return LINES

    guard = Guard(sock.dup(), lines)
    try:
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(ZeroDivisionError):
                await guard.run()
            await guard.run()
    finally:
        guard.close()
        sock.close()
