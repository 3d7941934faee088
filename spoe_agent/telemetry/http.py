"""One GET with a bound on its size, and the session for many of them.

Must not live here: how long an answer may take, what a status means.
"""

from __future__ import annotations

import os
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


def host_header(host: str | None) -> dict[str, str]:
    """Return the headers that name a host other than the URL's own."""
    return {} if host is None else {"Host": host}


async def get(session: aiohttp.ClientSession, url: str, host: str | None = None) -> Answer:
    """Return what is answered; a redirect is not followed. Raises TooLong, OSError or aiohttp.ClientError.

    `host`: the `Host` header, where it is not the URL's own.
    """
    async with session.get(url, allow_redirects=False, headers=host_header(host)) as response:
        body = await response.content.read(MAX_BYTES + 1)
        while len(body) <= MAX_BYTES and not response.content.at_eof():
            body += await response.content.read(MAX_BYTES + 1 - len(body))
    if len(body) > MAX_BYTES:
        raise TooLong(f"answered more than {MAX_BYTES} bytes")
    return Answer(response.status, body)
