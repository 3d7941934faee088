"""`pointsman serve` as users run it: a process, its log, its end."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from contextlib import asynccontextmanager, closing, suppress

import pytest
import yaml
from aiohttp import ClientSession

from spoe_agent.fleet import load
from spoe_agent.haproxy.contract import AGENT_CHECK
from spoe_agent.haproxy.server import STOPS
from spoe_agent.rig.process import Process, free_port
from spoe_agent.rig.stack import POINTSMAN
from tests.instances.servers import MODEL, FakeOllama
from tests.peer import HEALTH_CHECK, Peer, question

SERVE = (*POINTSMAN, "serve", "--fleet")
UDP = socket.SOCK_DGRAM
ENDED = json.dumps(
    {
        "id": "r1",
        "server": "g0",
        "status": 200,
        "termination": "--",
        "first_byte_ms": 100,
        "data_ms": 900,
        "retries": "0",
    }
).encode()


@pytest.fixture
def document(tmp_path):
    """A fleet file's content: one instance, which does not run, and an agent at two addresses."""
    spop = [f"unix@{tmp_path}/run/spop.sock", f"127.0.0.1:{free_port()}"]
    listeners = {"front": f"127.0.0.1:{free_port()}", "spop": spop, "log": f"127.0.0.1:{free_port(UDP)}"}
    listeners |= {name: f"127.0.0.1:{free_port()}" for name in ("check", "admin", "door")}
    return {"listeners": listeners, "instances": [{"name": "g0", "url": f"http://127.0.0.1:{free_port()}"}]}


def written(document, folder):
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


class Agent(Process):
    """The command in a process of its own."""

    def __init__(self, document, folder, *options):
        file = written(document, folder)
        super().__init__("agent", [*SERVE, file, *options], folder)
        self.listeners = load(file).listeners

    def lines(self):
        """Its log so far; whatever is not one JSON object per line fails the test."""
        return [json.loads(line) for line in self.output.read_text().splitlines(keepends=True) if line.endswith("\n")]

    async def logs(self, event):
        """Wait for the first line of that event."""

        async def found():
            return any(line["event"] == event for line in self.lines())

        await self.ready(found)
        return next(line for line in self.lines() if line["event"] == event)

    async def ends(self, number=signal.SIGTERM):
        """Stop it as a service manager does, with a HAProxy that checks it; return its status."""
        self.signal(number)
        await self.logs("draining")
        # Where nobody has checked for long, it does not wait for that.
        with suppress(ConnectionRefusedError):
            for _ in range(AGENT_CHECK.fall):
                async with Peer(self.listeners.spop[1]) as peer:
                    peer.send(HEALTH_CHECK)
                    assert await peer.ended()
        return await self.wait()


@asynccontextmanager
async def running(document, folder, *options):
    async with Agent(document, folder, *options) as agent:
        await agent.logs("ready")
        yield agent


async def is_down(agent):
    return any(line.get("after") == "down" for line in agent.lines())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_from_ready_to_stopped(document, tmp_path, number):
    async with running(document, tmp_path) as agent:
        ready = await agent.logs("ready")
        assert (ready["level"], ready["spop"], ready["instances"]) == ("info", document["listeners"]["spop"], 1)
        # Its second poll of the instance that does not run finds it down.
        await agent.ready(lambda: is_down(agent))
        async with Peer(agent.listeners.spop[0]) as peer:
            await peer.opened()
            peer.send(question("llama3"))
            assert (await peer.answer())[2]["reason"] == "no instance up"
        assert await agent.ends(number) == 0
        events = [line["event"] for line in agent.lines() if "instance" not in line]
        assert events == ["ready", "draining", "stopped"]
        assert not (tmp_path / "run" / "spop.sock").exists()


async def test_a_stop_loses_no_question(document, tmp_path):
    async with running(document, tmp_path) as agent, Peer(agent.listeners.spop[0]) as peer:
        await peer.opened()
        agent.signal(signal.SIGTERM)
        await agent.logs("draining")
        peer.send(*(question("llama3", number) for number in range(50)))
        assert [answer[0] for answer in await peer.answers(50)] == list(range(50))
        assert await agent.ends() == 0
        assert (await peer.goodbye()).message == STOPS


async def test_it_is_ready_when_it_knows_what_is_loaded(document, tmp_path):
    """Answers come before questions: the first one is as good as all."""
    ollama, url = FakeOllama(), document["instances"][0]["url"]
    ollama.answers["/api/ps"] = ollama.answers["/api/tags"] = {"models": [MODEL]}
    async with ollama.serving(int(url.rpartition(":")[2])), running(document, tmp_path) as agent:
        async with Peer(agent.listeners.spop[1]) as peer:
            await peer.opened()
            peer.send(question(MODEL["model"]), question("never-heard-of", 2))
            known, unknown = sorted(await peer.answers(2))
            assert (known[2]["action"], known[2]["reason"], known[2]["server"]) == ("route", "loaded", "g0")
            assert unknown[2]["status"] == 404
        with closing(socket.socket(socket.AF_INET, UDP)) as haproxy:
            for line in (ENDED, b"<30>not ours"):
                haproxy.sendto(line, (agent.listeners.log.host, agent.listeners.log.port))
        # Datagrams come in order: when the second is complained of, the first has ended its request.
        await agent.logs("datagram on the log port is not a request's JSON line")
        assert await agent.ends() == 0
        assert (await agent.logs("draining"))["in_flight"] == 0


async def test_a_request_under_way_is_told_when_it_stops(document, tmp_path):
    ollama, url = FakeOllama(), document["instances"][0]["url"]
    ollama.answers["/api/tags"] = {"models": [MODEL]}
    async with ollama.serving(int(url.rpartition(":")[2])), running(document, tmp_path) as agent:
        async with Peer(agent.listeners.spop[1]) as peer:
            await peer.opened()
            peer.send(question(MODEL["model"]))
            assert (await peer.answer())[2]["reason"] == "room"
        assert await agent.ends() == 0
        assert (await agent.logs("draining"))["in_flight"] == 1


async def test_at_level_debug_each_decision_is_a_line(document, tmp_path):
    async with running(document, tmp_path, "--log-level", "debug") as agent, Peer(agent.listeners.spop[0]) as peer:
        await peer.opened()
        peer.send(question("llama3", 7))
        await peer.answer()
        line = await agent.logs("decided")
        assert (line["level"], line["id"]) == ("debug", "r7")


async def by_hand(agent, path, method="POST"):
    async with ClientSession() as session, session.request(method, f"http://{agent.listeners.admin}/{path}") as answer:
        assert answer.status == 200
        return await answer.json()


async def healths(agent):
    return {one["name"]: one["health"] for one in (await by_hand(agent, "status", "GET"))["instances"]}


async def test_a_drain_by_hand_outlives_a_restart(document, tmp_path):
    document["instances"].append({"name": "g1", "url": f"http://127.0.0.1:{free_port()}"})
    state, folders = tmp_path / "not there yet" / "learned.json", [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    changes = "instance's health changes"

    def drains(agent):
        return [line["instance"] for line in agent.lines() if line["event"] == changes and line["after"] == "drained"]

    async with running(document, folders[0], "--state", state) as agent:
        assert (await by_hand(agent, "instances/g1/drain"))["kept"]
        # Written at once: what comes next may be SIGKILL.
        assert json.loads(state.read_text())["drained"] == ["g1"]
        assert await agent.ends() == 0
    state.write_text(json.dumps({**json.loads(state.read_text()), "drained": ["g1", "long-gone"]}))
    async with running(document, folders[1], "--state", state) as agent:
        assert drains(agent) == ["g1"]
        unknown = await agent.logs("was drained by hand, but is not in the fleet file any more")
        assert (unknown["level"], unknown["instance"]) == ("warning", "long-gone")
        assert (await healths(agent))["g1"] == "drained"
        assert (await by_hand(agent, "instances/g1/ready"))["kept"]
        agent.signal(signal.SIGKILL)
        await agent.wait()
    async with running(document, folders[2], "--state", state) as agent:
        assert drains(agent) == []
        assert (await healths(agent))["g1"] != "drained"
        assert await agent.ends() == 0


async def test_sighup_reloads_the_fleet_file(document, tmp_path):
    async with running(document, tmp_path) as agent:
        document["instances"].append({"name": "g1", "url": f"http://127.0.0.1:{free_port()}"})
        written(document, tmp_path)
        warning = await agent.logs("the fleet file's edit is not in force")
        assert warning["changed"] == ["instance g1 added"]
        agent.signal(signal.SIGHUP)
        assert (await agent.logs("fleet file reloaded"))["changed"] == ["instance g1 added"]
        assert set(await healths(agent)) == {"g0", "g1"}
        written({**document, "surprise": 1}, tmp_path)
        agent.signal(signal.SIGHUP)
        refused = await agent.logs("fleet file refused, the fleet before it stays in force")
        assert "surprise: unknown key" in refused["why"]
        found = await by_hand(agent, "status", "GET")
        assert any("surprise: unknown key" in warning for warning in found["warnings"])
        assert {one["name"] for one in found["instances"]} == {"g0", "g1"}


async def test_the_service_manager_is_told(document, tmp_path, monkeypatch):
    with closing(socket.socket(socket.AF_UNIX, UDP)) as manager:
        manager.bind(str(tmp_path / "notify.sock"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify.sock"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        told = []

        async def hears(word):
            async with asyncio.timeout(20):
                while word not in told:
                    told.extend((await asyncio.get_running_loop().sock_recv(manager, 1000)).decode().splitlines())

        async with running(document, tmp_path) as agent:
            for word in ("READY=1", "WATCHDOG=1"):
                await hears(word)
            told.clear()
            agent.signal(signal.SIGHUP)
            for word in ("RELOADING=1", "READY=1"):
                await hears(word)
            agent.signal(signal.SIGTERM)
            await hears("STOPPING=1")


async def test_what_is_in_flight_outlives_a_restart(document, tmp_path):
    state, folders = tmp_path / "learned.json", [tmp_path / str(number) for number in range(2)]
    for folder in folders:
        folder.mkdir()
    ollama, url = FakeOllama(), document["instances"][0]["url"]
    ollama.answers["/api/ps"] = ollama.answers["/api/tags"] = {"models": [MODEL]}
    async with ollama.serving(int(url.rpartition(":")[2])):
        async with running(document, folders[0], "--state", state) as agent:
            async with Peer(agent.listeners.spop[1]) as peer:
                await peer.opened()
                peer.send(question(MODEL["model"]))
                assert (await peer.answer())[2]["action"] == "route"
            assert await agent.ends() == 0
        async with running(document, folders[1], "--state", state) as agent:
            found = await by_hand(agent, "status", "GET")
            assert (found["grants"], list(found["instances"][0]["in_flight"].values())) == (1, [1])
            with closing(socket.socket(socket.AF_INET, UDP)) as haproxy:
                haproxy.sendto(ENDED, (agent.listeners.log.host, agent.listeners.log.port))

            async def has_ended():
                return (await by_hand(agent, "status", "GET"))["grants"] == 0

            await agent.ready(has_ended)
            assert await agent.ends() == 0


async def test_without_a_state_file_a_drain_says_that_it_does_not_last(document, tmp_path):
    async with running(document, tmp_path) as agent:
        done = await by_hand(agent, "instances/g0/drain")
        assert (done["health"], done["kept"], done["told"], len(done["said"])) == ("drained", False, False, 2)


async def refusal(folder, file):
    """The lines that an agent says when it does not start, without those of its log."""
    async with Process("agent", [*SERVE, file], folder) as agent:
        assert await agent.wait() == 1
    return [line for line in agent.output.read_text().splitlines() if not line.startswith("{")]


@pytest.mark.parametrize(
    ("listener", "kind"), [("spop", socket.SOCK_STREAM), ("check", socket.SOCK_STREAM), ("log", UDP)]
)
async def test_an_address_in_use_is_named_in_one_line(document, tmp_path, listener, kind):
    with closing(socket.socket(socket.AF_INET, kind)) as other:
        other.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        document["listeners"][listener] = f"127.0.0.1:{port}"
        (line,) = await refusal(tmp_path, written(document, tmp_path))
    assert line.startswith("Error: cannot listen: ")
    assert f"listeners.{listener} ({'UDP' if kind is UDP else 'TCP'} 127.0.0.1:{port}) is taken by process " in line
    assert "Nothing was changed." in line


@pytest.mark.parametrize("shared", [("admin",), ("check",), ("spop", "log", "check", "admin")])
async def test_a_second_agent_says_what_the_first_has_and_disturbs_nothing(document, tmp_path, shared):
    """Of two fleets on one host, one forgot some listeners; or it is the same fleet twice."""
    others = {"front": document["listeners"]["front"], "log": f"127.0.0.1:{free_port(UDP)}"}
    others |= {name: f"127.0.0.1:{free_port()}" for name in ("check", "admin", "door", "spop")}
    second = tmp_path / "second"
    second.mkdir()
    file = written({**document, "listeners": {**others, **{key: document["listeners"][key] for key in shared}}}, second)
    async with running(document, tmp_path) as agent:
        (line,) = await refusal(second, file)
        assert all(f"listeners.{key} (" in line for key in shared)
        assert f"is taken by another Pointsman agent, process {agent.pid}" in line
        for address in agent.listeners.spop:
            async with Peer(address) as peer:
                await peer.opened()
        assert (await by_hand(agent, "status", "GET"))["up_s"] > 0
        with closing(socket.create_connection(("127.0.0.1", agent.listeners.check.port))) as asks:
            asks.sendall(b"g0\n")
            assert b"maxconn:" in asks.recv(100)


async def test_a_socket_where_none_can_be_is_refused(document, tmp_path):
    (tmp_path / "file").touch()
    document["listeners"]["spop"] = f"unix@{tmp_path}/file/spop.sock"
    (line,) = await refusal(tmp_path, written(document, tmp_path))
    assert line.startswith("Error: cannot listen: ")
    assert f"{tmp_path}/file" in line


async def test_a_bad_fleet_file_is_refused_with_all_that_is_wrong(tmp_path):
    file = tmp_path / "fleet.yaml"
    file.write_text("surprise: 1\ninstances:\n  - name: g 0\n    url: ftp://x\n")
    lines = await refusal(tmp_path, file)
    assert [line.removeprefix("Error: ").removeprefix(f"{file}:").split(" ")[0:2] for line in lines] == [
        ["1:", "surprise:"],
        ["3:", "instances[0].name:"],
        ["4:", "instances[0].url:"],
    ]


async def test_a_missing_fleet_file_is_named(tmp_path):
    (line,) = await refusal(tmp_path, tmp_path / "none.yaml")
    assert line.startswith(f"Error: {tmp_path}/none.yaml: cannot be read: No such file or directory")
