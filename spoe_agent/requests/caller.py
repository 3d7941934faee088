"""Whose request it is, for a fair share of what is held: by key where there is one, else by address.

haproxy.cfg finds the same (its xxh3 gives the same number), which a test compares. Keys are never kept or shown.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from xxhash import xxh3_64_intdigest

Network = IPv4Network | IPv6Network

HOPS = 4
"""How many proxies in a row are believed."""
FORWARDED_FOR = re.compile(r'(?:.*;)?[ \t]*for="?(?:([0-9.]+)|\[([0-9a-f:.]+)\])(?::[0-9]+)?"?[ \t]*(?:;.*)?$', re.I)
"""The address in an element of `Forwarded` (RFC 7239 section 6), IPv4 or in brackets IPv6, which may have a port."""
_XFF_FOR = re.compile(r"([0-9.]+(?=:[0-9]+$)|[0-9a-fA-F:.]+)(?::[0-9]+)?$")
_ELEMENT = re.compile(r'(?:[^,"]|"[^"]*")+')
_SIGN = 1 << 63


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says of whom it is from. Headers that are not there are empty."""

    peer: str
    """The address that connected."""
    authorization: str = ""
    api_key: str = ""
    """`x-api-key`: Anthropic's clients."""
    x_forwarded_for: str = ""
    forwarded: str = ""


def key_hash(key: str) -> str:
    """Return a key's hash as haproxy.cfg makes it: XXH3 of 64 bits, as a number with a sign."""
    digest = xxh3_64_intdigest(key.encode("utf-8", "surrogateescape"))
    return str(digest - 2 * _SIGN if digest >= _SIGN else digest)


def caller_of(credentials: Credentials, trusted: Sequence[Network] = ()) -> str:
    """Return whose request it is: a hash of its bearer token, its `x-api-key` or its user and password; else its
    address, which a trusted proxy says in X-Forwarded-For, or in Forwarded where that is not there.
    """
    key = _key(credentials)
    return key_hash(key) if key else address_of(credentials, trusted)


def secret_of(credentials: Credentials) -> str:
    """Return what may be a key of ours: the bearer token, `x-api-key` or the password; "" when there is none."""
    found = _key(credentials)
    is_basic = found and found == _basic(credentials)
    return found.partition(":")[2] if is_basic else found


def _key(credentials: Credentials) -> str:
    scheme, _, rest = credentials.authorization.strip().partition(" ")
    rest = rest.strip()
    if scheme.lower() == "bearer" and rest:
        return rest
    if credentials.api_key.strip():
        return credentials.api_key.strip()
    return _basic(credentials)


def _basic(credentials: Credentials) -> str:
    scheme, _, rest = credentials.authorization.strip().partition(" ")
    return _decoded(rest.strip()) if scheme.lower() == "basic" else ""


def _decoded(basic: str) -> str:
    try:
        return b64decode(basic, validate=True).decode("utf-8", "surrogateescape")
    except ValueError:
        return ""


def address_of(credentials: Credentials, trusted: Sequence[Network] = ()) -> str:
    """Return a client's address: the chain is followed back from the peer, for as long as who says it is trusted."""
    here = credentials.peer
    for before in _named(credentials)[:HOPS]:
        if before is None or not _is_trusted(here, trusted):
            break
        here = before
    return here


def is_unnamed(credentials: Credentials, trusted: Sequence[Network]) -> bool:
    """Tell whether a trusted proxy comes for somebody whom it names so that nobody can tell who that is."""
    return bool(_named(credentials)) and _is_trusted(address_of(credentials, trusted), trusted)


def _named(credentials: Credentials) -> list[str | None]:
    """Return the addresses that proxies named, the last proxy's first; None for what is no address."""
    header = credentials.x_forwarded_for
    if header:
        return [_ip(element.strip(), _XFF_FOR) for element in reversed(header.split(","))]
    return [_ip(element, FORWARDED_FOR) for element in reversed(_ELEMENT.findall(credentials.forwarded))]


def _ip(element: str, form: re.Pattern[str]) -> str | None:
    found = form.match(element)
    try:
        return str(ip_address("".join(found.groups("")))) if found else None
    except ValueError:
        return None


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    try:
        return any(ip_address(address) in network for network in trusted)
    except ValueError:  # a client without an address
        return False
