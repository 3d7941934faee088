"""One GET with a bound on its size, and the session for many of them."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple

import aiohttp

MAX_BYTES = 16 * 1024 * 1024
"""A host with 16 GPUs and every DCGM field stays below 1 MiB, and so do a thousand models."""


class TooLong(Exception):
    """Somebody answers there, but with more than anybody asked for would have to say."""


def said(error: Exception) -> str:
    """Return what went wrong with a request, in words for people."""
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        # Numbers of name resolution are below zero, and no errors of the system.
        number = error.errno or 0
        return os.strerror(number).lower() if number > 0 else str(error)
    return str(error) or type(error).__name__


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes


def unlimited_session() -> aiohttp.ClientSession:
    """Return a session in which nobody waits for another's answer: aiohttp would stop at 100 connections in all."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


@dataclass(frozen=True, slots=True)
class Remote:
    """A server, and what goes with everything that it is asked."""

    url: str
    """Without a slash at the end."""
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | bool = True
    """What proves the server's name; True: what this system trusts."""

    def get(self, session: aiohttp.ClientSession, path: str) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """GET what is at a path below the URL; a redirect is not followed."""
        return session.get(self.url + path, allow_redirects=False, headers=self.headers, ssl=self.tls)

    def post(
        self, session: aiohttp.ClientSession, path: str, body: object
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """POST a body as JSON."""
        return session.post(self.url + path, json=body, headers=self.headers, ssl=self.tls)


async def get(session: aiohttp.ClientSession, remote: Remote, path: str = "") -> Answer:
    """Return what is answered; a redirect is not followed. Raises TooLong, OSError or aiohttp.ClientError."""
    async with remote.get(session, path) as response:
        body = await response.content.read(MAX_BYTES + 1)
        while len(body) <= MAX_BYTES and not response.content.at_eof():
            body += await response.content.read(MAX_BYTES + 1 - len(body))
    if len(body) > MAX_BYTES:
        raise TooLong(f"answered more than {MAX_BYTES} bytes")
    return Answer(response.status, body)
