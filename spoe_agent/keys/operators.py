"""Operators' keys, where the admin port asks for one: who may come there, and what commands send."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from spoe_agent.fleet import Fleet
from spoe_agent.keys.keyring import Keyring, Lack
from spoe_agent.requests.caller import Credentials, secret_of

VARIABLE = "POINTSMAN_KEY"

NEEDS_MANAGE = "this key is for models; the admin port takes one with --manage"


def headers() -> dict[str, str]:
    """Return what goes with everything that a command asks the agent, names in lower case."""
    key = os.environ.get(VARIABLE, "")
    return {"authorization": f"Bearer {key}"} if key else {}


class Operators:
    """Looks at the keys of those who ask the agent."""

    def __init__(self, fleet: Callable[[], Fleet]) -> None:
        self._fleet = fleet
        self._ring: Keyring | None = None
        self._file = ""

    def lack(self, headers: Mapping[str, str]) -> str:
        """Return why somebody may not come who sends these headers, names in lower case or in any; for their eyes; "":
        they may.
        """
        keys = self._fleet().keys
        if keys is None or not keys.admin:
            return ""
        if self._ring is None or self._file != keys.file:
            self._ring, self._file = Keyring(Path(keys.file)), keys.file
        sent = Credentials("", headers.get("authorization", ""), headers.get("x-api-key", ""))
        found = self._ring.check(secret_of(sent))
        if isinstance(found, Lack):
            return f"{found} (keys.admin in the fleet file; commands take theirs from ${VARIABLE})"
        return "" if found.manage else NEEDS_MANAGE
