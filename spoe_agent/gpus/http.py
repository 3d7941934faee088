"""One page of another host, for sources that ask one."""

from __future__ import annotations

import aiohttp
from yarl import URL

from spoe_agent.gpus.reading import SourceError
from spoe_agent.instances.http import Remote, TooLong, get, said


def without_password(url: str) -> str:
    """Return a URL as logs and messages may have it."""
    return str(URL(url, encoded=True).with_user(None))


async def fetch(session: aiohttp.ClientSession, url: str) -> bytes:
    """Return the body at a URL. Raises SourceError for anything but 200 with a body of a sane size."""
    named = without_password(url)
    try:
        status, body = await get(session, Remote(url))
    except TooLong as error:
        raise SourceError(f"GET {named} {error}") from error
    except (OSError, aiohttp.ClientError) as error:
        raise SourceError(f"GET {named}: {said(error)}") from error
    if status != 200:
        raise SourceError(f"GET {named} answered {status}")
    return body
