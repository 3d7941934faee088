import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from spoe_agent.telemetry.haproxy_log import HAProxyLog

DEADLINE_S = 30


class Log:
    """HAProxyLog on a real socket of its own; `send` is HAProxy."""

    def __init__(self, address, ended):
        self.address = address
        self._ended = ended

    def send(self, *datagrams):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for data in datagrams:
                sender.sendto(data if isinstance(data, bytes) else json.dumps(data).encode(), self.address)

    async def next(self):
        return await asyncio.wait_for(self._ended.get(), DEADLINE_S)


@asynccontextmanager
async def listening():
    ended = asyncio.Queue()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: HAProxyLog(ended.put_nowait), local_addr=("127.0.0.1", 0)
    )
    try:
        yield Log(transport.get_extra_info("sockname"), ended)
    finally:
        transport.close()


async def test_each_line_ends_its_request():
    async with listening() as log:
        log.send({"id": "a", "status": 200}, {"status": 503, "id": "b"})
        assert {await log.next(), await log.next()} == {"a", "b"}


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
    assert "127.0.0.1" in line["sender"]


def test_an_icmp_error_is_noted():
    with capture_logs() as logs:
        HAProxyLog(lambda request_id: None).error_received(ConnectionRefusedError("refused"))
    assert [line["error"] for line in logs] == ["refused"]
