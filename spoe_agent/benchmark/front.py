"""The front's account: connections per server, queues, limits. HAProxy's rules; nginx has the counts without queues.

Must not live here: which server is chosen (routers), time (simulation).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from spoe_agent.benchmark.requests import Record


class Front:
    """Live state that a router may look at: counts are the front's own, `resident` is each instance's truth."""

    def __init__(self, limits: Sequence[int | None]) -> None:
        self._limits = tuple(limits)
        servers = range(len(self._limits))
        self.served = [0 for _ in servers]
        """Requests that were let through and have not ended."""
        self.waiting: list[deque[Record]] = [deque() for _ in servers]
        """Each server's own queue: nobody else takes from it."""
        self.central: deque[Record] = deque()
        """The backend's queue: the first server that has room takes from it."""
        self.resident: list[set[str]] = [set() for _ in servers]
        """Names of the models that are loaded or loading."""

    @property
    def servers(self) -> range:
        """Positions of the servers."""
        return range(len(self._limits))

    def inflight(self, server: int) -> int:
        """Connections and queue together, as HAProxy's leastconn counts."""
        return self.served[server] + len(self.waiting[server])

    def has_room(self, server: int) -> bool:
        """Tell whether the server's `maxconn` lets another request through."""
        limit = self._limits[server]
        return limit is None or self.served[server] < limit

    def admit(self, record: Record, server: int) -> bool:
        """Assign a request to a server: through at once (True), or into that server's own queue (False)."""
        record.server = server
        if self.has_room(server):
            self.served[server] += 1
            return True
        self.waiting[server].append(record)
        return False

    def release(self, server: int) -> Record | None:
        """A request of the server ended: return the one that is let through in its place, the oldest first."""
        self.served[server] -= 1
        if not self.has_room(server):
            return None
        own, central = self.waiting[server], self.central
        queue = own if own and (not central or own[0].request.work.id < central[0].request.work.id) else central
        if not queue:
            return None
        record = queue.popleft()
        record.server = server
        self.served[server] += 1
        return record

    def leave(self, record: Record) -> bool:
        """Take a request that is still queued out (HAProxy's `option abortonclose`); False if it is in no queue."""
        queues = [self.central] if record.server is None else [self.waiting[record.server]]
        for queue in queues:
            if record in queue:
                queue.remove(record)
                return True
        return False
