"""Who may come in, and for what, as haproxy.cfg has it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from spoe_agent.door.catalogue import ANSWERS, MODEL_LISTS
from spoe_agent.fleet import Fleet
from spoe_agent.fleet.schema_front import KeySettings
from spoe_agent.keys.entry import OPEN_LINE, Key, rights_of
from spoe_agent.keys.keyring import Keyring, Lack
from spoe_agent.requests.caller import Credentials, address_of, is_unnamed, secret_of
from spoe_agent.routing import Action, Choice, Kind, Reason, RequestFacts
from spoe_agent.routing.rights import EVERYTHING, Rights
from spoe_agent.routing.surface import KNOWN_PATHS, classify, path_model

_REASONS = {Lack.NONE: Reason.NO_KEY, Lack.UNKNOWN: Reason.UNKNOWN_KEY, Lack.EXPIRED: Reason.EXPIRED_KEY}
_MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Comer:
    """Who asks."""

    rights: Rights = EVERYTHING
    lack: Lack | None = None
    """Why it may not come in; None: it may."""
    rpm: int = 0


class Gate:
    """Looks at keys, and counts requests. `wall`: seconds since 1970."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._ring: Keyring | None = None
        self._file = ""
        self._made: dict[str, tuple[int, int]] = {}

    def comer(self, credentials: Credentials, fleet: Fleet) -> Comer:
        """Return who asks."""
        if fleet.keys is None:
            return Comer()
        found = self._keyring(fleet.keys).check(secret_of(credentials))
        if isinstance(found, Key):
            return Comer(found.rights, rpm=found.rpm)
        trusted = fleet.policies.trusted_proxies
        if _is_open(address_of(credentials, trusted), fleet.keys) and not is_unnamed(credentials, trusted):
            return Comer(rights_of(OPEN_LINE))
        return Comer(lack=found)

    def refusal(self, comer: Comer, method: str, path: str) -> Choice | None:
        """Return why a request is turned away; None: it is not. Each one counts."""
        if comer.lack is not None:
            return Choice(Action.REJECT, _REASONS[comer.lack], message=comer.lack)
        if comer.rpm and self._count(comer.rights.name) > comer.rpm:
            message = f"this key may make {comer.rpm} requests in a minute"
            after_s = _MINUTE_S - int(self._wall()) % _MINUTE_S
            return Choice(Action.REJECT, Reason.TOO_OFTEN, message=message, retry_after_s=after_s)
        is_known = classify(method, path) is Kind.MANAGE or path in KNOWN_PATHS or path_model(path) is not None
        if not comer.rights.may_manage and not is_known:
            return Choice(Action.REJECT, Reason.NOT_FOUND, message="there is nothing here for this key")
        return None

    def _count(self, name: str) -> int:
        minute = int(self._wall()) // _MINUTE_S
        of, count = self._made.get(name, (minute, 0))
        count = count + 1 if of == minute else 1
        self._made[name] = minute, count
        return count

    def _keyring(self, settings: KeySettings) -> Keyring:
        if self._ring is None or self._file != settings.file:
            self._ring, self._file = Keyring(Path(settings.file), self._wall), settings.file
        return self._ring


def is_answered(path: str, request: RequestFacts) -> bool:
    """Tell whether a list is the whole fleet's: an instance's own, if one is wished for, is not told to whoever may not
    see all of it.
    """
    is_kept = request.rights.models is not None and path in MODEL_LISTS
    return path in ANSWERS and (is_kept or not request.wishes.instance)


def _is_open(address: str, settings: KeySettings) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in settings.open_networks)
