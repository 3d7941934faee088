"""A request's path as Ollama takes it: Go's net/url and gin's routes look at the decoded one, and tell cases apart.

haproxy.cfg does the same with `url_dec`. What gin sends elsewhere (`/api/chat/`: 307) or does not know runs no model.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")


def decoded(target: str) -> str:
    """Return the path of a target, decoded once; as it came when it cannot be, which Ollama answers with 400."""
    path = target.partition("?")[0]
    return path if _NO_ESCAPE.search(path) else unquote(path)
