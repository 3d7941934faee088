"""One page of another host, for sources that ask one.

Must not live here: how to ask (telemetry.http), deadlines (poll), formats.
"""

from __future__ import annotations

import aiohttp

from spoe_agent.gpus.reading import SourceError
from spoe_agent.telemetry.http import TooLong, get, said


async def fetch(session: aiohttp.ClientSession, url: str) -> bytes:
    """Return the body at a URL. Raises SourceError for anything but 200 with a body of a sane size."""
    try:
        status, body = await get(session, url)
    except TooLong as error:
        raise SourceError(f"GET {url} {error}") from error
    except (OSError, aiohttp.ClientError) as error:
        raise SourceError(f"GET {url}: {said(error)}") from error
    if status != 200:
        raise SourceError(f"GET {url} answered {status}")
    return body
