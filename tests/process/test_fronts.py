"""Who is in HAProxy's way, with real processes: one that goes by the name of HAProxy, and this one."""

import os
import socket
import sys
from contextlib import asynccontextmanager, closing

import pytest

from spoe_agent.fleet import loads
from spoe_agent.haproxy.render import haproxy_files
from spoe_agent.process.fronts import fronts, in_the_way, listening
from spoe_agent.rig.process import Process, accepts, free_port, free_ports

LISTENER = """
import socket, time
socks = [socket.create_server(("127.0.0.1", port)) for port in {ports}]
time.sleep(60)
"""


class Bench:
    def __init__(self, host="127.0.0.1", **ports):
        self.ports = {"front": free_port(), "again": free_port(), "peers": free_port(), "onward": free_ports(2)} | ports
        listeners = ", ".join(f'{key}: "{host}:{port}"' for key, port in self.ports.items())
        instances = '[{name: a, url: "https://h.example:443"}, {name: b, url: "http://h:1"}]'
        keys = "keys: {file: /nowhere/keys.json}"
        self.fleet = loads(f"listeners: {{{listeners}, trusted_network: true}}\n{keys}\ninstances: {instances}")

    @property
    def config(self):
        return haproxy_files(self.fleet)["haproxy.cfg"]


@asynccontextmanager
async def haproxy(folder, *ports, name="haproxy"):
    """A process of that name which listens."""
    folder.mkdir(exist_ok=True)
    script = folder / "listen.py"
    script.write_text(LISTENER.format(ports=ports))
    (folder / name).symlink_to(sys.executable)
    async with Process(name, [folder / name, script], folder) as process:
        for port in ports:
            await process.ready(lambda port=port: accepts("127.0.0.1", port))
        yield process


def test_what_was_rendered_is_read_again():
    bench = Bench()
    assert [place.listen for place in fronts(bench.fleet)] == listening(bench.config)
    assert [place.listen.port for place in fronts(bench.fleet)] == list(bench.ports.values())


@pytest.mark.parametrize("key", ["front", "again", "peers", "onward"])
def test_whoever_listens_is_named(key):
    before, bench = Bench(), Bench()
    assert in_the_way(bench.fleet, before.config) == []
    with closing(socket.create_server(("127.0.0.1", bench.ports[key]))):
        (said,) = in_the_way(bench.fleet, before.config)
        assert in_the_way(bench.fleet, bench.config) == [], "HAProxy has it, or who passes on to it"
    assert said.startswith(f"listeners.{key} (TCP 127.0.0.1:{bench.ports[key]}) is taken by process {os.getpid()} (")


async def test_haproxy_is_not_in_its_own_way(tmp_path):
    bench = Bench()
    wider = Bench("0.0.0.0", **bench.ports)
    async with haproxy(tmp_path, *bench.ports.values()):
        assert in_the_way(bench.fleet, bench.config) == []
        assert in_the_way(bench.fleet, "") == [], "which one it is cannot be known"
        assert in_the_way(wider.fleet, bench.config) == []


async def test_another_haproxy_is(tmp_path):
    """Two of them may share a port (SO_REUSEPORT), and each would get some of the connections."""
    before, bench = Bench(), Bench()
    async with haproxy(tmp_path, before.ports["front"]), haproxy(tmp_path / "other", bench.ports["front"]) as other:
        (said,) = in_the_way(bench.fleet, before.config)
    assert said.endswith(f"is taken by process {other.pid} (haproxy)")


async def test_who_passes_on_to_a_container_is_not(tmp_path):
    bench = Bench()
    async with haproxy(tmp_path, bench.ports["front"], name="docker-proxy"):
        assert in_the_way(bench.fleet, "") == []
