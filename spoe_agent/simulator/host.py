"""The machine that instances share: its page cache, which makes second loads fast, and its loads at the same time."""

from __future__ import annotations

from collections import OrderedDict

from spoe_agent.simulator.catalog import Model
from spoe_agent.simulator.profile import GB, InstanceProfile

_CROWD_SLOWDOWN = 0.5 / 3
"""Four loads at once, of 14.5 GB each, took 1.5 times as long."""


class Host:
    """Files that were read lately, by blob, and how many loads go on."""

    def __init__(self, page_cache_bytes: int = 256 * GB) -> None:
        self._page_cache_bytes = page_cache_bytes
        self._cached: OrderedDict[str, int] = OrderedDict()
        self._loads: list[tuple[str, float]] = []  # blob, and when it will be loaded

    def read(self, model: Model) -> None:
        """Have a file in the page cache that was read before."""
        self._keep(model)

    def begin_load(self, model: Model, profile: InstanceProfile, now_s: float) -> float:
        """Return how many seconds a load takes that begins now; its file is in the page cache from now on."""
        rate = profile.load_bytes_per_s
        if model.blob not in self._cached:
            rate = min(rate, profile.cold_bytes_per_s)
        self._keep(model)
        self._loads = [(blob, until_s) for blob, until_s in self._loads if until_s > now_s]
        crowd = 1.0 + _CROWD_SLOWDOWN * len(self._loads)
        load_s = (profile.load_fixed_s + model.size_bytes / rate) * crowd
        self._loads.append((model.blob, now_s + load_s))
        return load_s

    def give_up_load(self, model: Model) -> None:
        """A load ends before its time."""
        found = next((load for load in self._loads if load[0] == model.blob), None)
        if found is not None:
            self._loads.remove(found)

    def _keep(self, model: Model) -> None:
        self._cached[model.blob] = model.size_bytes
        self._cached.move_to_end(model.blob)
        while sum(self._cached.values()) > self._page_cache_bytes:
            self._cached.popitem(last=False)
