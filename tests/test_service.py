"""An agent at its addresses that is to be another process: what it hands over, and how it goes on when nobody takes
it.
"""

import asyncio
import json
import socket
import sys
from base64 import b64decode
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from spoe_agent.fleet import loads
from spoe_agent.haproxy.contract import Question
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.process.listening import take
from spoe_agent.process.succession import Failed
from spoe_agent.rig.process import free_port
from spoe_agent.routing import InstanceState, LoadedModel
from spoe_agent.routing.choice import Writing
from spoe_agent.routing.names import canonical
from spoe_agent.routing.snapshot import Health
from spoe_agent.service import Service
from spoe_agent.spop import Message, encode_notify
from tests.files import files_below, out_of_files
from tests.mitmproxy.parts import parts
from tests.peer import Peer, question
from tests.serving import checks_fail, until

A = canonical("a")
FLEET = """
listeners:
  spop: ["unix@{folder}/spop.sock", "127.0.0.1:{}"]
  log: 127.0.0.1:{}
  check: 127.0.0.1:{}
  admin: 127.0.0.1:{}
  door: 127.0.0.1:{}
defaults: {{num_parallel: 1, ollama: {{max_loaded_models: 1}}}}
instances: [{{name: g0, url: "http://127.0.0.1:1"}}]
"""
CHILD = """
import asyncio, json, sys
from spoe_agent.process.succession import Predecessor
async def main():
    predecessor = Predecessor.of_this_process()
    {before}
    received = await predecessor.take()
    {after}
    sockets = [*received.listening.values(), *(sock for sock, _ in received.connections)]
    assert not any(sock.get_inheritable() for sock in sockets), "its children would have them too"
    kinds = [sock.type.name for sock in received.listening.values()]
    estate = received.estate.model_dump(mode="json")
    json.dump([estate, kinds, len(received.connections)], open(sys.argv[1], "w"))
    predecessor.done()
asyncio.run(main())
"""
NOW_S = 100.0


def hold(number):
    return encode_notify(number, number, [Message(Question.HOLD, {"id": f"r{number}"})])


@asynccontextmanager
async def running(folder, before="pass", after="pass", command=None):
    """A service with `a` loaded on one slot; its successor is a script."""
    fleet = loads(FLEET.format(*(free_port() for _ in range(5)), folder=folder))
    made = parts(fleet, lambda: NOW_S)
    made.board.publish("g0", InstanceState(Health.UP, {A: LoadedModel(1, 1)}, NOW_S, {A: 1}, NOW_S))
    command = command or (sys.executable, "-c", CHILD.format(before=before, after=after), str(folder / "got.json"))
    service = Service(made, Limiter(fleet, made.agent, made.watch), take(fleet.listeners), None, command)
    await service.open()
    async with asyncio.TaskGroup() as group:
        service.run_in(group)
        try:
            yield service, fleet.listeners.spop
        finally:
            if not service.succeeded.is_set():
                # Its guard would wait for HAProxy.
                service._guard.end()
                await asyncio.wait([service._guarding])
            await service.stop()
            service.close()


@asynccontextmanager
async def asked(addresses):
    """Two connections: one whose request runs, one whose request is held, with half a question behind it."""
    async with Peer(addresses[0]) as one, Peer(addresses[1]) as other:
        await one.opened()
        await other.opened()
        one.send(question("a", 1))
        assert (await one.answer())[2]["action"] == "route"
        other.send(question("a", 2))
        assert (await other.answer())[2]["action"] == "hold"
        other.send(hold(2), question("a", 3)[:10])
        yield one, other


async def is_waited_for(service):
    await until(lambda: any(passed.held for passed in _passed(service)))


def _passed(service):
    found = [connection.hand() for connection in service._server.connections]
    for sock, _ in found:
        sock.close()
    return [passed for _, passed in found]


async def test_everything_is_handed_over(tmp_path):
    async with running(tmp_path) as (service, addresses), Peer(addresses[0]), asked(addresses):
        # Before the others somebody came who has said nothing yet.
        await is_waited_for(service)
        service.parts.agent.writings.put("r3", (Writing(("g0",), ("g0",)), Writing(("g1",), (), "drained by hand")))
        service.parts.agent.second_look.changing("r4")
        pid = await service.hand_over()
        await until(lambda: not Path(f"/proc/{pid}").exists())
        assert service.succeeded.is_set()
    estate, kinds, connections = json.loads((tmp_path / "got.json").read_text())
    assert sorted(kinds) == ["SOCK_DGRAM", *["SOCK_STREAM"] * 5]
    assert connections == 3
    kept = json.loads(estate["kept"])
    assert [grant["request_id"] for grant in kept["ledgers"]["g0"]["grants"]] == ["r1"]
    assert [ticket["facts"]["request_id"] for ticket in estate["tickets"]] == ["r2"]
    assert estate["writings"] == {"r3": [[["g0"], ["g0"], ""], [["g1"], [], "drained by hand"]]}
    assert estate["changes"] == {"r4": NOW_S}
    passed = sorted(estate["connections"], key=lambda one: len(one["held"]))
    assert [one["held"] for one in passed] == [[], [], [["r2", 2, 2]]]
    assert [one["max_frame_size"] is None for one in passed].count(True) == 1
    assert b64decode(passed[2]["buffered"]) == question("a", 3)[:10]
    # The unix socket is the new one's by now.
    assert (tmp_path / "spop.sock").exists()


@pytest.mark.parametrize(
    ("before", "after"), [("sys.exit(1)", "pass"), ("pass", "sys.exit(1)")], ids=["not ready", "not taken"]
)
async def test_when_nobody_takes_over_all_goes_on(tmp_path, before, after):
    async with running(tmp_path, before, after) as (service, addresses), asked(addresses) as (one, other):
        await is_waited_for(service)
        with pytest.raises(Failed, match="the new agent did not"):
            await service.hand_over()
        await _goes_on(service, addresses, one, other)


async def test_the_new_agents_own_words_say_why_it_did_not_take_over(tmp_path):
    after = "predecessor.told('listeners.log is taken by process 7'); sys.exit(1)"
    async with running(tmp_path, after=after) as (service, addresses), asked(addresses) as (one, other):
        await is_waited_for(service)
        with pytest.raises(
            Failed, match=r"did not take over: listeners\.log is taken by process 7; this agent goes on"
        ):
            await service.hand_over()
        await _goes_on(service, addresses, one, other)


async def _goes_on(service, addresses, one, other):
    """It answers what was held, what has half come, and whoever is new."""
    async with asyncio.timeout(30):
        one.send(question("unknown", 4))
        assert (await one.answer())[0] == 4
        other.send(question("a", 3)[10:])
        assert (await other.answer())[2]["action"] == "hold"
        service.parts.agent.ended("r1")
        assert (await other.answer())[0] == 2
        async with Peer(addresses[0]) as late:
            await late.opened()
        assert service.parts.board.grants == 1


async def test_an_agent_that_cannot_be_started_is_a_failed_restart(tmp_path):
    """After an upgrade that moved it, say."""
    command = [str(tmp_path / "gone")]
    async with running(tmp_path, command=command) as (service, addresses), asked(addresses) as (one, other):
        await is_waited_for(service)
        with pytest.raises(Failed, match="gone cannot be started: No such file"):
            await service.hand_over()
        await _goes_on(service, addresses, one, other)


def waiting(ready, go):
    """What the successor does first: it makes one file, and waits for the other."""
    return (
        f"import pathlib; pathlib.Path({str(ready)!r}).touch()\n    while not pathlib.Path({str(go)!r}).exists(): pass"
    )


async def test_without_room_for_copies_of_all_connections_all_goes_on(tmp_path):
    ready, go = tmp_path / "ready", tmp_path / "go"
    async with running(tmp_path, waiting(ready, go)) as (service, addresses), asked(addresses) as (one, other):
        await is_waited_for(service)
        async with AsyncExitStack() as stack:
            for _ in range(60):
                await (await stack.enter_async_context(Peer(addresses[1]))).opened()
            restart = asyncio.ensure_future(service.hand_over())
            await until(ready.exists)
            with out_of_files(40), pytest.raises(Failed, match="Too many open files"):
                go.touch()
                await restart
            await _goes_on(service, addresses, one, other)


async def test_a_restart_that_is_given_up_leaves_the_agent_as_it_was(tmp_path):
    after = "import time; time.sleep(60)"
    async with running(tmp_path, after=after) as (service, addresses), asked(addresses) as (one, other):
        await is_waited_for(service)
        restart = asyncio.ensure_future(service.hand_over())
        await until(lambda: service._server.draining.is_frozen)
        restart.cancel()
        with pytest.raises(asyncio.CancelledError):
            await restart
        await _goes_on(service, addresses, one, other)


async def test_one_that_cannot_listen_again_tries_until_it_can(tmp_path):
    ready, go, there = tmp_path / "ready", tmp_path / "go", tmp_path / "there"
    there.touch()
    async with running(tmp_path, waiting(ready, go)) as (service, addresses), asked(addresses) as (one, other):
        await is_waited_for(service)
        restart = asyncio.ensure_future(service.hand_over())
        await until(ready.exists)
        with capture_logs() as logs:
            with files_below(3):
                there.rename(go)
                await until(lambda: any("is deaf" in line["event"] for line in logs))
                # Whoever is connected is served meanwhile.
                one.send(question("unknown", 5))
                assert (await one.answer())[0] == 5
            with pytest.raises(Failed, match="Too many open files; this agent goes on"):
                await restart
        await _goes_on(service, addresses, one, other)


@pytest.mark.parametrize("before", [True, False], ids=["not ready yet", "frozen"])
async def test_whoever_ends_an_agent_that_hands_over_ends_that_one(tmp_path, before):
    ready = tmp_path / "ready"
    stays = f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    script = {"before": stays} if before else {"after": stays}
    async with running(tmp_path, **script) as (service, addresses), asked(addresses) as (one, other):
        await is_waited_for(service)
        restart = asyncio.ensure_future(service.hand_over())
        await until(ready.exists)
        drain = asyncio.ensure_future(service.drain())
        with pytest.raises(Failed, match="this agent is to end"):
            await restart
        # Nothing is held any more, and who asks is answered until HAProxy knows.
        assert (await other.answer())[0] == 2
        one.send(question("unknown", 5))
        assert (await one.answer())[0] == 5
        await checks_fail(addresses[1])
        await drain
        assert not service.succeeded.is_set()
        with pytest.raises(Failed, match="this agent is to end"):
            await service.hand_over()


async def test_the_service_manager_hears_a_sign_of_life_with_the_new_process(tmp_path, monkeypatch):
    """The new agent's own may have come before it was believed to be the service."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        async with running(tmp_path) as (service, _):
            pid = await service.hand_over()
            await until(lambda: not Path(f"/proc/{pid}").exists())
        assert manager.recv(1000) == f"MAINPID={pid}\nWATCHDOG=1".encode()
