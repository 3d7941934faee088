"""The text that simulated models produce: words without sense, the same for the same request, and vectors."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

_TEXT = (
    "the train waits at the signal while a pointsman sets the points and every carriage rolls on to its own "
    "platform where someone reads the board and knows which line is free and which one has to wait a little"
)
_WORDS = _TEXT.split()


def words(seed: int, start: int, stop: int) -> Iterator[str]:
    """Tokens ``start`` to ``stop`` of the answer with this seed, each with a space after it."""
    for index in range(start, stop):
        yield _WORDS[(seed * 7 + index) % len(_WORDS)] + " "


def vector(text: str, length: int) -> list[float]:
    """An embedding of ``text``: the same for the same text, values between -1 and 1."""
    digest = blake2b(text.encode(errors="replace")).digest()
    return [(digest[index % len(digest)] - 127.5) / 127.5 for index in range(length)]
