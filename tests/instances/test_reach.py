"""How an instance is asked: whose Host, which certificates, which connections."""

import socket
import ssl
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver

from spoe_agent.fleet import FleetError, loads
from spoe_agent.instances.http import get
from spoe_agent.instances.reach import reach
from spoe_agent.rig.process import free_port
from tests.tls import Authority


def instance(url, **keys):
    (found,) = loads(
        f"instances: [{{name: g0, url: '{url}', {', '.join(f'{k}: {v}' for k, v in keys.items())}}}]"
    ).instances
    return found


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://127.0.0.1:11435", {"Host": "localhost"}),
        ("http://localhost:11435", {"Host": "localhost"}),
        ("http://gpu-box:11435", {"Host": "localhost", "Connection": "close"}),
        ("https://gpu-box:443", {"Host": "gpu-box", "Connection": "close"}),
        ("https://gpu-box:8443/ollama", {"Host": "gpu-box:8443", "Connection": "close"}),
        ("http://10.0.0.7:80/ollama", {"Host": "10.0.0.7"}),
        ("http://[::1]:8080/ollama", {"Host": "[::1]:8080"}),
    ],
)
def test_whom_it_is_asked_for(url, headers):
    remote = reach(instance(url))
    assert (remote.url, remote.headers, remote.tls) == (url, headers, True)


def test_certificates_of_ones_own(tmp_path):
    remote = reach(instance("https://gpu-box:443", ca_file=Authority(tmp_path).file))
    assert isinstance(remote.tls, ssl.SSLContext)
    assert [one["subject"] for one in remote.tls.get_ca_certs()] == [((("commonName", "tests"),),)]


@pytest.mark.parametrize(("text", "said"), [(None, "No such file or directory"), ("x", "has no certificate in PEM")])
def test_a_ca_file_of_no_use(tmp_path, text, said):
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(FleetError) as refused:
        reach(instance("https://gpu-box:443", ca_file=file))
    assert str(refused.value).startswith(f"{file}: {said}; it is the ca_file of g0")


class Resolver(AbstractResolver):
    """Every name leads to `host`."""

    host = "127.0.0.1"

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [{"hostname": host, "host": self.host, "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self):
        pass


async def test_a_name_that_leads_elsewhere_is_followed_though_both_answer():
    resolver, port = Resolver(), free_port()
    async with AsyncExitStack() as stack:
        for host in ("127.0.0.1", "127.0.0.2"):

            async def answer(_, host=host):
                return web.Response(text=host)

            app = web.Application()
            app.router.add_get("/", answer)
            runner = web.AppRunner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, host, port).start()
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        remote = reach(instance(f"http://ollama.example:{port}"))
        for host in ("127.0.0.1", "127.0.0.2"):
            resolver.host = host
            assert (await get(session, remote, "/")).body == host.encode()
