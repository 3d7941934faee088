"""Rows of the decision log, until they are written (`spoe_agent.decisions`): each request with all that `choose` saw
and said, joined with how it ended.

A request whose end did not come while its decision was kept has two rows: one without `ended`, and one with nothing but
that. Whoever reads the log joins rows by `id`.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b, sha256
from typing import Any

from pydantic_core import to_json

from spoe_agent.agent import decided
from spoe_agent.agent.ending import Line
from spoe_agent.agent.history import PastRequest
from spoe_agent.routing import Kind, RequestFacts
from spoe_agent.routing.facts import LogCaller

MAX_BYTES = 8 << 20
"""Rows that wait to be written take no more: while the disk hangs, those beyond are lost, and counted."""


class Rows:
    """Of one agent. None are made unless somebody takes them."""

    def __init__(self, most_bytes: int = MAX_BYTES) -> None:
        self._most = most_bytes
        self.is_wanted = False
        self.log_caller: LogCaller = "name"
        self.wall_offset_s = 0.0
        """Seconds since 1970 less those of the agent's clock."""
        self.written = 0
        """Counted by whoever takes them, like what is lost on the way to the disk."""
        self.lost = 0
        self._waiting: list[bytes] = []
        self._bytes = 0
        # A short beginning can be guessed, and its hash compared: with this nobody can.
        self._key = secrets.token_bytes(16)

    def take(self) -> list[bytes]:
        """Return the rows that wait, oldest first; the caller has them now."""
        found, self._waiting, self._bytes = self._waiting, [], 0
        return found

    def ended(self, entry: PastRequest | None, line: Line) -> None:
        """Add how a request ended. `entry`: its decision; None: none is kept."""
        if not self.is_wanted:
            return
        if entry is None or entry.is_in_log:
            if line.kind is Kind.INFERENCE:
                self._add({"id": line.request_id, "ended": _ended(line)})
        else:
            self._add({**self._decision(entry), "ended": _ended(line)})

    def still_open(self, entry: PastRequest) -> None:
        """Add a request whose end is not known, and whose decision is kept no longer."""
        if self.is_wanted and not entry.is_in_log:
            entry.is_in_log = True
            self._add({**self._decision(entry), "ended": None})

    def _add(self, row: dict[str, Any]) -> None:
        text = to_json(row, inf_nan_mode="null") + b"\n"
        if self._bytes + len(text) > self._most:
            self.lost += 1
            return
        self._waiting.append(text)
        self._bytes += len(text)

    def _decision(self, entry: PastRequest) -> dict[str, Any]:
        said = decided.fields(entry.facts, entry.choice, self.caller(entry.facts.caller))
        return {
            "id": said.pop("id"),
            "time": round(entry.at_s + self.wall_offset_s, 3),
            **self._asked(entry.facts),
            **said,
            "held_s": _rounded(entry.held_s),
            "predicted_s": _rounded(entry.predicted_s),
        }

    def _asked(self, facts: RequestFacts) -> dict[str, Any]:
        """What is asked, beside the model and the caller; what is as usual is left out."""
        wishes = facts.wishes
        found = {
            "num_ctx": facts.num_ctx,
            "runner_options": facts.runner_options,
            "only_loads": facts.only_loads,
            "embeds": facts.embeds,
            "conversation": self._hidden(facts.prefix),
            "wants_instance": wishes.instance,
            "wants_priority": wishes.priority,
            "wants_wait_s": wishes.wait_s,
            "tried": list(facts.tried),
        }
        counts = {name: [load.connections, load.queued, load.is_up] for name, load in facts.loads.items()}
        usual = {"kind": str(facts.kind), "dialect": str(facts.dialect), "body_bytes": facts.body_bytes}
        return {
            **usual,
            # Not 0: a priority and a time to wait may be that.
            **{key: value for key, value in found.items() if value not in (None, "", []) and value is not False},
            "counts": counts,
        }

    def caller(self, caller: str) -> str:
        """Return whose a request is, as HAProxy's log has it."""
        if self.log_caller == "name" or not caller:
            return caller
        return sha256(caller.encode()).hexdigest()[:16].upper() if self.log_caller == "hash" else ""

    def _hidden(self, prefix: str) -> str:
        return blake2b(prefix.encode(), digest_size=8, key=self._key).hexdigest() if prefix else ""


def _ended(line: Line) -> dict[str, Any]:
    return {
        "server": line.server,
        "status": line.status,
        "termination": line.termination,
        "queue_s": _rounded(line.queue_s),
        "first_byte_s": _rounded(line.ending.first_byte_s),
        "total_s": _rounded(line.ending.total_s),
        "is_whole": line.ending.is_whole,
        "bytes": line.size_bytes,
        "fell_back": line.fell_back,
        "request_id": line.name,
        "begun": line.begun_at_s,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
