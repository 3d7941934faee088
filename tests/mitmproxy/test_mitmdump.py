"""A real mitmdump with the addon, before upstreams whose every byte is scripted."""

import asyncio
import json
import random
import re
import signal
import socket
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp
import pytest
import yaml
from h2.connection import H2Connection
from h2.events import ResponseReceived

from spoe_agent.fleet import load
from spoe_agent.mitmproxy.command import SCRIPT
from spoe_agent.rig.haproxy import front_is_ready
from spoe_agent.rig.mitmproxy import find_mitmdump
from spoe_agent.rig.process import Process, accepts, free_port
from tests.mitmproxy.upstream import STREAM, Client, Upstream, ask, chunked

NO_MODEL = b'{"model":"nobody"}'
LARGE_PIECE = 1 << 20


class Front:
    """mitmdump on a fleet of these upstreams; the file can be rewritten while it runs."""

    def __init__(self, folder, ports, options=(), **settings):
        self.folder, self.port, self.options = Path(folder), free_port(), options
        self.file = self.folder / "fleet.yaml"
        self.write(ports, **settings)

    def write(self, ports, **settings):
        instances = [{"name": f"gpu{n}", "url": f"http://127.0.0.1:{port}"} for n, port in enumerate(ports)]
        listeners = {"front": f"127.0.0.1:{self.port}"}
        self.file.write_text(yaml.safe_dump({"listeners": listeners, "instances": instances, **settings}))

    async def __aenter__(self):
        command = [find_mitmdump(), "-s", SCRIPT, *self.options, "--set", f"pointsman_fleet={self.file}"]
        self.process = await Process("mitmdump", command, self.folder).__aenter__()
        await self.process.ready(lambda: front_is_ready(load(self.file)))
        return self

    async def __aexit__(self, *exc):
        await self.process.stop()

    def peak_bytes(self):
        """Return the most memory it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


@pytest.fixture
async def running(tmp_path):
    """Return a function that starts what it is given and ends it with the test."""
    async with AsyncExitStack() as stack:

        async def start(*scripts, **settings):
            ups = [await stack.enter_async_context(Upstream(script)) for script in scripts]
            front = await stack.enter_async_context(Front(tmp_path, [up.port for up in ups], **settings))
            return front, ups

        yield start


async def until(condition, deadline_s=20):
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.02)


async def says_ok(head, body, writer):
    writer.write(STREAM + chunked(b'{"done":true}\n') + b"0\r\n\r\n")


async def hangs_up(head, body, writer):
    writer.close()


def script_of(pieces, pause_s):
    """Send the pieces as one chunk each, with pauses that let some of them meet on the way."""

    async def stream(head, body, writer):
        source = random.Random(body)
        writer.write(STREAM)
        for piece in pieces:
            writer.write(chunked(piece))
            await writer.drain()
            if source.random() < 0.5:
                await asyncio.sleep(source.random() * pause_s)
        writer.write(b"0\r\n\r\n")

    return stream


PIECES = [b'{"n":%d,"x":"%s"}\n' % (n, b"y" * (n * 37 % 300)) for n in range(300)]


async def test_fifty_streams_at_once_arrive_chunk_by_chunk(running):
    front, (up,) = await running(script_of(PIECES, 0.02), defaults={"num_parallel": 50})
    wave = [json.dumps({"model": "alpha", "n": n}).encode() for n in range(50)]
    answers = await asyncio.gather(*(ask(front.port, body) for body in wave))
    assert up.peak == 50
    assert {answer.headers["x-pointsman"] for answer in answers} == {"gpu0 loaded"}
    for answer in answers:
        assert answer.body == b"".join(PIECES)
        # Where TCP cuts a chunk it may arrive in two; never is one joined with the next.
        assert all(chunk.count(b"\n") <= 1 and b"\n" not in chunk[:-1] for chunk in answer.chunks)


async def test_bodies_are_not_kept(running):
    """Fifty streams of 2 MB at once: what is on the way stays, some 25 MB, not what has passed."""
    front, _ = await running(script_of([b"y" * 16_000] * 128, 0.001), defaults={"num_parallel": 50})
    await ask(front.port)
    before = front.peak_bytes()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(front.port)) for _ in range(50)]
    assert {len(task.result().body) for task in tasks} == {16_000 * 128}
    assert front.peak_bytes() - before < 60_000_000


@pytest.mark.parametrize(("settings", "status"), [("keys", 401), ("policies", 413)])
async def test_of_a_body_that_is_refused_nothing_is_kept(running, tmp_path, settings, status):
    """Also where its size is not said beforehand, and is too large."""
    keys, policies = {"file": str(tmp_path / "keys.json")}, {"max_body": "1MiB"}
    front, _ = await running(says_ok, **{settings: keys if settings == "keys" else policies})
    before = front.peak_bytes()

    async def pieces():
        for _ in range(64):
            yield b" " * LARGE_PIECE

    url = f"http://127.0.0.1:{front.port}/api/chat"
    async with aiohttp.ClientSession() as session, session.post(url, data=pieces()) as answer:
        assert answer.status == status
    assert front.peak_bytes() - before < 16 * LARGE_PIECE


async def test_the_first_chunk_does_not_wait_for_the_second(running):
    go_on = asyncio.Event()

    async def waits(head, body, writer):
        writer.write(STREAM + chunked(b"one\n"))
        await go_on.wait()
        writer.write(chunked(b"two\n") + b"0\r\n\r\n")

    front, _ = await running(waits)
    async with Client(front.port) as client:
        await client.send()
        assert (await client.head())[0] == 200
        assert await client.chunk() == b"one\n"
        go_on.set()
        assert await client.chunk() == b"two\n"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"error": "{}"}),
        ("/v1/chat/completions", {"error": {"message": "{}", "type": "api_error", "param": None, "code": None}}),
    ],
)
async def test_an_instance_that_hangs_up_is_told_in_the_callers_dialect(running, path, body):
    front, _ = await running(hangs_up)
    answer = await ask(front.port, path=path)
    said = "the Ollama instance closed the connection before it answered"
    assert answer.status == 502
    assert json.loads(answer.body) == json.loads(json.dumps(body).replace("{}", said))
    assert answer.headers["x-pointsman"] == "gpu0 loaded"


async def test_a_stream_that_breaks_off_breaks_off(running):
    async def breaks(head, body, writer):
        writer.write(STREAM + chunked(b"one\n"))
        await writer.drain()
        writer.close()

    front, (up,) = await running(breaks)
    async with Client(front.port) as client:
        await client.send()
        assert (await client.head())[0] == 200
        assert await client.chunk() == b"one\n"
        assert await client.reader.read() == b""
    await until(lambda: up.busy == 0)


async def test_no_request_fails_when_an_instance_goes(running):
    front, ups = await running(says_ok, says_ok)
    for _ in range(10):
        await ask(front.port)
    ups[0].stop()
    answers = [await ask(front.port) for _ in range(20)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.headers["x-pointsman"].split()[0] for answer in answers} == {"gpu1"}


async def test_no_more_than_its_limit_at_a_time(running):
    turn = asyncio.Semaphore(0)

    async def slow(head, body, writer):
        await turn.acquire()
        await says_ok(head, body, writer)

    front, (up,) = await running(slow, defaults={"num_parallel": 2, "max_connections": 2})
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(front.port)) for _ in range(6)]
        await until(lambda: up.busy == 2)
        for _ in tasks:
            turn.release()
    assert {task.result().status for task in tasks} == {200}
    assert (up.served, up.peak) == (6, 2)


async def test_http2_without_tls_has_no_other_limit(running):
    """mitmproxy alone would open 5 connections for one client, and know HTTP/2 only by TLS."""
    turn = asyncio.Event()

    async def slow(head, body, writer):
        await turn.wait()
        await says_ok(head, body, writer)

    front, (up,) = await running(slow, defaults={"num_parallel": 8})
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    session = H2Connection()
    session.initiate_connection()
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", "/api/chat")]
    for stream in range(1, 17, 2):
        session.send_headers(stream, head)
        session.send_data(stream, b'{"model":"alpha"}', end_stream=True)
    writer.write(session.data_to_send())
    await until(lambda: up.busy == 8)
    turn.set()
    statuses = {}
    async with asyncio.timeout(20):
        while len(statuses) < 8:
            for event in session.receive_data(await reader.read(65536)):
                if isinstance(event, ResponseReceived):
                    statuses[event.stream_id] = dict(event.headers)[b":status"]
            writer.write(session.data_to_send())
    writer.close()
    assert set(statuses.values()) == {b"200"}


async def test_who_leaves_the_line_is_never_sent(running):
    turn = asyncio.Event()

    async def slow(head, body, writer):
        await turn.wait()
        await says_ok(head, body, writer)

    front, (up,) = await running(slow, defaults={"max_connections": 1})
    async with Client(front.port) as first:
        await first.send()
        await until(lambda: up.busy == 1)
        async with Client(front.port) as second:
            await second.send()
        turn.set()
        assert (await first.answer()).status == 200
    assert (await ask(front.port)).status == 200
    assert len(up.heads) == 2


async def test_who_leaves_a_stream_frees_the_instance(running):
    async def endless(head, body, writer):
        writer.write(STREAM)
        while True:
            writer.write(chunked(b"more\n"))
            await writer.drain()
            await asyncio.sleep(0.01)

    front, (up,) = await running(endless, defaults={"max_connections": 1})
    for _ in range(3):
        async with Client(front.port) as client:
            await client.send()
            await client.head()
            await client.chunk()
        await until(lambda: up.busy == 0)


async def test_bodies_of_any_size_and_blobs_pass(running):
    sizes = []

    async def measures(head, body, writer):
        sizes.append(len(body))
        await says_ok(head, body, writer)

    front, _ = await running(measures)
    body = json.dumps({"messages": "x" * 8_000_000, "model": "alpha"}).encode()
    assert (await ask(front.port, body)).status == 200
    assert (await ask(front.port, b"\0" * 3_000_000, path="/api/blobs/sha256:0")).status == 200
    assert sizes == [len(body), 3_000_000]


async def test_an_edited_fleet_file_takes_effect_and_a_bad_one_does_not(running):
    front, ups = await running(says_ok, says_ok)
    ports = [up.port for up in ups]
    pins = [{"match": "alpha", "instances": ["gpu1"]}]
    front.write(ports, models=pins)

    async def to():
        return (await ask(front.port)).headers["x-pointsman"].split()[0]

    async with asyncio.timeout(20):
        while {await to() for _ in range(8)} != {"gpu1"}:
            await asyncio.sleep(0.1)
    front.file.write_text("instances: 7\n")
    await until(lambda: f"{front.file}:1: instances" in front.process.output.read_text())
    assert await to() == "gpu1"
    front.port = free_port()
    front.write(ports, models=pins)
    await front.process.ready(lambda: front_is_ready(load(front.file)))
    assert await to() == "gpu1"


async def test_mitmwebs_options_say_what_is_wrong_with_a_fleet_file(tmp_path):
    front, port = Front(tmp_path, [1]), free_port()
    web = ("--web-port", str(port), "--no-web-open-browser", "--set", "web_password=secret")
    options = ("-s", SCRIPT, *web, "--set", f"pointsman_fleet={front.file}")
    bad = tmp_path / "bad.yaml"
    bad.write_text("instances: 7\n")
    # The cookie is called so up to mitmproxy 11, and so from 12 on.
    cookies = "_xsrf=aa; _mitmproxy_xsrf=aa"
    headers = {"Authorization": "Bearer secret", "X-XSRFToken": "aa", "Cookie": cookies}
    async with (
        Process("mitmweb", [Path(find_mitmdump()).with_name("mitmweb"), *options], tmp_path) as process,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as session,
    ):
        await process.ready(lambda: front_is_ready(load(front.file)))
        async with session.put("/options", json={"pointsman_fleet": str(bad)}) as answer:
            assert answer.status == 400
            assert (await answer.text()).startswith(f"{bad}:1: instances: must be a list, not 7")
        async with session.get("/options") as answer:
            assert (await answer.json())["pointsman_fleet"]["value"] == str(front.file)
        assert await accepts("127.0.0.1", front.port)


async def ends_with(folder, *options):
    command = [find_mitmdump(), "-s", SCRIPT, *options]
    async with Process("mitmdump", command, folder) as process:
        async with asyncio.timeout(30):
            status = await process.wait()
        return status, process.output.read_text()


async def test_it_does_not_start_without_a_fleet_file(tmp_path):
    status, said = await ends_with(tmp_path, "--set", f"pointsman_fleet={tmp_path / 'none.yaml'}")
    assert status == 1
    assert f"{tmp_path / 'none.yaml'}: cannot be read: No such file or directory" in said
    assert "listening" not in said
    assert "Traceback" not in said


async def test_it_says_how_mitmproxy_is_told_the_fleet_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, said = await ends_with(tmp_path)
    assert status == 1
    assert "no fleet file: looked for fleet.yaml and " in said
    assert "; name one with --set pointsman_fleet=FILE, or have `pointsman init` write one" in said
    assert "--fleet" not in said
    assert "listening" not in said


def listening_ports(pid):
    """Return the TCP ports on which a process listens, with their addresses in hexadecimal (proc(5), net/tcp)."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            inodes.add(str(entry.readlink()))
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()]
    return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}


async def test_it_listens_nowhere_else_not_even_while_it_starts(tmp_path):
    """mitmproxy's own port is one that somebody has: to open it, and close it later, would end mitmproxy."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        own = str(taken.getsockname()[1])
        async with Front(tmp_path, [1], options=("-p", own)) as front:
            await until(lambda: f"listening at 127.0.0.1:{front.port}." in front.process.output.read_text())
            assert front.process.output.read_text().count("listen") == 1
            assert listening_ports(front.process.pid) == {f"0100007F:{front.port:04X}"}


async def test_it_listens_where_the_user_says(tmp_path):
    front, port = Front(tmp_path, [1]), free_port()
    mode = ("--mode", f"reverse:http://127.0.0.1:{port}@127.0.0.1:{port}", "--set", f"pointsman_fleet={front.file}")
    async with Process("mitmdump", [find_mitmdump(), "-s", SCRIPT, *mode], tmp_path) as process:
        await process.ready(lambda: accepts("127.0.0.1", port))
        await until(lambda: "Pointsman routes to gpu0" in process.output.read_text())
        assert listening_ports(process.pid) == {f"0100007F:{port:04X}"}


async def test_it_does_not_start_where_somebody_else_listens(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        front = Front(tmp_path, [1])
        front.port = taken.getsockname()[1]
        front.write([1])
        status, said = await ends_with(tmp_path, "--set", f"pointsman_fleet={front.file}")
    assert status == 1
    assert (
        f"cannot listen on 127.0.0.1:{front.port} (listeners.front of the fleet file): Address already in use" in said
    )


def _gone(output):
    return output.count("client connect") == output.count("client disconnect") > 0


async def test_it_stops_on_sigterm(running):
    front, _ = await running(says_ok)
    # Python 3.11 shows a traceback of whatever connection is still served: whoever asked if it is ready must have gone.
    await until(lambda: _gone(front.process.output.read_text()))
    front.process.signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        await front.process.wait()
    assert "Traceback" not in front.process.output.read_text()
