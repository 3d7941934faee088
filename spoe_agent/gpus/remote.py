"""GPUs of another host through its `pointsman telemetry`."""

from __future__ import annotations

import aiohttp

from spoe_agent.gpus.http import fetch, without_password
from spoe_agent.gpus.reading import GpuReading, SourceError
from spoe_agent.gpus.wire import PATH, decode


class RemoteSource:
    """Asks one `pointsman telemetry`. `url` is http://HOST:PORT."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._url = url.rstrip("/")
        self.name = without_password(self._url)
        self._session = session

    async def read(self, now_s: float) -> tuple[GpuReading, ...]:
        """Ask once. Raises SourceError, also when the other side has lost a source and has no reading."""
        text = await fetch(self._session, self._url + PATH)
        try:
            page = decode(text, now_s)
        except ValueError as error:
            raise SourceError(f"{self.name}{PATH} is not a page of pointsman telemetry: {error}") from error
        lost = [f"{name} is {state.state}: {state.why}" for name, state in page.sources.items() if state.why]
        if not page.gpus and lost:
            raise SourceError(f"{self.name} reads no GPU: {'; '.join(lost)}")
        return page.gpus
