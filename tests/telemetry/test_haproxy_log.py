import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from spoe_agent.telemetry.haproxy_log import HAProxyLog

from ..loops import on_each_loop

DEADLINE_S = 30


class Log:
    """HAProxyLog on a real socket of its own; `send` is HAProxy."""

    def __init__(self, host):
        self.host, self._ended = host, asyncio.Queue()
        self.it = HAProxyLog(host, 0, self._ended.put_nowait)

    def send(self, *datagrams):
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            for data in datagrams:
                line = data if isinstance(data, bytes) else json.dumps(data).encode()
                sender.sendto(line, (self.host, self.it.port))

    async def next(self):
        return await asyncio.wait_for(self._ended.get(), DEADLINE_S)


@asynccontextmanager
async def listening(host="127.0.0.1"):
    log = Log(host)
    log.it.start()
    try:
        yield log
    finally:
        log.it.close()


async def test_each_line_ends_its_request():
    async with listening() as log:
        log.send({"id": "a", "status": 200}, {"status": 503, "id": "b"})
        assert {await log.next(), await log.next()} == {"a", "b"}


@on_each_loop
async def test_a_burst_is_taken_in_its_order():
    ids = [f"r{number}" for number in range(200)]
    async with listening() as log:
        log.send(*({"id": one} for one in ids))
        assert [await log.next() for _ in ids] == ids


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_over_ipv6():
    async with listening("::1") as log:
        log.send({"id": "a"})
        assert await log.next() == "a"


def test_an_address_in_use_is_named():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"in use: UDP port {port} of 127.0.0.1"):
            HAProxyLog("127.0.0.1", port, print)


async def test_the_address_is_free_afterwards():
    async with listening() as log:
        port = log.it.port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as successor:
        successor.bind(("127.0.0.1", port))


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n"])
async def test_a_line_may_have_its_end(tail):
    async with listening() as log:
        log.send(b'{"id":"a"}' + tail)
        assert await log.next() == "a"


FOREIGN = [
    b"",
    b"<134>Nov 22 haproxy[1]: Connect from 127.0.0.1",
    b"\xff\xfe",
    b'{"id":"cut of',
    b"[]",
    b'"a"',
    {"no": "id"},
    {"id": None},
    {"id": 7},
    b"[" * 5000,
]


@pytest.mark.parametrize("data", FOREIGN)
async def test_what_is_no_requests_line_is_reported_once_and_does_no_harm(data):
    with capture_logs() as logs:
        async with listening() as log:
            log.send(data, data, {"id": "after"})
            assert await log.next() == "after"
    (line,) = logs
    assert line["log_level"] == "warning"
    assert line["size_bytes"] == len(data if isinstance(data, bytes) else json.dumps(data))
