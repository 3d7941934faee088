"""Scenes as lines that follow each other, for pipes and terminals that cannot do more: what is new in each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from spoe_agent.agent.recent import Recent
from spoe_agent.top.columns import GIB, short

KNOWN = 1_000
"""Decisions that were said."""


class Plain:
    """Says what a scene has that those before it had not."""

    def __init__(self) -> None:
        self._instances: dict[str, str] = {}
        self._faults: dict[str, str] = {}
        self._decisions: Recent[tuple[str, ...], None] = Recent(KNOWN)
        self._lost = ""

    def lines(self, scene: dict[str, Any] | str) -> Iterator[str]:
        """Give the lines for a scene, or for why there is none."""
        lost = scene if isinstance(scene, str) else ""
        if lost and not self._lost:
            yield f"the agent does not answer: {lost}"
        if self._lost and not lost:
            yield "the agent answers again"
        self._lost = lost
        if isinstance(scene, dict):
            yield from self._of_instances(scene["instances"])
            yield from self._of_faults(scene["faults"])
            yield from self._of_decisions(scene["decisions"])

    def _of_instances(self, instances: list[dict[str, Any]]) -> Iterator[str]:
        for one in instances:
            said = _instance(one)
            if self._instances.get(one["name"]) != said:
                self._instances[one["name"]] = said
                yield said

    def _of_faults(self, faults: list[dict[str, str]]) -> Iterator[str]:
        """Seconds that pass are no news."""
        now: dict[str, dict[str, str]] = {}
        for one in faults:
            key = _still(f"{one['where']} {one['what']}")
            while key in now:
                key += "#"
            now[key] = one
        yield from (f"no more: {said}" for key, said in self._faults.items() if key not in now)
        for key, one in now.items():
            said = f"{one['where']}: {one['what']}" if one["where"] else one["what"]
            if key not in self._faults:
                yield f"{'wrong' if one['grade'] == 'bad' else 'note'}: {said}"
            self._faults[key] = said
        self._faults = {key: said for key, said in self._faults.items() if key in now}

    def _of_decisions(self, decisions: list[dict[str, Any]]) -> Iterator[str]:
        for one in reversed(decisions):
            if self._is_new(one["id"], "decided", one["action"]):
                yield _decided(one)
            if one["end"] and self._is_new(one["id"], "ended", one["end"]):
                yield _ended(one)

    def _is_new(self, *what: str) -> bool:
        is_new = what not in self._decisions
        self._decisions.put(what, None)
        return is_new


def _instance(one: dict[str, Any]) -> str:
    total = one["total_bytes"]
    memory = f", {one['used_bytes'] / GIB:.1f} of {total / GIB:.1f} GiB" if total else ""
    models = ", ".join(short(model["model"]) for model in one["loaded"]) or "nothing loaded"
    loads = "".join(f", loads {short(load['model'])}" for load in one["loads"])
    return f"{one['name']} {one['health']}{memory}: {models}{loads}"


def _decided(one: dict[str, Any]) -> str:
    to = f"-> {one['to']}" if one["to"] else {"hold": "waits"}.get(one["action"], "refused")
    return f"{short(one['model']) or 'no model'} {to}: {one['why']}"


def _ended(one: dict[str, Any]) -> str:
    first = "" if one["first_s"] is None else f", first token after {one['first_s']:.2f} s"
    end = "was left by its client" if one["end"] == "left" else f"ended with {one['end']}{first}"
    return " ".join(filter(None, (short(one["model"]) or "no model", one["to"], end)))


def _still(text: str) -> str:
    """Return a text without the numbers in it; those in names stay."""
    return re.sub(r"(?<!\S)\d[\d.]*(?!\S)", "", text)
