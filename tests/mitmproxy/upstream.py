"""A scripted upstream: speaks just enough of Ollama for telemetry, and sends its chunks exactly as it is told."""

import asyncio
import json

LISTS = {
    "/": b"Ollama is running",
    "/api/ps": json.dumps({"models": [{"name": "alpha:latest", "model": "alpha:latest", "size": 1}]}).encode(),
    "/api/tags": json.dumps({"models": [{"name": "alpha:latest", "model": "alpha:latest", "size": 1}]}).encode(),
    "/api/version": b'{"version":"0.12.0"}',
}


class Upstream:
    """`script(head, body, writer)` answers what is no list; `busy` and `peak` count such requests under way."""

    def __init__(self, script):
        self._script = script
        self.busy = self.peak = self.served = 0
        self.heads = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc):
        self.stop()

    def stop(self):
        self._server.close()

    async def _handle(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                body = await _body(head, reader)
                path = head.split()[1]
                if path in LISTS:
                    answer = LISTS[path]
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
                    continue
                await self._count(head, body, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _count(self, head, body, writer):
        self.heads.append(head)
        self.busy += 1
        self.peak = max(self.peak, self.busy)
        try:
            await self._script(head, body, writer)
            await writer.drain()
            self.served += 1
        finally:
            self.busy -= 1


async def _body(head, reader):
    if "transfer-encoding: chunked" in head.lower():
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body
    (length,) = [line.split(":")[1] for line in head.lower().splitlines() if line.startswith("content-length")] or ["0"]
    return await reader.readexactly(int(length))


def chunked(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


class Answer:
    """What a client got, chunk by chunk, as they were on the wire."""

    def __init__(self, status, headers, chunks):
        self.status, self.headers, self.chunks = status, headers, chunks

    @property
    def body(self):
        return b"".join(self.chunks)


class Client:
    """One connection to the front end, at the level where chunks can be told apart."""

    def __init__(self, port):
        self._port = port

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        return self

    async def __aexit__(self, *exc):
        self.writer.close()

    async def send(self, body=b'{"model":"alpha"}', path="/api/chat"):
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        await self.writer.drain()

    async def head(self):
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
        return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:] if line)

    async def chunk(self):
        size = int(await self.reader.readline(), 16)
        data = await self.reader.readexactly(size)
        await self.reader.readline()
        return data

    async def answer(self):
        status, headers = await self.head()
        if headers.get("transfer-encoding") != "chunked":
            return Answer(status, headers, [await self.reader.readexactly(int(headers["content-length"]))])
        chunks = []
        while data := await self.chunk():
            chunks.append(data)
        return Answer(status, headers, chunks)


async def ask(port, body=b'{"model":"alpha"}', path="/api/chat"):
    async with Client(port) as client:
        await client.send(body, path)
        return await client.answer()
