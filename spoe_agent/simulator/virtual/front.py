"""The front's account: connections per server, queues, limits. HAProxy's rules; nginx has the counts without queues."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from spoe_agent.simulator import InstanceProfile, Model
from spoe_agent.simulator.virtual.fleet import fits
from spoe_agent.simulator.virtual.requests import RequestOutcome


class Front:
    """Live state that a policy may look at: counts are the front's own, `resident` is each instance's truth.

    Args:
        limits: `maxconn` of each server; None: no limit.
        profiles: what each server is.
    """

    def __init__(self, limits: Sequence[int | None], profiles: Sequence[InstanceProfile]) -> None:
        self._limits = tuple(limits)
        self._profiles = profiles
        servers = range(len(self._limits))
        self.served = [0 for _ in servers]
        """Requests that were let through and have not ended."""
        self.waiting: list[deque[RequestOutcome]] = [deque() for _ in servers]
        """Each server's own queue: nobody else takes from it."""
        self.central: deque[RequestOutcome] = deque()
        """The backend's queue: the first server that has room and can hold the model takes from it."""
        self.resident: list[set[str]] = [set() for _ in servers]
        """Names of the models that are loaded or loading."""
        self.is_up = [True for _ in servers]
        """What the health checks say."""
        self.servers: Sequence[int] = servers
        """Positions of the servers that may be chosen."""

    @contextmanager
    def without(self, server: int) -> Iterator[None]:
        """Let nobody choose a server meanwhile: a connection to it failed just now."""
        before, self.servers = self.servers, [other for other in self.servers if other != server]
        try:
            yield
        finally:
            self.servers = before

    def mark(self, server: int, is_up: bool) -> list[RequestOutcome]:
        """Take a health check's verdict. Return the requests that wait for a server that is down now, taken out of its
        queue (`option redispatch`), or those of the backend's queue that a server that is up again has room for.
        """
        self.is_up[server] = is_up
        self.servers = [position for position, up in enumerate(self.is_up) if up]
        moved = []
        if not is_up:
            moved = list(self.waiting[server])
            self.waiting[server].clear()
            for record in moved:
                record.server = None
        while is_up and self.has_room(server) and (oldest := self._next_of_backend(server)) is not None:
            self.central.remove(oldest)
            self.admit(oldest, server)
            moved.append(oldest)
        return moved

    def able(self, model: Model) -> list[int]:
        """Return the servers that may be chosen and whose memory holds the model."""
        return [server for server in self.servers if fits(model, self._profiles[server])]

    def inflight(self, server: int) -> int:
        """Connections and queue together, as HAProxy's leastconn counts."""
        return self.served[server] + len(self.waiting[server])

    def has_room(self, server: int) -> bool:
        """Tell whether the server's `maxconn` lets another request through."""
        limit = self._limits[server]
        return limit is None or self.served[server] < limit

    def admit(self, record: RequestOutcome, server: int) -> bool:
        """Assign a request to a server: through at once (True), or into that server's own queue (False)."""
        record.server = server
        if self.has_room(server):
            self.served[server] += 1
            return True
        self.waiting[server].append(record)
        return False

    def release(self, server: int) -> RequestOutcome | None:
        """A request of the server ended: return the one that is let through in its place, the oldest first."""
        self.served[server] -= 1
        if not self.has_room(server):
            return None
        own = self.waiting[server][0] if self.waiting[server] else None
        common = self._next_of_backend(server) if self.is_up[server] else None
        first = min((one for one in (own, common) if one is not None), key=lambda one: one.request.at_s, default=None)
        if first is None:
            return None
        (self.waiting[server] if first is own else self.central).remove(first)
        first.server = server
        self.served[server] += 1
        return first

    def _next_of_backend(self, server: int) -> RequestOutcome | None:
        profile = self._profiles[server]
        return next((record for record in self.central if fits(record.request.work.model, profile)), None)

    def leave(self, record: RequestOutcome) -> bool:
        """Take a request that is still queued out (HAProxy's `option abortonclose`); False if it is in no queue."""
        queues = [self.central] if record.server is None else [self.waiting[record.server]]
        for queue in queues:
            if record in queue:
                queue.remove(record)
                return True
        return False
