"""RequestFacts from a whole request.

Must not live here: what HAProxy reads itself (bridge), how bodies are read (body).
"""

from __future__ import annotations

from urllib.parse import unquote

from spoe_agent.body import BodyError, read_model
from spoe_agent.routing import Kind, Problem, RequestFacts
from spoe_agent.routing.surface import classify, dialect, path_model


def facts(
    request_id: str, method: str, path: str, body: bytes, content_type: str = "", content_encoding: str = ""
) -> RequestFacts:
    """Return what a request shows; counts are left to the router.

    Args:
        path: without the query.
        body: all of it, encoded as it came.
    """
    request = RequestFacts(request_id, classify(method, path), dialect(path))
    if request.kind in (Kind.LIST, Kind.MANAGE):
        return request
    in_path = path_model(path)
    if in_path is not None:
        return request.naming(unquote(in_path))
    try:
        return request.naming(read_model(body, content_type, content_encoding))
    except BodyError as error:
        return request.without_model(Problem.UNREADABLE, str(error))
