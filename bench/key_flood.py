"""A flood with one key, as a process of its own: many connections that ask again and again for a small answer.

    python -m bench.key_flood URL KEY [--clients 64] [--patient]

It has no real-time priority, whoever started it: who floods is on another machine. Prints a line when all have been
answered once, and when it is told to end (SIGTERM) each status and how often it came in a second, as JSON.
`--patient`: who is turned away waits as long as Retry-After says.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from urllib.parse import urlsplit

BODY = b'{"model":"alpha","messages":[{"role":"user","content":"hi"}],"options":{"num_predict":200},"stream":false}'


class Flood:
    """Connections to one address."""

    def __init__(self, host: str, port: int, key: str, is_patient: bool) -> None:
        self.counts: Counter[int] = Counter()
        self._host, self._port, self._is_patient = host, port, is_patient
        head = f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        self._request = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY

    async def client(self) -> None:
        """Ask for ever; a connection that is closed is opened anew."""
        while True:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    await self._ask(reader, writer)
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._request)
        lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        status = int(lines[0].split()[1])
        fields = dict(line.split(b": ", 1) for line in lines[1:] if line)
        if b"content-length" in fields:
            await reader.readexactly(int(fields[b"content-length"]))
        else:
            await reader.readuntil(b"\r\n0\r\n\r\n")
        self.counts[status] += 1
        if self._is_patient and b"retry-after" in fields:
            await asyncio.sleep(int(fields[b"retry-after"]))


async def flooded(url: str, key: str, clients: int, is_patient: bool) -> dict[int, float]:
    """Ask until SIGTERM comes."""
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    parts = urlsplit(url)
    flood = Flood(parts.hostname or "", parts.port or 80, key, is_patient)
    tasks = [asyncio.ensure_future(flood.client()) for _ in range(clients)]
    while flood.counts.total() < clients - 1:  # one of them runs
        await asyncio.sleep(0.01)
    print("begun", flush=True)
    flood.counts.clear()
    begun_s = time.monotonic()
    await end.wait()
    took_s = time.monotonic() - begun_s
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {status: round(count / took_s, 1) for status, count in flood.counts.items()}


def main() -> None:
    """Flood."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--patient", action="store_true")
    args = parser.parse_args()
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    print(json.dumps(asyncio.run(flooded(args.url, args.key, args.clients, args.patient))))


if __name__ == "__main__":
    main()
