"""One member of a JSON object's top level (`model`), found as Go's encoding/json finds it, without parsing the rest.

Keys match in any case and however they are escaped; the last one wins; null changes nothing; what follows the object is
ignored. In what is no JSON something may be found too: Ollama refuses that itself.
Goes through the text in windows, so that whoever must not stand still can do other things between two of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Self

WINDOW_BYTES = 128 * 1024
KEYS_PER_WINDOW = 256
MAX_KEY_BYTES = 64
"""More than a word of ours takes with all its letters escaped."""
MAX_VALUE_BYTES = 4096
"""No model's name is longer; what is, is cut there."""
PAIRING_ROUNDS = 6
"""Most brackets of a request stand in pairs that are not nested deeper; the rest is counted one by one."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.S)
_SPACE = re.compile(rb"[ \t\r\n]*+")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_STEPS = [1 if byte in b"{[" else -1 for byte in range(256)]


_FOLDS = {"s": "\u017f", "k": "\u212a"}
"""Letters beyond ASCII that Go takes for these (unicode.SimpleFold); no other letter of our words has one."""


def folded(key: str) -> str:
    """Return a key as encoding/json compares it, as far as words in small ASCII letters are concerned."""
    lower = key.lower()
    return lower if lower.isascii() else lower.replace(_FOLDS["s"], "s")


@lru_cache
def key_pattern(word: str) -> re.Pattern[bytes]:
    r"""Return what may be this key: each letter may be `\u00XX`. Of what stands before it, the caller must judge."""
    return re.compile(rf'"{"".join(map(_letter, word))}"(?=[ \t\r\n]*+(?::|\Z))'.encode(), re.I)


def _letter(letter: str) -> str:
    other = _FOLDS.get(letter)
    also = rf"|{other}|\\u{ord(other):04x}" if other else ""
    return rf"(?:{letter}|\\u00{ord(letter) & 0xDF:02x}|\\u00{ord(letter):02x}{also})"


@dataclass(slots=True)
class Scan:
    """One pass over a JSON object; read the fields when `run` is through."""

    text: bytes
    word: str = "model"
    window_bytes: int = WINDOW_BYTES
    """How much is gone through between two pauses; at least 2."""
    value: str = ""
    """What the last member of that name says; null says nothing."""
    exact: str = ""
    """What the last one says that is spelled just so; "" when that is no text."""
    is_mistyped: bool = False
    """One of them is neither a text nor null."""
    found: str = ""
    """Go's word for what the last of those is, or for what stands where the object should begin."""
    is_broken: bool = False
    """One of them is a text that Go does not take."""
    is_object: bool = False
    is_closed: bool = False
    """The object ends within the text."""
    is_cut: bool = False
    """The text ends inside what may be a member of that name."""
    depth: int = 0
    in_string: bool = False
    _at: int = 0
    _taken: str = ""
    _key: re.Pattern[bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._key = key_pattern(self.word)

    @property
    def is_torn(self) -> bool:
        """It is spelled in more than one way, and which of them is read decides what it says."""
        return self.exact not in ("", self.value)

    def run(self) -> Self:
        """Go through all of it at once."""
        for _ in self.windows():
            pass
        return self

    def windows(self) -> Iterator[None]:
        """Go through it, with a pause after each window."""
        self._at = _past_space(self.text, 0)
        self.is_object = self.text.startswith(b"{", self._at)
        if not self.is_object:
            self.found = _go_type(self.text, self._at)
            return
        self._at += 1
        self.depth = 1
        while self._at < len(self.text) and not (self.is_closed or self.is_cut):
            self._window(min(self._at + self.window_bytes, len(self.text)))
            yield

    def _window(self, end: int) -> None:
        for _ in range(KEYS_PER_WINDOW):
            key = self._next_key(end)
            self._advance(end if key is None else key.start())
            if key is None or self.is_closed:
                return
            if self.in_string:
                # The end of a text, and then a word without a quote before it: no JSON.
                self._at, self.in_string = key.start() + 1, False
                continue
            self._at = key.end()
            if self.depth == 1:
                self._take_member()
                if self._is_exact(key.group()):
                    self.exact = self._taken
            if self.is_cut or self._at >= end:
                return

    def _next_key(self, end: int) -> re.Match[bytes] | None:
        """Return the next text before `end` that may be our key. In valid JSON none begins behind a backslash."""
        found = self._key.search(self.text, self._at, min(end + MAX_KEY_BYTES, len(self.text)))
        while found is not None and self.text[found.start() - 1] == ord("\\"):
            found = self._key.search(self.text, found.start() + 1, min(end + MAX_KEY_BYTES, len(self.text)))
        return found if found is not None and found.start() < end else None

    def _advance(self, end: int) -> None:
        """Count brackets outside of texts, up to `end`."""
        part = self.text[self._at : end]
        # An escape is not torn.
        if end < len(self.text) and (len(part) - len(part.rstrip(b"\\"))) % 2:
            part = part[:-1]
        self._at += len(part)
        pieces = part.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        outside = b"".join(pieces[self.in_string :: 2])
        self.in_string ^= len(pieces) % 2 == 0
        closing, opening = _unpaired(outside.translate(None, _NO_BRACKETS))
        self.is_closed = closing >= self.depth
        self.depth += opening - closing

    def _is_exact(self, key: bytes) -> bool:
        return key[1:-1] == self.word.encode() or (b"\\" in key and json.loads(key) == self.word)

    def _take_member(self) -> None:
        """Take the value of a member, if it is one: `_at` is behind the text that may be its key."""
        self._taken = ""
        colon = _past_space(self.text, self._at)
        if self.text[colon : colon + 1] not in (b":", b""):
            return
        start = _past_space(self.text, colon + 1)
        self._at = start
        first = self.text[start : start + 4]
        if first.startswith(b'"'):
            self._take_text(start)
        elif len(first) < 4 and b"null".startswith(first):
            self.is_cut = True
        elif first != b"null":
            self.is_mistyped = True
            self.found = _go_type(self.text, start)

    def _take_text(self, start: int) -> None:
        quoted = _STRING.match(self.text, start, start + MAX_VALUE_BYTES)
        if quoted is None and len(self.text) - start < MAX_VALUE_BYTES:
            self.is_cut = True
            return
        if quoted is None:
            self.value = self._taken = self.text[start + 1 : start + MAX_VALUE_BYTES].decode("utf-8", "replace")
            return
        self._at = quoted.end()
        try:
            self.value = self._taken = json.loads(quoted[0].decode("utf-8", "replace"))
        except ValueError:
            self.is_broken = True


def _go_type(text: bytes, at: int) -> str:
    """Return what encoding/json calls the value that begins there; "" when none does."""
    first = text[at : at + 1]
    if first.isdigit() or first == b"-":
        return "number"
    return {b"{": "object", b"[": "array", b'"': "string", b"t": "bool", b"f": "bool", b"n": "null"}.get(first, "")


def _past_space(text: bytes, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _unpaired(brackets: bytes) -> tuple[int, int]:
    """Return how many brackets close what was open before, and how many stay open."""
    for _ in range(PAIRING_ROUNDS):
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    if not brackets:
        return 0, 0
    depths = list(accumulate(map(_STEPS.__getitem__, brackets)))
    closing = max(0, -min(depths))
    return closing, depths[-1] + closing
