"""How the door's answers are kept fresh, on real parts."""

import time

from spoe_agent.door.catalogue import Listing
from spoe_agent.doorway import looks
from spoe_agent.fleet import loads
from spoe_agent.instances import lists as instances
from spoe_agent.instances.lists import InstalledModel
from spoe_agent.routing.names import canonical
from tests.mitmproxy.parts import Lists, parts
from tests.serving import until

A = canonical("a")
FLEET = "instances: [{name: g0, url: 'http://127.0.0.1:1'}]"


class Counted(Lists):
    """Counts how often it is asked."""

    def __init__(self):
        super().__init__()
        self.asked = {"ps": 0, "tags": 0}

    @property
    def lists(self):
        return instances.Lists()

    async def loaded(self):
        self.asked["ps"] += 1
        return await super().loaded()

    async def installed(self):
        self.asked["tags"] += 1
        return {A: InstalledModel(1)}


async def test_lists_are_asked_for_anew_when_something_of_ours_may_have_changed_them():
    one = Counted()
    of = parts(loads(FLEET), time.monotonic, connect=lambda _: one)
    await of.adopt(of.fleet)
    looked, before = looks(of), dict(one.asked)
    await looked[Listing.STORES]()
    await looked[Listing.LOADED]()
    assert one.asked == before
    of.agent.second_look.changing("r1")
    for number in (1, 2):
        await looked[Listing.STORES]()
        await until(lambda number=number: one.asked["tags"] == before["tags"] + number)
    asked = one.asked["ps"]
    of.watch.touched("g0", A)
    await looked[Listing.LOADED]()
    await until(lambda: one.asked["ps"] == asked + 1)
