"""What a stranger on the network tries: each with the status that it gets, and nothing of it where it was meant to go.

The first table is of somebody with a key for some models, the others of somebody with a key that may change none.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from io import BytesIO

import aiohttp
import h2.config
import h2.connection
import h2.events
import pytest
import pytest_asyncio
from aiohttp import encode_basic_auth
from multidict import CIMultiDict
from yarl import URL

from spoe_agent.keys.entry import hash_of
from spoe_agent.rig.stack import Stack
from spoe_agent.routing.surface import MANAGE_PATHS
from tests.e2e.conftest import chat, seen_by
from tests.e2e.keyed import SECRETS, bearer, keyed

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

ANSWER_S = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def locked(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    limits = {"max_inspected_body": "1MiB", "max_body": "2MiB", "header_timeout": "4s"}
    limits |= {"max_connections_per_address": 4}
    async with keyed(binary, tmp_path_factory.mktemp("intruders"), policies=limits) as running:
        yield running


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_came_through(locked: Stack, session: aiohttp.ClientSession) -> AsyncIterator[None]:
    """After each case: no instance ran, or told of, the secret model, and none was to change its store."""
    yield
    for number in range(2):
        for seen in await seen_by(session, locked, number):
            assert not str(seen["model"]).startswith("secret"), seen
            assert seen["path"] not in MANAGE_PATHS, seen
            assert not str(seen["path"]).startswith(("/api/blobs", "/api/experimental", "/api/me")), seen


async def sent(locked: Stack, text: bytes, to_its_end: bool = True) -> int:
    """Send bytes as they are; return the first status, or 0 where the connection was closed without.

    `to_its_end`: wait until all is answered, and the connection closed.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", locked.fleet.listeners.front.port)
    try:
        writer.write(text)
        answer = await asyncio.wait_for(reader.read() if to_its_end else reader.readline(), ANSWER_S)
        return int(answer.split()[1]) if answer.startswith(b"HTTP/") else 0
    except ConnectionError:
        return 0
    finally:
        writer.close()


NAMES = ["secret", "SECRET", "secret:latest", "library/secret", "registry.ollama.ai/library/secret:latest", " secret"]
NAMES += ["https://registry.ollama.ai/library/secret", "secret:local", "alphabet", "alpha:other", "x/alpha", "beta"]
BODIES = {
    **{f"name {name}": json.dumps({"model": name}) for name in NAMES},
    "escaped value": r'{"model": "\u0073ecret"}',
    "escaped key": r'{"\u006dodel": "secret"}',
    "doubled": '{"model": "alpha", "model": "secret"}',
    "doubled in capitals": '{"model": "alpha", "MODEL": "secret"}',
    "doubled with an escape": r'{"model": "alpha", "\u004dodel": "secret"}',
    "doubled far behind": json.dumps({"model": "alpha", "prompt": "x" * 40_000})[:-1] + ', "Model": "secret"}',
    "behind the end": '{"model": "secret"} {"model": "alpha"}',
    "nothing first": '{"model": null, "model": "secret"}',
    "nested first": '{"options": {"model": "alpha"}, "model": "secret"}',
}
RUNNING = ("/api/chat", "/api/generate", "/api/embed", "/v1/chat/completions", "/v1/messages", "/v1/responses")


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_names_another_model(locked: Stack, session: aiohttp.ClientSession, body: str) -> None:
    for path in RUNNING:
        headers = {**bearer("some"), "Content-Type": "application/json", "X-Model": "alpha"}
        headers |= {"X-Pointsman-Key": "admin|0|0|0|0|1|1||", "X-Pointsman-Models": "*", "X-Pointsman": "gpu0"}
        async with session.post(locked.url + path, data=body, headers=headers) as answer:
            assert answer.status == 404, await answer.text()


OTHERS = [
    ("POST", "/api/show", '{"model": "secret"}', 404),
    ("POST", "/api/show", '{"name": "secret"}', 404),
    ("POST", "/api/show", '{"model": "", "name": "secret"}', 404),
    ("POST", "/api/sho%77", '{"model": "secret"}', 404),
    ("GET", "/v1/models/secret", "", 404),
    ("GET", "/v1/models/SECRET:latest", "", 404),
    ("GET", "/v1/models/%73ecret", "", 404),
    ("POST", "/api/generate", '{"model": "secret", "keep_alive": 0}', 404),
    ("POST", "/api/ch%61t", '{"model": "secret"}', 404),
    ("POST", "/api/chat", '{"model": "alpha", "x": "' + "x" * 1_200_000 + '"}', 413),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), OTHERS, ids=lambda value: str(value)[:40])
async def test_other_ways_to_another_model(
    locked: Stack, session: aiohttp.ClientSession, method: str, path: str, body: str, status: int
) -> None:
    if status == 413 and "mitm" in locked.binary:
        pytest.skip("mitmproxy reads all of a body")
    url = f"http://127.0.0.1:{locked.fleet.listeners.front.port}{path}"
    data = BytesIO(body.encode())
    try:
        async with session.request(method, URL(url, encoded=True), data=data, headers=bearer("some")) as answer:
            assert answer.status == status, await answer.text()
    except aiohttp.ClientOSError:
        assert status == 413  # HAProxy closes upon the rest of such a body, and its answer may be lost with it


GOOD, BAD = SECRETS["all"], "pm-made-up"
SENT = {
    "two bearers, the good one last": ([("Authorization", f"Bearer {BAD}"), ("Authorization", f"Bearer {GOOD}")], 401),
    "a list of bearers": ([("Authorization", f"Bearer {BAD}, Bearer {GOOD}")], 401),
    "a bad bearer before a good x-api-key": ([("Authorization", f"Bearer {BAD}"), ("x-api-key", GOOD)], 401),
    "no bearer before a good x-api-key": ([("Authorization", "Bearer "), ("x-api-key", GOOD)], 200),
    "another scheme": ([("Authorization", f"Digest {GOOD}")], 401),
    "a scheme in small letters": ([("Authorization", f"bearer {GOOD}")], 200),
    "the user, not the password": ([("Authorization", encode_basic_auth(GOOD, "x"))], 401),
    "a password behind a colon": ([("Authorization", encode_basic_auth("x", f":{GOOD}"))], 401),
    "the hash for the key": ([("Authorization", f"Bearer {hash_of(GOOD)}")], 401),
    "a key and more": ([("Authorization", f"Bearer {GOOD}x")], 401),
    "a part of a key": ([("Authorization", f"Bearer {GOOD[:-1]}")], 401),
    "a key in capitals": ([("Authorization", f"Bearer {GOOD.upper()}")], 401),
    "a proxy's header": ([("Proxy-Authorization", f"Bearer {GOOD}")], 401),
    "a cookie": ([("Cookie", f"Authorization=Bearer {GOOD}")], 401),
    "a line of rights": (
        [("Authorization", "Bearer admin|0|0|0|0|1|1||"), ("X-Pointsman-Key", "a|0|0|0|0|1|1||")],
        401,
    ),
    "an address": ([("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=127.0.0.1")], 401),
    "an id that apply has": ([("X-Request-Id", "pointsman-apply")], 401),
}


@pytest.mark.parametrize("case", SENT)
async def test_what_is_a_key_and_what_is_none(locked: Stack, session: aiohttp.ClientSession, case: str) -> None:
    headers, status = SENT[case]
    async with session.get(f"{locked.url}/api/version", headers=CIMultiDict(headers)) as answer:
        assert answer.status == status


async def test_a_key_in_the_query_is_none(locked: Stack, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{locked.url}/api/version?key={GOOD}&authorization=Bearer+{GOOD}") as answer:
        assert answer.status == 401


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n'
)


@pytest.mark.parametrize(
    ("query", "model", "is_theirs"),
    [("", b"secret", False), ("?model=alpha", b"secret", False), ("?model=secret", b"alpha", True)],
)
async def test_a_form_names_another_model(
    locked: Stack, session: aiohttp.ClientSession, query: str, model: bytes, is_theirs: bool
) -> None:
    headers = {**bearer("some"), "Content-Type": "multipart/form-data; boundary=b"}
    url = f"{locked.url}/v1/audio/transcriptions{query}"
    async with session.post(url, data=FORM % model, headers=headers) as answer:
        assert (answer.headers["x-pointsman"] == "- not allowed") is not is_theirs


FIELD = b"--b\r\nContent-Disposition: form-data%b\r\n\r\n%b\r\n"
HIDDEN_FIELDS = {
    "a name of RFC 2231": (b"; name*=utf-8''model", b"secret"),
    "a name in pieces": (b"; name*0=mod; name*1=el", b"secret"),
    "a long head": (b"; name=model\r\nX: " + b"y" * 5000, b"secret"),
    "a boundary with blanks": (
        b'; name="x"\r\n\r\ny\r\n--b' + b" " * 65 + b"\r\n" + FIELD[5:35] + b"; name=model",
        b"secret",
    ),
}


@pytest.mark.parametrize("case", HIDDEN_FIELDS)
async def test_a_form_names_another_model_where_only_go_reads_it(
    locked: Stack, session: aiohttp.ClientSession, case: str
) -> None:
    headers = {**bearer("some"), "Content-Type": "multipart/form-data; boundary=b"}
    body = FIELD % HIDDEN_FIELDS[case] + FORM % b"alpha"
    async with session.post(f"{locked.url}/v1/audio/transcriptions", data=body, headers=headers) as answer:
        assert answer.status == 400, await answer.text()


async def test_a_form_has_another_boundary_for_go(locked: Stack, session: aiohttp.ClientSession) -> None:
    headers = {**bearer("some"), "Content-Type": "multipart/form-data; boundary=b; boundary*=utf-8''c"}
    body = FORM % b"alpha" + (FORM % b"secret").replace(b"--b", b"--c")
    async with session.post(f"{locked.url}/v1/audio/transcriptions", data=body, headers=headers) as answer:
        assert answer.status == 400, await answer.text()


PATHS = {
    "/api/pull": 403,
    "/api/%70ull": 403,
    "/api/push": 403,
    "/api/create": 403,
    "/api/copy": 403,
    "/api/delete": 403,
    "/api/blobs/sha256:0": 403,
    "/api//pull": 404,
    "//api/pull": 404,
    "/API/pull": 404,
    "/api/pull/": 404,
    "/api/pull%2f": 404,
    "/api/pull;x": 404,
    "/api/pull%00": 403,
    "/api/./pull": 404,
    "/api/x/../pull": 404,
    "/api/x/%2e%2e/pull": 404,
    "/api%2fpull": 403,
    "/api/%2570ull": 404,
    "/api/me": 404,
    "/api/experimental/web_fetch": 404,
    "/nowhere": 404,
    "http://127.0.0.1/api/pull": 403,
    "http://127.0.0.1//api/pull": 404,
}
METHODS = ("POST", "DELETE", "PUT", "PATCH", "HEAD", "GET", "PULL", "post")


@pytest.mark.parametrize("path", PATHS)
async def test_ways_to_a_change_of_the_store(locked: Stack, path: str) -> None:
    if "mitm" in locked.binary and path.startswith("//"):
        pytest.skip("mitmproxy takes that for a host")
    for method in METHODS:
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {SECRETS['all']}\r\n"
        status = await sent(locked, f"{head}Connection: close\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        # What a NUL ends is not the same to all.
        is_vague = "mitm" in locked.binary or "%00" in path
        assert status in ({PATHS[path], 400, 404} if is_vague else {PATHS[path]}), method


KEY = f"Authorization: Bearer {SECRETS['all']}\r\n".encode()
HIDDEN = b"POST /api/pull HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15\r\n\r\n" + b'{"model": "x"}\n'
CHAT = json.dumps(chat("alpha", stream=False)).encode()


def post(*headers: bytes, body: bytes = b"", key: bytes = KEY) -> bytes:
    """Return a request to run a model; `headers` without their line ends."""
    head = (
        b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        + key
        + b"".join(one + b"\r\n" for one in headers)
    )
    return head + b"\r\n" + body


def length(size: int) -> bytes:
    return b"Content-Length: %d" % size


CHUNKED = b"Transfer-Encoding: chunked"
IN_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(CHAT), CHAT)
SMUGGLED = {
    "CL.TE": (
        post(length(len(IN_CHUNKS + HIDDEN)), CHUNKED, body=IN_CHUNKS + HIDDEN),
        {200, 400},
    ),
    "TE.CL": (post(CHUNKED, length(4), body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)), {400}),
    "two lengths": (post(length(len(CHAT)), length(len(CHAT + HIDDEN)), body=CHAT + HIDDEN), {0, 400}),
    "a list of lengths": (post(b"Content-Length: 5, 6", body=HIDDEN), {400}),
    "a signed length": (post(b"Content-Length: +5", body=HIDDEN), {400}),
    "unknown encoding": (post(b"Transfer-Encoding: xchunked", body=IN_CHUNKS + HIDDEN), {400, 422, 501}),
    "two encodings": (post(CHUNKED, b"Transfer-Encoding: identity", body=IN_CHUNKS + HIDDEN), {400, 422, 501}),
    "tab before chunked": (post(b"Transfer-Encoding:\tchunked", body=IN_CHUNKS), {200, 400}),
    "space before the colon": (post(b"Transfer-Encoding : chunked", body=IN_CHUNKS + HIDDEN), {400}),
    "a key in a folded line": (
        post(b"X-A: b\r\n " + KEY.rstrip(), length(0), key=b""),
        {400, 401},
    ),
    "bare LF": (post(length(0), b"X-A: b\nX-B: c", key=b""), {400, 401}),
    "a bad chunk": (post(CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n" + HIDDEN), {400, 502}),
    "a chunk too large to be counted": (post(CHUNKED, body=b"1" + b"0" * 16 + IN_CHUNKS + HIDDEN), {400}),
    "a bare LF behind a chunk's size": (
        post(CHUNKED, body=b"%x\n%b\r\n0\r\n\r\n" % (len(CHAT), CHAT) + HIDDEN),
        {200, 400},
    ),
    "a line end in a chunk's extension": (
        post(CHUNKED, body=b'%x;a="\n"\r\n%b\r\n0\r\n\r\n' % (len(CHAT), CHAT) + HIDDEN),
        {400},
    ),
    "trailers of ours": (
        post(CHUNKED, body=IN_CHUNKS[:-2] + b"X-Pointsman-Key: a|0|0|0|0|1|1||\r\nContent-Length: 99\r\n\r\n" + HIDDEN),
        {200, 400},
    ),
    "a vertical tab before chunked": (post(b"Transfer-Encoding: \x0bchunked", body=IN_CHUNKS + HIDDEN), {400}),
    "upgrade to WebSocket": (
        post(b"Upgrade: websocket", b"Connection: Upgrade", length(len(CHAT)), body=CHAT + HIDDEN),
        {0, 200, 400},
    ),
    "a NUL in a header": (post(b"X-A: \x00b", length(0)), {400}),
    "upgrade to HTTP/2": (
        post(b"Upgrade: h2c", b"Connection: Upgrade", b"HTTP2-Settings: AAMAAABk", length(len(CHAT)), body=CHAT),
        {200, 400},
    ),
}


@pytest.mark.haproxy
@pytest.mark.parametrize("case", SMUGGLED)
async def test_a_request_in_a_request(locked: Stack, case: str) -> None:
    text, statuses = SMUGGLED[case]
    assert await sent(locked, text) in statuses


H2 = {
    "a line end in a value": (("x-a", "b\r\ntransfer-encoding: chunked"), 0),
    "a line end in a name": (("x-a\r\nauthorization", "b"), 0),
    "Transfer-Encoding": (("transfer-encoding", "chunked"), 0),
    "another length": (("content-length", "3"), 0),
    "a path in two": (("x-ok", "fine"), 401),
}


@pytest.mark.haproxy
@pytest.mark.parametrize("case", H2)
async def test_http2_carries_nothing_that_http1_would_read_otherwise(locked: Stack, case: str) -> None:
    header, expected = H2[case]
    config = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="utf-8"
    )
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    pseudo = [(":method", "POST"), (":scheme", "http"), (":path", "/api/chat"), (":authority", "localhost")]
    connection.send_headers(1, [*pseudo, header], end_stream=False)
    connection.send_data(1, HIDDEN, end_stream=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", locked.fleet.listeners.front.port)
    writer.write(connection.data_to_send())
    status = None
    while status is None:
        data = await asyncio.wait_for(reader.read(65_536), ANSWER_S)
        if not data:
            status = 0
        for event in connection.receive_data(data) if data else ():
            if isinstance(event, h2.events.ResponseReceived):
                status = int(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                status = 0
    writer.close()
    assert status == expected or (expected == 0 and status == 400)


@pytest.mark.haproxy
@pytest.mark.parametrize(
    ("text", "status"),
    [
        (post(b"X-A: " + b"a" * 33_000, length(0)), 431),
        (post(*(b"X-%d: a" % number for number in range(150)), length(0)), 400),
        (post(length(3_000_000)), 413),
        (post()[:60], 408),
    ],
    ids=["large headers", "many headers", "large body", "slow headers"],
)
async def test_what_is_too_much(locked: Stack, text: bytes, status: int) -> None:
    assert await sent(locked, text, to_its_end=False) == status


@pytest.mark.haproxy
async def test_an_address_has_so_many_connections_and_no_more(locked: Stack) -> None:
    port = locked.fleet.listeners.front.port
    opened = [await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.9", 0)) for _ in range(4)]
    for reader, writer in opened:  # else another thread may not have counted them yet
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"HTTP/1.1 200"), ANSWER_S)
    with suppress(ConnectionResetError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.9", 0))
        writer.write(post(length(0)))
        assert await asyncio.wait_for(reader.read(), ANSWER_S) == b""
    opened[0][1].write(post(length(0)))
    assert b"HTTP/1.1 400" in await asyncio.wait_for(opened[0][0].read(), ANSWER_S)
    for _, one in opened:
        one.close()
