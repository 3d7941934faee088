"""One key as it is kept: its hash and its rights, and the line by which front ends and agent know them.

The secret itself is 256 random bits and is shown once. Its SHA-256 is kept: nobody finds the one by the other, so who
reads the file, or HAProxy's maps, can do nothing with it.
"""

from __future__ import annotations

import re
import secrets
from functools import lru_cache
from hashlib import sha256
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from spoe_agent.routing.names import canonical, is_pattern
from spoe_agent.routing.rights import MOST_URGENT, Rights

PREFIX = "pm-"
"""By this people, and scanners of leaked secrets, know one of ours."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.@-]{0,62}$")]


def _named(text: str) -> str:
    """Return a model's name or pattern. Raises ValueError where no model can have such a name."""
    if not is_pattern(text):
        canonical(text)
    return text


Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/*?!\[\]-]{1,200}$"), AfterValidator(_named)]

NOTHING = Rights(models=(), may_manage=False)
"""Of a line that cannot be read."""

_FIELDS = 9


class Key(BaseModel):
    """One key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    hash: Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{64}$")]
    models: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=50)] | None = None
    """None: all. No more than fit into one command to HAProxy."""
    priority: Annotated[int, Field(ge=MOST_URGENT, le=100)] = MOST_URGENT
    weight: Annotated[float, Field(ge=0.001, le=1000, allow_inf_nan=False)] = 1.0
    rpm: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Requests in a minute of the clock; 0: any number."""
    concurrent: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    manage: bool = False
    expires_s: Annotated[int, Field(ge=0)] = 0
    """Seconds since 1970; 0: never."""

    @property
    def rights(self) -> Rights:
        """What it may do."""
        return Rights(self.name, self.models, self.priority, self.weight, self.concurrent, self.manage)

    @property
    def models_id(self) -> str:
        """What stands for its models where HAProxy looks them up: the same for the same ones; "" for all."""
        return models_id(self.models)

    @property
    def line(self) -> str:
        """All of it but the hash, as HAProxy's map has it and passes it on. Fields are as HAProxy counts them, from 1:
        name, expiry, rpm, concurrent, priority, weight, manage, models' id, models.
        """
        numbers = self.expires_s, self.rpm, self.concurrent, self.priority
        words = self.name, *map(str, numbers), f"{self.weight:g}", str(int(self.manage)), self.models_id
        return "|".join((*words, ",".join(self.models or ())))


OPEN_LINE = f"|0|0|0|{MOST_URGENT}|1|0||"
"""Of those who need no key: they use all models, and change none."""


@lru_cache(maxsize=16_384)
def models_id(models: tuple[str, ...] | None) -> str:
    """Return a short name for a list of models."""
    return "" if models is None else sha256("\n".join(models).encode()).hexdigest()[:16]


@lru_cache(maxsize=16_384)
def rights_of(line: str) -> Rights:
    """Return the rights that a key's line says; NOTHING where it cannot be read."""
    fields = line.split("|")
    if len(fields) != _FIELDS:
        return NOTHING
    name, _, _, concurrent, priority, weight, manage, of_models, models = fields
    patterns = tuple(re.findall(r"[^,]+", models)) if of_models else None
    try:
        return Rights(name, patterns, int(priority), float(weight), int(concurrent), manage == "1")
    except ValueError:
        return NOTHING


def new_secret() -> str:
    """Return a new key for somebody."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    """Return what is kept of a key, in the form that HAProxy's `sha2(256),hex` gives."""
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest().upper()
