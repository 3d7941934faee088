"""A stack that asks for keys, and the keys of its clients."""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoe_agent.keys.entry import Key, hash_of
from spoe_agent.keys.file import change
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import stack_of

MODELS = (("alpha:latest", "1GB"), ("beta:7b", "1GB"), ("secret:latest", "1GB"))

SECRETS = {
    name: f"pm-{name}-0123456789abcdefghijklmnopqrstuvwxyz-ABCDEF"
    for name in ("all", "some", "admin", "slow", "few", "expired", "gone", "more")
}
"""By the name of their keys."""

KEYS: Mapping[str, dict[str, Any]] = {
    "all": {},
    "some": {"models": ("alpha", "beta:*"), "priority": 50},
    "admin": {"manage": True},
    "slow": {"rpm": 5},
    "few": {"concurrent": 3},
    "expired": {"expires_s": 1},
}


def made(**rights: dict[str, Any]) -> tuple[Key, ...]:
    """Return keys by name, with these rights."""
    return tuple(Key(name=name, hash=hash_of(SECRETS[name]), **given) for name, given in rights.items())


@dataclass(frozen=True, slots=True)
class Form:
    """A way to send a key."""

    name: str

    def headers(self, secret: str) -> dict[str, str]:
        """Return the headers that have it."""
        match self.name:
            case "bearer":
                return {"Authorization": f"Bearer {secret}"}
            case "x-api-key":
                return {"x-api-key": secret}
        return {"Authorization": "Basic " + b64encode(f"anybody:{secret}".encode()).decode()}


FORMS = tuple(map(Form, ("bearer", "x-api-key", "basic")))


def bearer(name: str) -> dict[str, str]:
    """Return the header of somebody's key."""
    return FORMS[0].headers(SECRETS[name])


def keyed(binary: str, folder: Path, simulated: Simulated | None = None, **settings: Any) -> Stack:
    """Return a stack that asks for KEYS, not started."""
    file = folder / "keys" / "keys.json"
    change(file, lambda _: made(**KEYS))
    haproxy = {"runtime": str(folder / "admin.sock"), "files": str(folder / "haproxy")}
    given = {"keys": {"file": str(file)}, "haproxy": haproxy, **settings}
    return stack_of(binary, folder, simulated or Simulated(instances=2, models=MODELS, time_scale=50.0), given)


def body(text: bytes) -> dict[str, Any]:
    """Return an answer's JSON."""
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def trusting(certificate: Path) -> ssl.SSLContext:
    """Return what takes this certificate, and no other."""
    return ssl.create_default_context(cafile=str(certificate))
