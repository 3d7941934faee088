"""The fleet file while it is being edited: what it says now, read anew only when its content is another.

Content is compared, not times: editors, copies and checkouts set those as they like.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from spoe_agent.fleet.load import parse, read_bytes
from spoe_agent.fleet.problems import FleetError, Problem
from spoe_agent.fleet.resolved import Fleet
from spoe_agent.fleet.schema_haproxy import HAProxySettings


@dataclass(frozen=True, slots=True)
class Content:
    """What a fleet file says."""

    digest: str
    """Of its bytes; "" when it cannot be read."""
    fleet: Fleet | None
    """None: it cannot be used, as `problems` tell."""
    problems: tuple[Problem, ...] = ()


class EditedFile:
    """One fleet file. `haproxy`: what holds in place of its section of that name."""

    def __init__(self, path: Path, haproxy: HAProxySettings | None = None) -> None:
        self.path = path
        self._haproxy = haproxy
        self._last: Content | None = None

    @property
    def is_of_up(self) -> bool:
        """Whether the HAProxy is one of the agent's own, as with `pointsman up`."""
        return self._haproxy is not None

    def read(self) -> Content:
        """Return what the file says now: the same object as long as its content is the same."""
        try:
            data = read_bytes(self.path)
        except FleetError as error:
            return self._keep(Content("", None, error.problems))
        digest = sha256(data).hexdigest()
        if self._last is not None and digest == self._last.digest:
            return self._last
        try:
            return self._keep(Content(digest, self._with_haproxy(parse(data, str(self.path)))))
        except FleetError as error:
            return self._keep(Content(digest, None, error.problems))

    def _with_haproxy(self, fleet: Fleet) -> Fleet:
        return fleet if self._haproxy is None else fleet.model_copy(update={"haproxy": self._haproxy})

    def _keep(self, found: Content) -> Content:
        if found != self._last:
            self._last = found
        return self._last
