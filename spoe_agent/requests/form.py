"""The field `model` of a multipart form (/v1/audio/transcriptions), found as Go finds it for Ollama (mime/multipart,
mime.ParseMediaType), without a copy of the file beside it.

As Go's FormValue has it, the first part of that name counts that is no file. Go also reads heads of parts of up to
10 MB, names in the forms of RFC 2231, and any blanks behind a boundary; here a form ends where there are such, and has
no field behind them: a part that only Go reads may name the model.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping

MAX_HEAD_BYTES = 4096
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
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"', re.S)


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
        if delimiter is None or delimiter["last"] or delimiter["odd"]:
            return None
        begin = delimiter.end()
        head = _HEAD_END.search(form, begin - 1, begin + MAX_HEAD_BYTES)
        disposition = None if head is None else _disposition(form[begin : head.start()])
        if head is None or disposition is None:
            return None
        start = head.end()
        delimiter = yield from _search(following, form, start - len(line_end))
        if disposition.get("name") == FIELD and not disposition.get("filename"):
            # Without a boundary behind it, it may go on behind what is there.
            if delimiter is None or delimiter["odd"]:
                return None
            return form[start : delimiter.start()].decode("utf-8", "replace").strip()
        yield
    return None


def _boundary(content_type: str) -> bytes:
    """Return the text that stands between parts; nothing when there is no usable one."""
    value = content_type[:MAX_HEAD_BYTES]
    found = parameters(value, "multipart/form-data")
    if _has_odd_space(value) or any("*" in name for name in found):
        return b""  # RFC 2231: Go takes `boundary*` before `boundary`
    return found.get("boundary", "").encode("utf-8", "replace")


def _first(dashes: bytes) -> re.Pattern[bytes]:
    """Return the first line that is a boundary."""
    text = re.escape(dashes)
    begins = rb"(?:(?<=\n%b)|(?<=\A%b))" % (text, text)
    return re.compile(text + begins + _AFTER % (MAX_BLANKS, rb"\r?\n", MAX_BLANKS + 1))


def _following(dashes: bytes, line_end: bytes) -> re.Pattern[bytes]:
    """Return a further one, with the line's end before it. What it begins with is looked for fast."""
    text = re.escape(line_end + dashes)
    return re.compile(text + _AFTER % (MAX_BLANKS, re.escape(line_end), MAX_BLANKS + 1))


_AFTER = rb"(?:(?P<last>--)|[ \t]{0,%d}+%b|(?P<odd>[ \t]{%d}))"
"""What makes a boundary of its text; `odd`: more blanks than are looked through here."""


def _search(pattern: re.Pattern[bytes], form: bytes, at: int) -> Generator[None, None, re.Match[bytes] | None]:
    while at < len(form):
        end = at + WINDOW_BYTES
        found = pattern.search(form, at, end + OVERLAP_BYTES)
        if found is not None and found.start() < end:
            return found
        at = end
        yield
    return None


def _disposition(head: bytes) -> Mapping[str, str] | None:
    """Return what a part's head says of it; nothing where Go reads nothing; None: Go may read it otherwise."""
    found = _DISPOSITION.search(head.decode("utf-8", "replace"))
    if found is None:
        return {}
    value = _FOLD.sub(" ", found[1])
    names = parameters(value, "form-data")
    # RFC 2231: `name*` is `name` to Go, and `filename*` makes a file of a field.
    more = {name.partition("*")[0] for name in names if "*" in name}
    is_doubtful = "name" in more or ("filename" in more and names.get("name") == FIELD)
    return None if is_doubtful or _has_odd_space(value) else names


def _has_odd_space(value: str) -> bool:
    """Tell whether there is white space between a header's words that one of Go and Python takes for such, and not the
    other.
    """
    return any(sign.isspace() and sign not in " \t\r\n\v\f" for sign in _QUOTED.sub("", value))


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
