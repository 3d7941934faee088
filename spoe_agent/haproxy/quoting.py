"""How texts stand in HAProxy's configuration."""

from __future__ import annotations

import re
from collections.abc import Sequence


def all_but(names: Sequence[str]) -> str:
    """Return a regular expression for what is none of these. Without lookahead, which not every HAProxy has."""
    starts = sorted({name[:end] for name in names for end in range(len(name))})
    ways = [f"{start}([^{_next(start, names)}]|$)" for start in starts]
    return f"^({'|'.join([*ways, *(f'{name}.' for name in names)])})"


def _next(start: str, names: Sequence[str]) -> str:
    """Return the letters with which names go on after a start."""
    return "".join(sorted({name[len(start)] for name in names if name.startswith(start)}))


def literal(text: str) -> str:
    """Return a text as an expression. A format would take HAProxy a buffer each time. No single quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f"\"str('{escaped}')\""


def quoted(path: str) -> str:
    """Return a word of HAProxy's configuration (configuration.txt 2.2): strong quotes keep all but themselves."""
    return path if re.fullmatch(r"[A-Za-z0-9/@._-]+", path) else "'" + path.replace("'", "'\\''") + "'"
