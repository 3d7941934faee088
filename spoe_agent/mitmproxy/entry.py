"""Who is turned away before anything is asked: pages of foreign origins, requests under a foreign host name; and what
browsers are told (CORS). As haproxy.cfg does it.
"""

from __future__ import annotations

from dataclasses import dataclass

from spoe_agent.fleet import Fleet, Policies
from spoe_agent.mitmproxy.answers import Reply
from spoe_agent.requests.foreign import (
    FOREIGN_HOST,
    FOREIGN_ORIGIN,
    SHOWN,
    host_name,
    is_known,
    is_same,
    may_call,
)
from spoe_agent.routing import Action, Choice, Reason

METHODS = "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"
MAX_AGE_S = 43200


@dataclass(frozen=True, slots=True)
class Visit:
    """What a request's headers and connection say of where it comes from, and of whom it asks."""

    method: str
    origin: str = ""
    """`Origin`; "" when no page sent it."""
    host: str = ""
    """`Host`, HTTP/2's `:authority`, or what an absolute request target names."""
    own: tuple[str, ...] = ()
    """This machine's name, and the address that the client connected to."""
    asked_headers: str = ""
    """`Access-Control-Request-Headers`, which a preflight has."""


def refusal(visit: Visit, fleet: Fleet) -> Choice | None:
    """Return why a request may not come; None: it may."""
    host, policies = host_name(visit.host), fleet.policies
    known = is_known(host, visit.own, policies.allowed_hosts)
    if not may_call(visit.origin, visit.host, known, policies.allowed_origins):
        told = f"pages of {visit.origin[:SHOWN]} may not call; allowed_origins in the fleet file says which may"
        return _forbid(FOREIGN_ORIGIN, told)
    # A browser asks leave before it says what for; that is answered whatever the host is, as Ollama does it.
    if known or not fleet.checks_host or _is_preflight(visit):
        return None
    told = f"this server does not go by the name {host[:SHOWN]}; allowed_hosts in the fleet file says by which it does"
    return _forbid(FOREIGN_HOST, told)


def _forbid(reason: Reason, message: str) -> Choice:
    return Choice(Action.REJECT, reason, message=message)


def too_large(head_bytes: int, body_bytes: int, is_file: bool, policies: Policies) -> tuple[int, str] | None:
    """Return status and text where headers or body are larger than the fleet file lets them be; None: they are not.

    `is_file`: the body is a model's file, which may have any size.
    """
    if head_bytes > policies.max_header:
        return 431, f"the headers are larger than {policies.max_header} bytes (max_header in the fleet file)"
    if body_bytes > policies.max_body and not is_file:
        return 413, f"the request body is larger than {policies.max_body} bytes (max_body in the fleet file)"
    return None


def is_foreign_page(visit: Visit) -> bool:
    """Tell whether a browser must be told that this page may read the answer: it may come, but is not from here."""
    return bool(visit.origin) and not is_same(visit.origin, visit.host)


def _is_preflight(visit: Visit) -> bool:
    return visit.method == "OPTIONS" and is_foreign_page(visit)


def preflight(visit: Visit) -> Reply | None:
    """Return the answer to a browser that asks leave (204); None: the request goes on. For those who may come."""
    if not _is_preflight(visit):
        return None
    headers = {
        "Access-Control-Allow-Origin": visit.origin,
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": visit.asked_headers,
        "Access-Control-Max-Age": str(MAX_AGE_S),
        "Vary": "Origin",
    }
    return Reply(204, headers)
