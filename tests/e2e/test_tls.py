"""TLS where clients connect."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.process import free_port
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import stack_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate for localhost with its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", folder / "k", "-out", folder / "c"], check=True, capture_output=True)
    (folder / "front.pem").write_bytes((folder / "c").read_bytes() + (folder / "k").read_bytes())
    return folder / "front.pem"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def covered(binary: str, pem: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    tls = {"certificate": str(pem), "redirect_from": f"127.0.0.1:{free_port()}"}
    simulated = Simulated(instances=1, models=(("alpha:latest", "1GB"),))
    async with stack_of(binary, tmp_path_factory.mktemp("covered"), simulated, {"tls": tls}) as running:
        yield running


def trusting(pem: Path, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pem))
    context.set_alpn_protocols(["h2", "http/1.1"])
    if version is not None:
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


async def test_clients_are_served(covered: Stack, pem: Path, session: aiohttp.ClientSession) -> None:
    url = f"https://localhost:{covered.fleet.listeners.front.port}/api/tags"
    async with session.get(url, ssl=ssl.create_default_context(cafile=str(pem))) as answer:
        assert (await answer.json())["models"][0]["name"] == "alpha:latest"


@pytest.mark.parametrize("version", [None, ssl.TLSVersion.TLSv1_1])
async def test_http_2_is_offered_and_nothing_before_tls_1_2(
    covered: Stack, pem: Path, version: ssl.TLSVersion | None
) -> None:
    address = "127.0.0.1", covered.fleet.listeners.front.port
    with pytest.warns(DeprecationWarning) if version else nullcontext():
        context = trusting(pem, version)
    with socket.create_connection(address, timeout=20) as plain:
        if version is None:
            with context.wrap_socket(plain, server_hostname="localhost") as covering:
                assert covering.selected_alpn_protocol() == "h2"
                return
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="localhost")


async def test_plain_http_is_told_to_come_back(covered: Stack, session: aiohttp.ClientSession) -> None:
    assert covered.fleet.tls is not None and covered.fleet.tls.redirect_from is not None
    url = f"http://localhost:{covered.fleet.tls.redirect_from.port}/api/chat?x=1"
    async with session.post(url, json={}, allow_redirects=False) as answer:
        assert answer.status == 308
        assert answer.headers["Location"] == f"https://localhost:{covered.fleet.listeners.front.port}/api/chat?x=1"
