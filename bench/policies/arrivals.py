"""Who asks when, and how much: traces read from files.

Lives here: the file formats.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


class TraceError(Exception):
    """A trace file cannot be used; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of a trace."""

    at_s: float
    """Since the first request."""
    rank: str | None
    """The trace's own label for the model; None when it names none."""
    prompt_tokens: int
    output_tokens: int
    session: str | None = None
    """Requests of one session extend the same prompt."""
    fresh_tokens: int | None = None
    """Prompt tokens that the session has not sent before; None: all of them."""


def read_trace(path: Path) -> list[Arrival]:
    """Read ServeGen's CSV, Azure's CSV or Mooncake's JSON lines, told apart by their first line.

    Raises:
        TraceError: no such file, or none of the three.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            first = file.readline()
            file.seek(0)
            arrivals = _read(file, first)
    except OSError as error:
        raise TraceError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise TraceError(f"{path}: a line is not as its format says: {error!r}") from error
    if not arrivals:
        raise TraceError(f"{path}: neither a ServeGen or Azure CSV nor Mooncake JSON lines, or it has no requests")
    return _from_zero(arrivals)


def _read(file: Iterable[str], first: str) -> list[Arrival]:
    if first.startswith("timestamp_s,"):
        return [_servegen(row) for row in csv.DictReader(file)]
    if first.startswith("TIMESTAMP,"):
        return [_azure(row) for row in csv.DictReader(file)]
    if first.startswith("{"):
        return _mooncake([json.loads(line) for line in file if line.strip()])
    return []


def _servegen(row: Mapping[str, str]) -> Arrival:
    return Arrival(
        at_s=float(row["timestamp_s"]),
        rank=row["model_rank"],
        prompt_tokens=int(row["input_tokens"]),
        output_tokens=int(row["output_tokens"]),
    )


def _azure(row: Mapping[str, str]) -> Arrival:
    # Seven digits after the second: more than datetime reads.
    when = datetime.fromisoformat(row["TIMESTAMP"][:26])
    return Arrival(
        at_s=(when - datetime(2023, 1, 1)).total_seconds(),
        rank=None,
        prompt_tokens=int(row["ContextTokens"]),
        output_tokens=int(row["GeneratedTokens"]),
    )


def _mooncake(lines: list[dict[str, object]]) -> list[Arrival]:
    """`hash_ids` name blocks of the prompt, each together with all before it: who ends in a block that an earlier
    request ended in, or went through as its last known one, goes on with that request's conversation."""
    session_of_block: dict[object, str] = {}
    arrivals = []
    for number, line in enumerate(lines):
        blocks = line["hash_ids"]
        prompt = line["input_length"]
        if not isinstance(blocks, list) or not isinstance(prompt, int):
            raise ValueError(f"request {number + 1} has no hash_ids or input_length")
        known = sum(block in session_of_block for block in blocks)
        # A few first blocks are a common system prompt, not a conversation.
        goes_on = known > len(blocks) // 2
        session = session_of_block[blocks[known - 1]] if goes_on else f"s{number}"
        session_of_block.update({block: session for block in blocks if block not in session_of_block})
        fresh = prompt * (len(blocks) - known) // max(1, len(blocks)) if goes_on else prompt
        at_s = float(str(line["timestamp"])) / 1000
        arrivals.append(Arrival(at_s, None, prompt, int(str(line["output_length"])), session, fresh))
    return arrivals


def _from_zero(arrivals: list[Arrival]) -> list[Arrival]:
    ordered = sorted(arrivals, key=lambda arrival: arrival.at_s)
    start_s = ordered[0].at_s
    return [
        Arrival(a.at_s - start_s, a.rank, a.prompt_tokens, a.output_tokens, a.session, a.fresh_tokens) for a in ordered
    ]
