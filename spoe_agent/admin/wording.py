"""A decision in plain words: of `pointsman explain`, and of the dashboard. Whoever shows them lays them out.

`found` is a decision as `admin.explain` gives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spoe_agent.agent.unserved import LEFT_LOAD, LEFT_QUEUE, Lately
from spoe_agent.routing import Reason
from spoe_agent.routing.names import display

WHY = {
    "loaded": "it is loaded there",
    "loading": "it is loading there just now",
    "reload": "it is loaded there with another context or other options, and is loaded again",
    "room": "there is room to load it beside what is loaded",
    "evict": "it is loaded there in the place of others",
}

TERMS = {
    "wait_s": ("wait", "until a slot is free, or a connection"),
    "load_s": ("load", "loading the model, or what is left of that"),
    "behind_s": ("behind", "other loads before it, and models that have to go first"),
    "share_s": ("share", "slower because other requests run on the same GPUs, and slowing these"),
    "slow_s": ("slow", "GPUs that are held down, or part of the model on the CPU"),
    "prefix_s": ("cached", "saved: the beginning of the conversation is in its cache"),
    "price_s": ("price", "no time of this request: what its load takes from others"),
}
"""Heading and meaning of each term, in the order of the columns."""


UNSERVED = {
    Reason.CANNOT_FIT: "no instance has the GPU memory for {}",
    Reason.HOLD_TIMEOUT: "no slot was free for {} within the time to wait",
    Reason.NO_INSTANCE_UP: "no instance that has {} is up",
    Reason.NO_LISTS: "an instance has just started, and perhaps has {}",
    Reason.NOT_FOUND: "{} is on no instance that may serve it",
    Reason.TOO_LARGE: "a body was too large for its model to be found",
    Reason.CROWDED: "too many large bodies waited to be read",
    LEFT_QUEUE: "clients left while they waited for a slot of {}",
    LEFT_LOAD: "clients left while {} loaded, which ends a load",
}
"""Why requests were not served, as `agent.unserved` counts them."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One decision."""

    headline: str
    """What was decided, or would be, and why."""
    headings: tuple[str, ...]
    """Of the columns. The first one marks the row of the chosen instance with ">"."""
    rows: tuple[tuple[str, ...], ...]
    """One for each instance, in the fleet file's order; of an instance that is out of the question it is shorter."""
    notes: tuple[str, ...]
    """What is to be known of instances beside their seconds."""
    meanings: tuple[str, ...]
    """What the columns mean."""
    end: str
    """How it ended; "" when nothing was sent."""


def worded(found: dict[str, Any]) -> Explanation:
    """Return a decision in words."""
    candidates: dict[str, dict[str, Any]] = found["candidates"]
    terms = [term for term in TERMS if any(term in one for one in candidates.values())]
    return Explanation(
        _headline(found),
        ("", "instance", "model is", "seconds", *(TERMS[term][0] for term in terms)) if candidates else (),
        tuple(_row(name, one, terms, name == found["instance"]) for name, one in candidates.items()),
        tuple(f"{name}: {note}" for name, one in candidates.items() if (note := _note(one))),
        tuple(f"{TERMS[term][0]}: {TERMS[term][1]}" for term in terms),
        _end(found) if found["age_s"] is not None else "",
    )


def unserved(found: Mapping[str, Lately], now_s: float) -> list[str]:
    """Say what was not served lately: a line for each cause, with the last one's model."""
    return [
        f"{UNSERVED[cause].format(display(one.model) if one.model else 'a model')}: {one.requests} not served, "
        f"the last {now_s - one.at_s:.0f} s ago"
        for cause, one in found.items()
    ]


def waits(instance: str | None, reason: str) -> str:
    """Say why a request is held, and where it would wait least."""
    return f"no slot is free. It waits least for {instance}: {WHY.get(reason, reason)}."


def _headline(found: dict[str, Any]) -> str:
    model, instance, reason = found["model"] or "no model", found["instance"], found["reason"]
    is_past = found["age_s"] is not None
    who = f"{found['id']}: {model}" + (f" for {found['caller']}" if found["caller"] else "")
    subject = f"{who}, {age(found['age_s'])} ago," if is_past else f"A request for {model} would now be"
    if found["action"] == "route":
        held = f", after {seconds(found['held_s'])} in the queue" if found["held_s"] is not None else ""
        return f"{subject} {'went' if is_past else 'sent'} to {instance}: {WHY.get(reason, reason)}{held}."
    if found["action"] == "hold":
        return f"{subject} held: {waits(instance, reason)}"
    held = f" after {seconds(found['held_s'])} in the queue" if found["held_s"] is not None else ""
    return f"{subject} {'was ' * is_past}turned away{held} with {found['status']}, {reason}: {found['message']}"


def _row(name: str, one: dict[str, Any], terms: list[str], is_chosen: bool) -> tuple[str, ...]:
    mark = ">" if is_chosen else ""
    if "excluded" in one:
        return mark, name, f"out: {one['excluded']}"
    return mark, name, one.get("state", "-"), *(_plain(one.get(term)) for term in ("total_s", *terms))


def _note(one: dict[str, Any]) -> str:
    """Say what is to be known of an instance beside its seconds."""
    parts = [one["why"]] if one.get("why") else []
    if one.get("evicts"):
        parts.append(f"{', '.join(one['evicts'])} must go for it")
    if one.get("slot"):
        parts.append("no slot is free")
    return "; ".join(parts)


def _end(found: dict[str, Any]) -> str:
    ended, predicted_s = found["ended"], found["predicted_s"]
    if ended is None:
        return "It has not ended, as far as is known."
    if not ended["is_whole"]:
        where = f" at {ended['server']}" if ended["server"] != found["instance"] else ""
        return f"It ended{where} with {ended['status']}, termination {ended['termination']} in HAProxy's words."
    predicted = f" (predicted: {seconds(predicted_s)})" if predicted_s is not None else ""
    took = f"{seconds(ended['first_byte_s'])} until the first token{predicted}, {seconds(ended['total_s'])} in all"
    return f"It was answered by {ended['server']} with {ended['status']}: {took}."


def _plain(value_s: float | None) -> str:
    return "" if value_s is None else f"{value_s:.2f}"


def seconds(value_s: float | None) -> str:
    """Return a time that may be none."""
    return "-" if value_s is None else f"{value_s:.2f} s"


def age(value_s: float | None) -> str:
    """Return how long ago it was."""
    if value_s is None:
        return "-"
    if value_s < 120:
        return f"{value_s:.0f} s"
    return f"{value_s / 60:.0f} min" if value_s < 7200 else f"{value_s / 3600:.1f} h"


def haproxy(found: dict[str, Any]) -> str:
    """Say who asks, and what went by without asking. `found`: of a status."""
    age_s, fell_back, processes = found["asked_age_s"], found["fell_back"], len(found["processes"])
    said = "HAProxy has not asked yet" if age_s is None else f"HAProxy asked {age(age_s)} ago"
    if processes > 1:
        said += f", {processes} processes"
    if age_s is not None and not processes:
        said += ", and no process of it is known to be there now"
    if fell_back:
        first, last = (age(found[f"{which}_fell_back_age_s"]) for which in ("first", "last"))
        plural = "s" if fell_back > 1 else ""
        said += f"; {fell_back} request{plural} fell back, the first {first} ago, the last {last} ago"
    return said
