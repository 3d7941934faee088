"""A change that is made in several model stores at once: one request in, one to each store, one answer out.

Lives here: who is asked, and in which order things end. What the client is told: `progress` and `change_answer`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing

import aiohttp
import structlog
from aiohttp import web

from spoe_agent.door.asking import Order, asked
from spoe_agent.door.change_answer import OWN, ChangeAnswer, StoreAnswer, failure, merged
from spoe_agent.door.progress import Progress
from spoe_agent.door.stream import Stream
from spoe_agent.door.tee import Tee
from spoe_agent.fleet import Instance
from spoe_agent.instances.http import said
from spoe_agent.instances.ollama import FAILURES
from spoe_agent.instances.reach import reach
from spoe_agent.routing.choice import Writing

log = structlog.get_logger()

CONNECT_S = 5.0
"""As long as HAProxy waits for a connection."""

EARLIER_S = 5.0
"""A store that says nothing is given up so long before the front end would cut all of it off."""

Find = Callable[[str], Instance | None]

_REFUSED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Nothing was sent."""


class Changing:
    """Makes changes in several stores.

    Args:
        find: returns an instance by its name, if there is one.
        changed: is told which instances' store may have changed.
        silence_s: for how long an answer may say nothing before the front end cuts it off.
    """

    def __init__(self, find: Find, changed: Callable[[Iterable[str]], None], silence_s: Callable[[], float]) -> None:
        self._find = find
        self._changed = changed
        self._silence_s = silence_s

    async def answer(self, request: web.Request, writings: Sequence[Writing]) -> web.StreamResponse:
        """Make a change in these stores, and answer its request. Cancelled, it hangs up on all of them."""
        async with self._session() as session:
            change = _Change(request, writings, session, self._find)
            stores = [asyncio.ensure_future(self._in_one(change, number)) for number in range(len(writings))]
            handing = asyncio.ensure_future(change.tee.run())
            try:
                answers = await asyncio.gather(*stores)
            finally:
                for task in (*stores, handing):
                    task.cancel()
                await asyncio.wait((*stores, handing))
        if len({bool(ended.answer.error) for ended in answers}) > 1:
            _log(change.order, answers)
        return await change.stream.end(merged(request.path, answers))

    def _session(self) -> aiohttp.ClientSession:
        """Return a session in which each request has a connection of its own: one that was kept may just be closing,
        and a change cannot be sent twice.
        """
        silence_s = max(EARLIER_S, self._silence_s() - EARLIER_S)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=silence_s),
        )

    async def _in_one(self, change: _Change, number: int) -> StoreAnswer:
        ended = await change.made(number)
        error = ended.answer.error
        if not change.order.is_of_file:
            self._changed(change.writings[number].store)
        progress = change.progress
        await change.stream.say(progress.failed(number, error) if error else progress.ended(number))
        return ended


class _Change:
    """One change under way."""

    def __init__(
        self,
        request: web.Request,
        writings: Sequence[Writing],
        session: aiohttp.ClientSession,
        find: Find,
    ) -> None:
        self.order = Order.of(request)
        self.writings = writings
        self.stream = Stream(request)
        self.progress = Progress([_names(writing) for writing in writings], time.monotonic)
        self.tee = Tee(request.content.iter_any(), len(writings))
        self._session = session
        self._find = find

    async def made(self, number: int) -> StoreAnswer:
        """Make it in one store, by the first of its instances that takes the connection; return how it ended."""
        writing = self.writings[number]
        where, why = _names(writing), writing.why
        try:
            async with self.tee.feeds[number].taken():
                for instance in filter(None, map(self._find, writing.writers)):
                    where = instance.name
                    try:
                        return StoreAnswer(where, await self._made_by(instance, number))
                    except _REFUSED as error:
                        why = said(error)
        except FAILURES as error:
            return StoreAnswer(where, failure(502, said(error)))
        return StoreAnswer(_names(writing), failure(503, "no Ollama instance is up" + (f" ({why})" if why else "")))

    async def _made_by(self, instance: Instance, number: int) -> ChangeAnswer:
        answer = ChangeAnswer(502)
        async with aclosing(asked(self._session, self.order, reach(instance), self.tee.feeds[number])) as told:
            async for news in told:
                if isinstance(news, ChangeAnswer):
                    answer = news
                else:
                    await self.stream.say(self.progress.told(number, news))
        return answer


def _log(order: Order, answers: Sequence[StoreAnswer]) -> None:
    """Say where a change was not made that was made elsewhere."""
    for ended in answers:
        if ended.answer.status >= OWN:
            log.warning("not changed", store=ended.where, path=order.path, why=ended.answer.error)


def _names(writing: Writing) -> str:
    return ", ".join(writing.store)
