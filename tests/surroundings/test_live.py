"""Who is there, of those whom a fleet file names: on real sockets."""

import socket
import sys
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from spoe_agent.fleet import loads
from spoe_agent.rig.process import Process, accepts, free_port, free_ports
from spoe_agent.simulator.server import SimulatedOllama
from spoe_agent.surroundings.remark import Level
from spoe_agent.surroundings.table import Depth, examine

PORTS = ("front", "again", "check", "admin", "door", "log")


class Bench:
    """A fleet on free ports, with a path for the agent's socket."""

    def __init__(self, folder, url=""):
        self.first = free_ports(len(PORTS))
        listeners = {key: f"127.0.0.1:{self.port(key)}" for key in PORTS} | {"spop": f"unix@{folder}/s"}
        text = ", ".join(f'{key}: "{at}"' for key, at in listeners.items())
        url = url or f"http://127.0.0.1:{free_port()}"
        self.fleet = loads(f"listeners: {{{text}}}\ninstances: [{{name: g0, url: '{url}'}}]")

    def port(self, key):
        return self.first + PORTS.index(key)

    async def found(self, word):
        """Return level and text of the remark that has a word."""
        (remark,) = [one for one in await examine(self.fleet, [Depth.LIVE]) if word in one.text]
        return remark.level, remark.text


@asynccontextmanager
async def serving(port, path, answer):
    async def handler(_):
        return answer

    app = web.Application()
    app.router.add_get(path, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def test_an_ollama_that_answers_is_named_with_its_version(tmp_path):
    ollama = SimulatedOllama()
    url = f"http://127.0.0.1:{await ollama.start()}"
    try:
        level, text = await Bench(tmp_path, url).found("g0: ")
    finally:
        await ollama.stop()
    assert (level, text) == (Level.OK, f"g0: Ollama 0.33.0 answers at {url}")


async def test_somebody_else_is_no_ollama(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    async with serving(int(url.rpartition(":")[2]), "/api/version", web.Response(status=404)):
        found = await Bench(tmp_path, url).found("g0: ")
    assert found == (Level.WRONG, f"g0: {url}: GET /api/version answered 404")


async def test_an_agent_that_answers_has_its_ports_and_lacks_those_of_another_file(tmp_path):
    bench = Bench(tmp_path)
    async with serving(bench.port("admin"), "/status", web.json_response({"grants": 0})):
        remarks = await examine(bench.fleet, [Depth.LIVE])
    found = {one.text.partition(" ")[0]: one.level for one in remarks if one.text.startswith("listeners.")}
    assert found.pop("listeners.admin") is Level.OK
    assert {found.pop(f"listeners.{key}") for key in ("front", "again")} == {Level.NOTE}
    assert set(found.values()) == {Level.WRONG}


async def test_an_agent_that_hangs_is_told_from_one_of_another_file(tmp_path):
    """Known by its command line; this one takes connections, and answers nothing."""
    bench = Bench(tmp_path)
    port = bench.port("admin")
    (tmp_path / "pointsman").symlink_to(sys.executable)
    script = f"import socket, time; sock = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
    async with Process("agent", [tmp_path / "pointsman", "-c", script, "serve"], tmp_path) as agent:
        await agent.ready(lambda: accepts("127.0.0.1", port))
        remarks = await examine(bench.fleet, [Depth.LIVE])
    (admin,) = [one for one in remarks if one.text.startswith("listeners.admin ")]
    assert admin.level is Level.WRONG
    assert f"the agent, process {agent.pid}, is there and does not answer" in admin.text
    (door,) = [one for one in remarks if one.text.startswith("listeners.door ")]
    assert "does not listen here" in door.text


@pytest.mark.parametrize(
    ("key", "family", "kind"),
    [
        ("front", socket.AF_INET, socket.SOCK_STREAM),
        ("again", socket.AF_INET, socket.SOCK_STREAM),
        ("check", socket.AF_INET, socket.SOCK_STREAM),
        ("log", socket.AF_INET, socket.SOCK_DGRAM),
        ("spop", socket.AF_UNIX, socket.SOCK_STREAM),
    ],
)
async def test_a_port_that_somebody_else_has_is_wrong_and_says_who(tmp_path, key, family, kind):
    bench = Bench(tmp_path)
    before = await bench.found(f"listeners.{key} ")
    with socket.socket(family, kind) as taken:
        taken.bind(f"{tmp_path}/s" if family == socket.AF_UNIX else ("127.0.0.1", bench.port(key)))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        level, text = await bench.found(f"listeners.{key} ")
    assert before[0] is Level.NOTE
    assert level is Level.WRONG
    assert " is taken by process " in text


async def test_haproxys_way_to_each_instance_behind_a_proxy_is_looked_at_too(tmp_path):
    """HAProxy does not start when one of these ports is taken."""
    first = free_ports(2)
    urls = [f"http://127.0.0.1:{free_port()}/ollama" for _ in range(2)]
    instances = ", ".join(f"{{name: g{number}, url: '{url}'}}" for number, url in enumerate(urls))
    bench = Bench(tmp_path)
    listeners = loads(f"listeners: {{onward: '127.0.0.1:{first}'}}\ninstances: [{instances}]")
    bench.fleet = bench.fleet.model_copy(update={"instances": listeners.instances})
    with socket.create_server(("127.0.0.1", first + 1)):
        remarks = [
            (one.level, one.text) for one in await examine(bench.fleet, [Depth.LIVE]) if "listeners.onward" in one.text
        ]
    (free, told), (level, text) = remarks
    assert (free, f"127.0.0.1:{first}) is free" in told) == (Level.NOTE, True)
    assert (level, f"127.0.0.1:{first + 1}) is taken by process" in text) == (Level.WRONG, True)


async def test_an_address_of_another_host_cannot_be_had(tmp_path):
    bench = Bench(tmp_path)
    front = bench.fleet.listeners.model_copy(update={"front": loads(FAR).listeners.front})
    bench.fleet = bench.fleet.model_copy(update={"listeners": front})
    level, text = await bench.found("listeners.front ")
    assert (level, "is not to be had: " in text) == (Level.WRONG, True)


# Of nobody (RFC 5737).
FAR = 'listeners: {front: "192.0.2.1:11434", insecure: true}\ninstances: [{name: a, url: "http://h:1"}]'
