"""The `X-Request-Id` that client, log and Ollama see: the client's own where it is fit for a log, else ours.

Ours, which must be unique, is what agent and HAProxy know a request by; the log has both.
"""

from __future__ import annotations

import re

WELL_FORMED = "^[A-Za-z0-9._~:/+=@-]{1,128}$"
"""A client's id that is kept: short, and without anything that a log or a shell takes for more than text. HAProxy's
regular expressions know it too.
"""


def shown(clients: str, ours: str) -> str:
    """Return the id to show for a request; `clients` is "" when it has none."""
    return clients if re.fullmatch(WELL_FORMED, clients) else ours
