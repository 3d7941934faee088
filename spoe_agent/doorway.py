"""What makes the door of an agent: what it answers of the whole fleet, and how that is kept fresh."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from spoe_agent.agent.second_look import SecondLook
from spoe_agent.assemble import Parts
from spoe_agent.door.answers import Answers
from spoe_agent.door.app import Door
from spoe_agent.door.catalogue import Listing
from spoe_agent.door.changing import Changing


def looks(parts: Parts) -> dict[Listing, Callable[[], Awaitable[object]]]:
    """Return how the door's answers are kept fresh: once a second, and while something of ours may be changing them."""
    stores = SecondLook(parts.look, time.monotonic, lambda: parts.agent.second_look.is_changing)
    loaded = SecondLook(lambda: parts.ollamas.poll_some(parts.watch.used()), time.monotonic, lambda: True)

    async def look_at_loaded() -> None:
        if parts.watch.used():
            await loaded.take()

    return {Listing.STORES: stores.take, Listing.LOADED: look_at_loaded}


def door(parts: Parts) -> Door:
    """Return the door of an agent, not open."""
    answers = Answers(parts.lists, looks(parts))

    def silence_s() -> float:
        return parts.fleet.policies.response_timeout

    def retry_after_s() -> int:
        return parts.agent.fleet.policy.retry_after_s

    changing = Changing(parts.ollamas.find, parts.watch.store_changed, silence_s)
    return Door(answers, changing, parts.agent.writings, retry_after_s)
