"""Whose request it is. HAProxy itself, with the rules of haproxy.cfg, finds the same."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import pytest

from spoe_agent.fleet import loads
from spoe_agent.haproxy.render import haproxy_files
from spoe_agent.requests.caller import Credentials, caller_of, key_hash
from spoe_agent.rig.process import Process, accepts, free_port
from tests.haproxy.test_render import on_each_haproxy

TRUSTED = ("127.0.0.0/8", "10.0.0.0/8", "2001:db8:1::/48")
FLEET = f'instances: [{{name: g0, url: "http://127.0.0.1:1"}}]\npolicies: {{trusted_proxies: {list(TRUSTED)}}}'
PEER = "127.0.0.1"
SESAME, USER = "5303568800376557718", "-1271028666801553026"
"""Of `sesame` and `u:p`, as HAProxy 2.6, 3.0 and 3.2 said."""

KEYS = [
    ({"Authorization": "Bearer sesame"}, SESAME),
    ({"Authorization": "bearer  sesame "}, SESAME),
    ({"Authorization": "Bearer a b"}, "-9203958345980433332"),
    ({"x-api-key": "sesame"}, SESAME),
    ({"x-api-key": "a,b"}, "-2715682675511314434"),
    ({"x-api-key": "other", "Authorization": "Bearer sesame"}, SESAME),
    ({"x-api-key": "sesame", "Authorization": "Basic dTpw"}, SESAME),
    ({"Authorization": "Basic dTpw"}, USER),
    ({"Authorization": "basic  dTpw"}, USER),
    ({"Authorization": "Basic w7xzZXI6cMOkc3M="}, "-2765544425805198852"),
    ({"Authorization": "Bearer sesame", "X-Forwarded-For": "1.2.3.4"}, SESAME),
    ({}, PEER),
    ({"x-api-key": ""}, PEER),
    ({"Authorization": ""}, PEER),
    ({"Authorization": "Bearer"}, PEER),
    ({"Authorization": "Basic"}, PEER),
    ({"Authorization": "Basic !!"}, PEER),
    ({"Authorization": "Basic dTpwYQ"}, PEER),
    ({"Authorization": "Token sesame"}, PEER),
    ({"Authorization": "sesame"}, PEER),
]
ADDRESSES = [
    ({"X-Forwarded-For": "1.2.3.4"}, "1.2.3.4"),
    ({"X-Forwarded-For": "1.2.3.4:55"}, "1.2.3.4"),
    ({"X-Forwarded-For": "2001:DB8:0::1"}, "2001:db8::1"),
    ({"X-Forwarded-For": "9.9.9.9, 1.2.3.4, 10.0.0.1"}, "1.2.3.4"),
    ({"X-Forwarded-For": "9.9.9.9,2001:db8:1::5"}, "9.9.9.9"),
    ({"X-Forwarded-For": "8.8.8.8,7.7.7.7,10.0.0.3,10.0.0.2,10.0.0.1"}, "7.7.7.7"),
    ({"X-Forwarded-For": "8.8.8.8,10.0.0.4,10.0.0.3,10.0.0.2,10.0.0.1"}, "10.0.0.4"),
    ({"X-Forwarded-For": "10.0.0.1"}, "10.0.0.1"),
    ({"X-Forwarded-For": "1.2.3.4, garbage, 10.0.0.1"}, "10.0.0.1"),
    ({"X-Forwarded-For": "1.2.3.4, unknown"}, PEER),
    ({"X-Forwarded-For": "1.2.3.4,"}, PEER),
    ({"X-Forwarded-For": "1.2.3"}, PEER),
    ({"X-Forwarded-For": "9.9.9.9", "Forwarded": "for=1.2.3.4"}, "9.9.9.9"),
    ({"Forwarded": "for=1.2.3.4"}, "1.2.3.4"),
    ({"Forwarded": "for=1.2.3.4:80;proto=http"}, "1.2.3.4"),
    ({"Forwarded": 'proto=https;For="[2001:db8::1]:4711"'}, "2001:db8::1"),
    ({"Forwarded": 'by="a,b";for="1.2.3.4"'}, "1.2.3.4"),
    ({"Forwarded": "for=9.9.9.9, for=1.2.3.4;by=x, for=10.0.0.1"}, "1.2.3.4"),
    ({"Forwarded": "for=1.2.3.4, for=unknown"}, PEER),
    ({"Forwarded": "for=_hidden"}, PEER),
    ({"Forwarded": "xfor=1.2.3.4"}, PEER),
    ({"Forwarded": "nonsense"}, PEER),
]
CALLERS = KEYS + ADDRESSES


def credentials(headers, peer=PEER):
    found = {name.lower(): value for name, value in headers.items()}
    names = ("authorization", "x-api-key", "x-forwarded-for", "forwarded")
    return Credentials(peer, *(found.get(name, "") for name in names))


@pytest.mark.parametrize(("headers", "caller"), CALLERS)
def test_callers(headers, caller):
    assert caller_of(credentials(headers), [ip_network(one) for one in TRUSTED]) == caller


@pytest.mark.parametrize("headers", [headers for headers, _ in ADDRESSES])
def test_only_trusted_proxies_are_believed(headers):
    assert caller_of(credentials(headers)) == PEER
    assert caller_of(credentials(headers, "192.0.2.1"), [ip_network("10.0.0.0/8")]) == "192.0.2.1"
    assert caller_of(credentials(headers, ""), [ip_network("0.0.0.0/0")]) == ""


def test_keys_are_not_shown():
    assert "secret" not in caller_of(credentials({"Authorization": "Bearer secret"}))


def test_hashes_are_signed():
    assert (key_hash("sesame"), key_hash("u:p")) == (SESAME, USER)


@asynccontextmanager
async def haproxy(binary: str, folder: Path) -> AsyncIterator[str]:
    """Yield the URL of a HAProxy that answers with the caller that the rendered rules find."""
    text = haproxy_files(loads(FLEET))["haproxy.cfg"]
    rules = re.findall(
        r"^    (acl from_proxy .*|http-request set-src .*|http-request set-var\(txn\.pm_caller\) .*)$", text, re.M
    )
    port = free_port()
    joined = "\n    ".join(rules)
    (folder / "callers.cfg").write_text(f"""
defaults
    mode http
    timeout client 30s
frontend callers
    bind {PEER}:{port}
    {joined}
    http-request return status 200 content-type text/plain lf-string "%[var(txn.pm_caller)]"
""")
    async with Process("haproxy", [binary, "-db", "-f", folder / "callers.cfg"], folder) as process:
        await process.ready(lambda: accepts(PEER, port))
        yield f"http://{PEER}:{port}/"


@on_each_haproxy
async def test_haproxy_finds_the_same_callers(binary: str, tmp_path: Path) -> None:
    """On one connection, as proxies do it: what one request says does not stick to the next."""
    found = []
    connector = aiohttp.TCPConnector(limit=1)
    async with haproxy(binary, tmp_path) as url, aiohttp.ClientSession(connector=connector) as session:
        for headers, _ in CALLERS:
            async with session.get(url, headers=headers) as response:
                found.append((headers, await response.text()))
    assert found == CALLERS
