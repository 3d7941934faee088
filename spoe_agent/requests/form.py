"""The field `model` of a multipart form (/v1/audio/transcriptions), found as Go finds it for Ollama (mime/multipart,
mime.ParseMediaType), without a copy of the file beside it.

As Go's FormValue has it, the first part of that name counts that is no file. Go also reads heads of parts of up to
10 MB, and names in the forms of RFC 2231; here such parts have no name.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping

MAX_HEAD_BYTES = 1024
"""Of a part's headers, and of a Content-Type: longer ones are made to take long."""
MAX_PARTS = 1000
"""Of more, Go says that the form is too large."""
MAX_BLANKS = 64
"""Behind a boundary."""
WINDOW_BYTES = 128 * 1024
OVERLAP_BYTES = MAX_HEAD_BYTES + MAX_BLANKS + 8
"""More than a boundary's line can take: it may begin in one window and end in the next."""
FIELD = "model"

_HEAD_END = re.compile(rb"\n\r?\n")
_DISPOSITION = re.compile(r"^content-disposition:((?:.|\n[ \t])*+)", re.I | re.M)
_FOLD = re.compile(r"\r?\n[ \t]+")
_TOKEN = r"[^\x00-\x20\x7f-\U0010ffff()<>@,;:\\\"/\[\]?=]++"
_PARAMETER = re.compile(rf'\s*+;\s*+({_TOKEN})\s*+=\s*+(?:({_TOKEN})|"((?:[^"\\\r\n]|\\[^\r\n])*+)")')
_ESCAPED = re.compile(r'\\([()<>@,;:\\"/\[\]?=])')


def model_field(form: bytes, content_type: str) -> str | None:
    """Return the model that a form, or what is there of one, names; None when it names none, or not in that part."""
    steps = field_reading(form, content_type)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return None if done.value is None else str(done.value)


def field_reading(form: bytes, content_type: str) -> Generator[None, None, str | None]:
    """Do as `model_field`, with a pause after each part and each window."""
    dashes = b"--" + _boundary(content_type)
    delimiter = (yield from _search(_first(dashes), form, 0)) if len(dashes) > 2 else None
    if delimiter is None:
        return None
    # The first one says how lines end (Go: isBoundaryDelimiterLine).
    line_end = b"\r\n" if delimiter.group().endswith(b"\r\n") else b"\n"
    following = _following(dashes, line_end)
    for _ in range(MAX_PARTS):
        if delimiter is None or delimiter["last"]:
            return None
        begin = delimiter.end()
        head = _HEAD_END.search(form, begin - 1, begin + MAX_HEAD_BYTES)
        start = begin if head is None else head.end()
        delimiter = yield from _search(following, form, start - len(line_end))
        if head is not None and _is_field(form[begin : head.start()]):
            # Without a boundary behind it, it may go on behind what is there.
            return None if delimiter is None else form[start : delimiter.start()].decode("utf-8", "replace").strip()
        yield
    return None


def _boundary(content_type: str) -> bytes:
    """Return the text that stands between parts; nothing when there is no usable one."""
    found = parameters(content_type[:MAX_HEAD_BYTES], "multipart/form-data")
    return found.get("boundary", "").encode("utf-8", "replace")


def _first(dashes: bytes) -> re.Pattern[bytes]:
    """Return the first line that is a boundary."""
    text = re.escape(dashes)
    return re.compile(text + rb"(?:(?<=\n%b)|(?<=\A%b))(?:(?P<last>--)|[ \t]{0,%d}+\r?\n)" % (text, text, MAX_BLANKS))


def _following(dashes: bytes, line_end: bytes) -> re.Pattern[bytes]:
    """Return a further one, with the line's end before it. What it begins with is looked for fast."""
    text = re.escape(line_end + dashes)
    return re.compile(text + rb"(?:(?P<last>--)|[ \t]{0,%d}+%b)" % (MAX_BLANKS, re.escape(line_end)))


def _search(pattern: re.Pattern[bytes], form: bytes, at: int) -> Generator[None, None, re.Match[bytes] | None]:
    while at < len(form):
        end = at + WINDOW_BYTES
        found = pattern.search(form, at, end + OVERLAP_BYTES)
        if found is not None and found.start() < end:
            return found
        at = end
        yield
    return None


def _is_field(head: bytes) -> bool:
    found = _DISPOSITION.search(head.decode("utf-8", "replace"))
    names = parameters(_FOLD.sub(" ", found[1]), "form-data") if found else {}
    return names.get("name") == FIELD and not names.get("filename")


def parameters(value: str, media_type: str) -> Mapping[str, str]:
    """Return the parameters of a header's value of this type; none where Go takes none (mime.ParseMediaType)."""
    base = value.partition(";")[0]
    found: dict[str, str] = {}
    at = len(base)
    while parameter := _PARAMETER.match(value, at):
        name, token, quoted = parameter.groups()
        text = token or _ESCAPED.sub(r"\1", quoted or "")
        if found.setdefault(name.lower(), text) != text:
            return {}
        at = parameter.end()
    is_good = base.strip().lower() == media_type and value[at:].strip() in ("", ";")
    return found if is_good else {}
