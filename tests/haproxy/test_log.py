import asyncio
import json
import re
import socket
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from spoe_agent.agent.ending import Ending, Left, Line
from spoe_agent.fleet import loads as fleet_of
from spoe_agent.haproxy.log import HAProxyLog, read_line
from spoe_agent.haproxy.render import haproxy_files
from tests.loops import on_each_loop

DEADLINE_S = 30


def fields(request_id="a", **others):
    """What haproxy.cfg's log-format gives of one request, as far as it is read here."""
    usual = {"server": "g0", "status": 200, "termination": "--", "first_byte_ms": 250, "data_ms": 1750}
    return {"id": request_id, **usual, **others}


class Log:
    """HAProxyLog on a real socket of its own; `send` is HAProxy."""

    def __init__(self, host):
        self.host, self._ended = host, asyncio.Queue()
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 0))
        self.it = HAProxyLog(self.sock, lambda line: self._ended.put_nowait(line.request_id))

    def send(self, *datagrams):
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            for data in datagrams:
                line = data if isinstance(data, bytes) else json.dumps(data).encode()
                sender.sendto(line, self.sock.getsockname()[:2])

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
        log.send(fields("a"), fields("b", status=503))
        assert {await log.next(), await log.next()} == {"a", "b"}


@on_each_loop
async def test_a_burst_is_taken_in_its_order():
    ids = [f"r{number}" for number in range(200)]
    async with listening() as log:
        log.send(*(fields(one) for one in ids))
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
        log.send(fields("a"))
        assert await log.next() == "a"


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n"])
async def test_a_line_may_have_its_end(tail):
    async with listening() as log:
        log.send(json.dumps(fields("a")).encode() + tail)
        assert await log.next() == "a"


FOREIGN = [
    b"",
    b"<134>Nov 22 haproxy[1]: Connect from 127.0.0.1",
    b"\xff\xfe",
    b'{"id":"cut of',
    b"[]",
    b'"a"',
    {"no": "id"},
    {"id": "another program's"},
    fields(first_byte_ms=None),
    fields(data_ms="1"),
    fields(first_byte_ms=10**400),
    b"[" * 5000,
]


@pytest.mark.parametrize("data", FOREIGN)
async def test_what_is_no_requests_line_is_reported_once_and_does_no_harm(data):
    with capture_logs() as logs:
        async with listening() as log:
            log.send(data, data, fields("after"))
            assert await log.next() == "after"
    (line,) = logs
    assert line["log_level"] == "warning"
    assert line["size_bytes"] == len(data if isinstance(data, bytes) else json.dumps(data))


async def test_a_bug_of_ours_costs_no_other_line_and_is_said_once():
    ended = []

    def take(line):
        ended.append(line.request_id)
        if line.request_id != "after":
            raise OverflowError

    with capture_logs() as logs, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        log = HAProxyLog(sock, take)
        for name in ("a", "b", "after"):
            sender.sendto(json.dumps(fields(name)).encode(), sock.getsockname())
        log.read()
        sock.close()
    assert ended == ["a", "b", "after"]
    assert [(line["log_level"], line["exc_info"]) for line in logs] == [("error", True)]


NEWS = [
    b"Backup Server b/g0 is DOWN, reason: Layer4 connection problem.",
    b"Server b/g0 is DOWN (leaving forced drain).",
    b"Server b/g0 enters drain state. 0 active and 0 backup servers online.",
    b"backend b has no server available!",
    b"Proxy pointsman started.",
]


@pytest.mark.parametrize("data", NEWS)
async def test_haproxys_own_news_are_no_fault(data):
    with capture_logs() as logs:
        async with listening() as log:
            log.send(data, fields("after"))
            assert await log.next() == "after"
    assert logs == []


ENDINGS = {
    # what the line says -> seconds to the first byte, in all, whether it is one to learn from
    "streamed": ({}, 0.25, 2.0, True),
    "all at once": ({"first_byte_ms": 2000, "data_ms": 0}, 2.0, 2.0, True),
    "refused by Ollama": ({"status": 404}, 0.25, 2.0, False),
    "the client left": ({"termination": "CD"}, 0.25, 2.0, False),
    "the server died": ({"termination": "SD"}, 0.25, 2.0, False),
    "the client left before the headers": ({"termination": "CH", "first_byte_ms": -1}, -0.001, 1.749, False),
    "went around": ({"server": "again:1", "at": "g0", "retries": "+1"}, 0.25, 2.0, False),
    "never answered": ({"first_byte_ms": -1, "data_ms": -1, "server": "<NOSRV>"}, -0.001, -0.002, False),
}


@pytest.mark.parametrize(("said", "first_byte_s", "total_s", "is_whole"), ENDINGS.values(), ids=ENDINGS)
def test_how_a_request_ended(said, first_byte_s, total_s, is_whole):
    line = read_line(json.dumps(fields(**said)).encode())
    assert (line.request_id, line.server) == ("a", said.get("at", said.get("server", "g0")))
    assert (line.status, line.termination) == (said.get("status", 200), said.get("termination", "--"))
    ending = line.ending
    assert (ending.first_byte_s, ending.total_s) == pytest.approx((first_byte_s, total_s))
    assert (ending.is_whole, ending.is_rescued) == (is_whole, "at" in said)


LEFT = {
    "it stayed": ({}, None),
    "the instance broke off": ({"termination": "SD"}, None),
    "while it was held, which HAProxy sees at once": (
        {"termination": "LR", "status": 400, "reason": "left"},
        Left.BEFORE,
    ),
    "while it was held, which HAProxy sees when the slot is granted": ({"termination": "CC"}, Left.BEFORE),
    "in HAProxy's queue": ({"termination": "CQ"}, Left.BEFORE),
    "before the first token": ({"termination": "CH", "status": 499, "first_byte_ms": -1}, Left.UNANSWERED),
    "in the middle of the answer": ({"termination": "CD"}, Left.ANSWERED),
}


@pytest.mark.parametrize(("said", "left"), LEFT.values(), ids=LEFT)
def test_when_a_client_left(said, left):
    assert read_line(json.dumps(fields(**said)).encode()).ending.left is left


def test_what_haproxys_format_writes_is_read():
    """Each field that is read is one of the log-format's; numbers stand without quotes."""
    files = haproxy_files(fleet_of('instances: [{name: g0, url: "http://h:1"}]'))
    form = re.search(r"log-format '(.*)'", files["haproxy.cfg"])[1]
    values = {"%ID": "a", "%s": "g0", "%ST": "200", "%Tr": "250", "%Td": "1750", "%ts": "--", "%Ts": "17", "%ms": "250"}
    values |= {"%[var(proc.pm_process)]": "1-a", "%[var(txn.pm.error)]": "257", "%[var(txn.pm_at)]": "-"}
    text = re.sub(r"%(\[(?:[^][]|\[[^]]*\])*\]|\w+)", lambda found: values.get(found[0], "0"), form)
    told = {"process": "1-a", "begun_at_s": 17.25, "fell_back": True, "spoe_error": "257", "caller": "0", "name": "0"}
    assert read_line(text.encode()) == Line("a", "g0", Ending(0.25, 2.0, is_whole=True), **told)


FELL_BACK = {
    # what the line says -> whether HAProxy decided alone
    "asked": ({"reason": "loaded", "spoe_error": "-"}, False),
    "refused before it could ask": ({"reason": "-", "server": "<NOSRV>"}, False),
    "not answered": ({"reason": "fallback", "spoe_error": "1"}, True),
    "nobody to ask": ({"reason": "fallback", "spoe_error": "257", "termination": "CH"}, True),
    "the agent had no answer": ({"reason": "fallback", "spoe_error": "-"}, True),
    "one of two questions was lost": ({"reason": "loaded", "spoe_error": "1"}, True),
    "the client left while it was held": ({"reason": "fallback", "termination": "CQ", "spoe_error": "-"}, False),
    "the client left before the answer": ({"reason": "fallback", "termination": "CH", "spoe_error": "5"}, False),
    "the client left its stream": ({"reason": "fallback", "termination": "CD", "spoe_error": "-"}, True),
    "a front that does not say": ({}, False),
    "a front that does not say how it ended": ({"reason": "fallback", "termination": ""}, True),
    "the agent died over a body or a held request": ({"reason": "unread", "spoe_error": "257"}, True),
}


@pytest.mark.parametrize(("said", "fell_back"), FELL_BACK.values(), ids=FELL_BACK)
def test_who_decided(said, fell_back):
    assert read_line(json.dumps(fields(**said)).encode()).fell_back is fell_back
