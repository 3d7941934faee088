"""One GET with a bound on its size, for sources on other hosts.

Must not live here: deadlines (poll), formats.
"""

from __future__ import annotations

import aiohttp

from spoe_agent.gpus.reading import SourceError

MAX_BYTES = 16 * 1024 * 1024
"""A host with 16 GPUs and every DCGM field stays below 1 MiB."""


async def fetch(session: aiohttp.ClientSession, url: str) -> bytes:
    """Return the body at a URL. Raises SourceError for anything but 200 with a body of a sane size."""
    try:
        async with session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise SourceError(f"GET {url} answered {response.status}")
            body = await response.content.read(MAX_BYTES + 1)
            while len(body) <= MAX_BYTES and not response.content.at_eof():
                body += await response.content.read(MAX_BYTES + 1 - len(body))
    except (OSError, aiohttp.ClientError) as error:
        raise SourceError(f"GET {url}: {error or type(error).__name__}") from error
    if len(body) > MAX_BYTES:
        raise SourceError(f"GET {url} answered more than {MAX_BYTES} bytes")
    return body
