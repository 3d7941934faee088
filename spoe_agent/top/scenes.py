"""The running agent's scenes, one after another; and why there is none, while it is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp

from spoe_agent.fleet import Listen
from spoe_agent.instances.http import said
from spoe_agent.keys.operators import headers

SILENT_S = 5.0
"""A scene comes each second."""
AGAIN_S = 1.0
MOST_BYTES = 16 << 20

Scene = dict[str, Any]


async def scenes(where: Listen, silent_s: float = SILENT_S) -> AsyncGenerator[Scene | str, None]:
    """Give each scene, or in words why none comes. For ever: an agent that is back is followed again.

    `silent_s`: an agent hangs that says nothing for so long.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=silent_s, sock_read=silent_s)
    async with aiohttp.ClientSession(timeout=timeout, read_bufsize=MOST_BYTES, headers=headers()) as session:
        while True:
            try:
                async with session.get(f"http://{where}/dashboard/events") as answer:
                    if answer.status != 200:
                        yield f"it answered {answer.status}: {(await answer.text())[:200]}"
                        await asyncio.sleep(AGAIN_S)
                        continue
                    while (event := await answer.content.readuntil(b"\n\n")).endswith(b"\n\n"):
                        yield json.loads(event.removeprefix(b"data: "))
                    yield "it closed the stream"
            except TimeoutError:
                yield "it is there, and says nothing: it hangs or is stopped"
            except (OSError, ValueError, aiohttp.ClientError) as error:
                yield said(error)
            await asyncio.sleep(AGAIN_S)
