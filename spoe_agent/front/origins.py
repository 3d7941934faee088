"""Browser pages: whose may call, and what their browsers are told (CORS), as haproxy.cfg does it.

Ollama guards against foreign pages by `Origin`, which does not reach it from here. Must not live here: other checks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from spoe_agent.fleet.render import translate_origin
from spoe_agent.front.answers import Answer

METHODS = "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
MAX_AGE_S = 43200


def at_the_door(origin: str | None, method: str, asked_headers: str, allowed: Sequence[str]) -> Answer | None:
    """Return the answer to a foreign page (403) or to a browser's preflight (204); None: the request goes on.

    Args:
        origin: the `Origin` header, None when there is none.
        asked_headers: the preflight's `Access-Control-Request-Headers`.
        allowed: origins of the fleet file, `*` for any part.
    """
    if origin is None:
        return None
    if not any(re.match(translate_origin(one), origin.lower()) for one in allowed):
        return Answer(403)
    if method != "OPTIONS":
        return None
    headers = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": asked_headers,
        "Access-Control-Max-Age": str(MAX_AGE_S),
        "Vary": "Origin",
    }
    return Answer(204, headers)
