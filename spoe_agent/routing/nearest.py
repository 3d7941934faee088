"""Names that a caller may have meant who asks for a model that nobody has."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from spoe_agent.routing.names import display

MOST = 3
"""So many are told."""
COMPARED = 100
"""So many at most are compared in full, which takes up to 0.1 ms each where names are alike: those that have most of
their beginning and end in common with what was asked for."""
LIKENESS = 0.75
"""difflib's ratio of two models' own names, without namespace and tag: `lama3` and `llama3` have 0.91."""
SPREAD = 4
"""Names whose lengths differ by more are not compared, nor such as begin with another letter: that is what costs."""


def nearest(key: str, known: Iterable[str]) -> list[str]:
    """Return the known names that are close to a canonical key, the closest first, in their shortest form: another tag
    of the same model, or one of a model of nearly the same name.
    """
    model, tag = _parts(key)
    like: dict[str, list[str]] = {}
    for other in known:
        its_model, _ = _parts(other)
        if its_model[:1] == model[:1] and abs(len(its_model) - len(model)) <= SPREAD:
            like.setdefault(its_model, []).append(other)
    compared = sorted(like, key=lambda one: _shared(model, one), reverse=True)
    close = get_close_matches(model, compared[:COMPARED], MOST, LIKENESS)
    found = [other for name in close for other in sorted(like[name], key=lambda one: (_parts(one)[1] != tag, one))]
    return [display(one) for one in found[:MOST]]


def _shared(one: str, other: str) -> int:
    """Return how many letters two names have in common at their beginnings, and behind that at their ends."""
    begin = _common(one, other)
    return begin + _common(one[begin:][::-1], other[begin:][::-1])


def _common(one: str, other: str) -> int:
    differs = (number for number, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differs, min(len(one), len(other)))


def _parts(key: str) -> tuple[str, str]:
    """Return a key's model and tag."""
    model, _, tag = key.rpartition("/")[2].partition(":")
    return model, tag
